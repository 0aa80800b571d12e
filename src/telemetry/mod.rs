//! What can be seen from outside: logs, metrics, and whether the process is alive and ready.
//!
//! Nothing in here knows a policy or a provider; labels are static words, never names or addresses of people.

pub mod logs;
pub mod metrics;
pub mod server;
