//! The whole operator against a real API server and simulated providers.

#[path = "../support/bed.rs"]
mod bed;
#[path = "../support/rights.rs"]
mod rights;

mod campaign;
mod answers;
mod bad_input;
mod objects;
mod providers;
mod references;
mod secrecy;
mod start_up;
