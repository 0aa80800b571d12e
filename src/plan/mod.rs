//! What has to be done: decisions over plain data.
//!
//! Nothing in here is async, asks a clock, or draws a random number: `now` is always an argument, so that every rule is
//! a test without a runtime. What is said about it stands in `status`, who carries it out in `provider` and
//! `controller`.

pub mod batch;
pub mod capabilities;
pub mod clocks;
pub mod decide;
pub mod desired;
pub mod doubt;
pub mod evidence;
pub mod failure;
pub mod guard;
pub mod key_search;
pub mod leadership;
pub mod ledger;
pub mod listing;
pub mod observed;
pub mod provider_error;
pub mod schedule;
pub mod step;
pub mod suspension;
pub mod tally;
pub mod tenant_native;
pub mod unresolved;
pub mod userlist;
