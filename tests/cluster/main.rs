//! The whole operator against a real API server and simulated providers.

#![allow(clippy::disallowed_methods)] // they are the operator's rules; a test is a client of its own

#[path = "../support/bed.rs"]
mod bed;
#[path = "../support/history.rs"]
mod history;
#[path = "../support/objects.rs"]
mod objects;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/rights.rs"]
mod rights;
#[path = "../support/tenant.rs"]
mod tenant;

mod answers;
mod awkward;
mod bad_input;
mod calls;
mod campaign;
mod control;
mod crash;
mod drift;
mod modes;
mod native;
mod once;
mod priority;
mod providers;
mod references;
mod refused;
mod rights_used;
mod secrecy;
mod selection;
mod sessions;
mod start;
mod start_up;
mod writes;
