//! How is the truth known for each provider? One file a provider.

mod keycloak;
mod looker;
mod monocloud;
mod pingone;
pub mod simulated;

pub use keycloak::Keycloak;

/// PingOne on its simulator.
pub type PingOne = simulated::Simulated<pingone::PingOne>;
/// Looker on its simulator.
pub type Looker = simulated::Simulated<looker::Looker>;
/// MonoCloud on its simulator.
pub type MonoCloud = simulated::Simulated<monocloud::MonoCloud>;
