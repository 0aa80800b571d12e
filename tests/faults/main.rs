//! What can go wrong, made to go wrong, one named test each; `tests/README.md` lists which.
//!
//! The real operator against a real API server; the provider's side of the story comes from the provider.

#![allow(clippy::disallowed_methods)] // they are the operator's rules; a test is a client of its own

#[path = "../support/bed.rs"]
mod bed;
#[allow(dead_code)] // a part of it is used
#[path = "../support/history.rs"]
mod history;
mod listener;
#[allow(dead_code)] // a part of it is used
#[path = "../support/objects.rs"]
mod objects;
#[path = "../support/rights.rs"]
mod rights;
mod support;
#[allow(dead_code)] // a part of it is used
#[path = "../support/tenant.rs"]
mod tenant;

mod absent;
mod accounts;
mod api_server;
mod authors;
mod crash_loop;
mod endpoints;
mod host;
mod http2;
mod input;
mod listings;
mod process;
mod proxies;
mod replicas;
mod stops;
mod throttled;
mod tls;
mod tokens;
mod transport;
mod urls;
mod watches;
