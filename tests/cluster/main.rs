//! The whole operator against a real API server and simulated providers.

#[path = "../support/bed.rs"]
mod bed;
#[path = "../providers_keycloak_monocloud/proxy.rs"]
mod proxy;
#[path = "../support/rights.rs"]
mod rights;

mod history;
mod tenant;

mod calls;
mod campaign;
mod control;
mod drift;
mod modes;
mod native;
mod once;
mod selection;
mod sessions;
mod start;
mod writes;

mod answers;
mod bad_input;
mod objects;
mod providers;
mod references;
