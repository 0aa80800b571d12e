//! The whole operator against a real API server and simulated providers.

#![allow(clippy::disallowed_methods)] // they are the operator's rules; a test is a client of its own

#[path = "../support/bed.rs"]
mod bed;
#[path = "../providers_keycloak_monocloud/proxy.rs"]
mod proxy;
#[path = "../support/rights.rs"]
mod rights;

mod answers;
mod awkward;
mod bad_input;
mod calls;
mod campaign;
mod control;
mod crash;
mod drift;
mod history;
mod modes;
mod native;
mod objects;
mod once;
mod providers;
mod references;
mod refused;
mod rights_used;
mod secrecy;
mod selection;
mod sessions;
mod start;
mod start_up;
mod tenant;
mod writes;
