//! The operator is killed, or its call is broken, at every call that a campaign makes: nobody is lost, nobody is asked
//! twice, nothing is called done that is not, and everything comes to its end without a human.
//!
//! | file | what it answers |
//! |---|---|
//! | `site` | the tenant behind proxies: who is marked, who has changed, what was written; what people do |
//! | `points` | which calls does a campaign make, and what may happen at each of them |
//! | `campaign` | one campaign: what is prepared, what happens to it, when it is at rest |
//! | `run` | one campaign with one fault, and what became of it |
//! | `judge` | was that right, by the provider's own records and the API server's |
//! | `table` | how did all of them go |
//! | `soak` | pairs of faults and random days, for as long as one likes |
//!
//! Two accounts are marked before the first call. At each point, before the next operator starts or while it gets over its
//! broken call, an administrator takes a mark away, and people change their password or sign in and keep it.
//!
//! One point is run again by `CRASH_POINT`, which takes a part of a point's name, as a failure prints it.

#![allow(clippy::disallowed_methods)] // they are the operator's rules; a test is a client of its own

#[path = "../support/bed.rs"]
mod bed;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/rights.rs"]
mod rights;
#[allow(dead_code)] // a part of it is for other tests
#[path = "../support/tenant.rs"]
mod tenant;

mod campaign;
mod judge;
mod points;
mod run;
mod site;
mod soak;
mod table;

use points::Trouble;
use tenant::Vendor;

#[tokio::test(flavor = "multi_thread")]
async fn pingone_survives_a_kill_at_every_call() {
    table::enumerate(Vendor::PingOne, &Trouble::KILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looker_survives_a_kill_at_every_call() {
    table::enumerate(Vendor::Looker, &Trouble::KILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn monocloud_survives_a_kill_at_every_call() {
    table::enumerate(Vendor::MonoCloud, &Trouble::KILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_survives_a_kill_at_every_call() {
    table::enumerate(Vendor::Keycloak, &Trouble::KILLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pingone_survives_a_broken_call_at_every_call() {
    table::enumerate(Vendor::PingOne, &Trouble::BREAKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looker_survives_a_broken_call_at_every_call() {
    table::enumerate(Vendor::Looker, &Trouble::BREAKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn monocloud_survives_a_broken_call_at_every_call() {
    table::enumerate(Vendor::MonoCloud, &Trouble::BREAKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_survives_a_broken_call_at_every_call() {
    table::enumerate(Vendor::Keycloak, &Trouble::BREAKS).await;
}

#[ignore = "takes as long as SOAK_MINUTES says: make soak"]
#[tokio::test(flavor = "multi_thread")]
async fn campaigns_survive_pairs_of_faults_and_random_days() {
    soak::soak().await;
}
