//! Which real parts can tests and the demo run against, and how do they start and stop?
//!
//! - [`control_plane`]: etcd and kube-apiserver, with an audit log that counts requests
//! - [`keycloak`]: a Keycloak with realms, users and an event log that counts updates
//! - [`proxy`]: a reverse proxy that breaks calls and connections at chosen moments
//! - [`state`]: what the program `testbed` keeps standing outside of tests
//! - [`tools`]: the programs, built or fetched once into the [`cache`]
//!
//! Nothing needs containers or a cluster. Everything listens on free ports of 127.0.0.1 and ends with the process that
//! started it ([`process`], [`folder`]). This crate knows nothing about the operator.

pub mod cache;
pub mod certificates;
pub mod control_plane;
pub mod folder;
pub mod keycloak;
mod kubeconfig;
pub mod ports;
pub mod process;
mod progress;
pub mod proxy;
mod random;
pub mod state;
pub mod tools;

pub use certificates::write_private;
pub use progress::announce_as;
