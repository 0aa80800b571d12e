//! The whole operator against a real API server and simulated providers.

#[path = "../support/bed.rs"]
mod bed;
#[path = "../support/rights.rs"]
mod rights;

mod history;
mod once;
mod tenant;

mod campaign;
mod objects;
mod providers;
mod references;
