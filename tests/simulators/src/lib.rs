//! Stateful simulators of PingOne, Looker and MonoCloud, written from their documents: the judges of every test.
//!
//! They share no code with the program under test and take its word for nothing. Each listens on 127.0.0.1, keeps the truth about
//! its users, and writes every change into an append-only ledger.
//!
//! ```text
//!  socket ─► server ─► faults ─► vendor (pingone | looker | monocloud) ─► world { directory, ledger, counters }
//!              └─► control (/_control/…)  ─► play                          └─ population: users from seed + index
//! ```
//!
//! Start one with [`PingOne::start`], [`Looker::start`] or [`MonoCloud::start`]; the [`Handle`] shows the truth and lets people
//! act. Where a document is silent, the choice made here is listed in the crate's README.

mod call;
mod clock;
mod control;
mod directory;
mod faults;
mod groups;
mod handle;
mod ids;
mod ledger;
pub mod looker;
pub mod monocloud;
pub mod pingone;
mod play;
mod population;
mod server;
mod socket;
mod trap;
mod world;

pub use clock::Clock;
pub use directory::Lag;
pub use faults::{Action, CallFault, DateHeader, Faults, Paging, PagingHeaders, RateLimit, RetryAfter, When};
pub use groups::Group;
pub use handle::{Handle, Options};
pub use ledger::{Count, Counters, Effect, Record, Snapshot};
pub use looker::Looker;
pub use monocloud::MonoCloud;
pub use pingone::PingOne;
pub use play::{Play, User};
pub use population::{Class, Kind, Mix, PERSONAL_CANARY, Population, SECRET_CANARY, Share};
pub use trap::{Caught, Trap};
pub use world::Credentials;
