//! Listings that fail, are cut into odd pages, shift under us, or lose their place.

use serde_json::json;
use simulators::{Action, CallFault, Faults, Options, Paging, PingOne, Play, When, pingone};

use crate::accounts::{Tenant, is_enforced, one_of_each};
use crate::bed::Bed;

const USERS: u32 = 22;

fn with(calls: Vec<CallFault>) -> Faults {
    Faults { calls, ..Faults::default() }
}

/// I15.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_is_asked_for_again_and_the_pages_before_it_are_not() {
    let mut bed = Bed::new("failing-page").await;
    bed.start().await;
    for Tenant { name, simulator, list, .. } in one_of_each(&bed, USERS, json!({"pageSize": 5})).await {
        let before = simulator.count(list);
        let statuses = [500, 502, 503, 504];
        let fails = |n: usize| CallFault::new(list, 5 + n as u32, When::Before, Action::Status(statuses[n]));
        simulator.set(with((0..4).map(fails).collect()));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, &simulator, USERS as usize).await;
        let asked = simulator.count(list) - before;
        // Two listings of five pages, the four that failed, and a probe or two after each; from the beginning each time
        // it were sixteen more.
        assert!(asked <= 2 * 5 + 4 + 8, "{name}: {asked} pages were asked for");
    }
}

/// I7.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_not_found_is_no_empty_tenant() {
    let mut bed = Bed::new("no-listing").await;
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, list, .. } in &tenants {
        simulator.set(with(vec![CallFault::always(list, When::Before, Action::Status(404))]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for Tenant { name, simulator, list, .. } in &tenants {
        let what = format!("{name} is not Ready");
        let view = bed.provider_until(name, &what, |view| view.condition("Ready").starts_with("False")).await;
        let reason = view.condition("Ready");
        assert!(["False ProviderResponseInvalid", "False PermissionDenied"].contains(&&*reason), "{name}: {reason}");
        let policy = bed.policy_says(name, "Ready", "False ProviderNotReady", &[]).await;
        assert!(policy.condition("Enforced").starts_with("False"), "{name}: {:#}", policy.0["status"]);
        assert!(policy.0["status"]["targets"][0]["completedAt"].is_null(), "{name}: never complete");
        assert_eq!(simulator.requirements().len(), 0);
        let asked = simulator.count(list);
        assert!(asked <= 20, "{name}: {asked} listings were tried");
    }
    for Tenant { name, simulator, .. } in &tenants {
        simulator.set(Faults::default());
        bed.patch_provider(name, json!({"spec": {"pageSize": 10}})).await;
        is_enforced(&bed, name, simulator, USERS as usize).await;
    }
}

/// I22, I23.
#[tokio::test(flavor = "multi_thread")]
async fn short_empty_and_repeating_pages_lose_nobody_and_ask_nobody_twice() {
    let mut bed = Bed::new("odd-pages").await;
    bed.start().await;
    for Tenant { name, simulator, .. } in one_of_each(&bed, USERS, json!({"pageSize": 5})).await {
        let paging = Paging {
            max_rows: Some(3),
            empty_pages: true,
            repeated_rows: name != "p1",
            unstable_ties: true,
            ..Paging::default()
        };
        simulator.set(Faults { paging, ..Faults::default() });
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, &simulator, USERS as usize).await;
    }
}

/// I24.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_slips_to_a_page_that_was_read_is_found_by_the_listing_that_confirms() {
    let mut bed = Bed::new("slipped").await;
    bed.start().await;
    for Tenant { name, simulator, list, .. } in one_of_each(&bed, USERS, json!({"pageSize": 5})).await {
        // Whoever is on the first page leaves while it is read: the first of the second page slips onto it.
        let leaver = simulator.user_at(0).id;
        let leaves = Action::Play { user: leaver.clone(), play: Play::Deletes };
        simulator.set(with(vec![CallFault::new(list, 1, When::After, leaves)]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, &simulator, USERS as usize - 1).await;
        assert!(!simulator.requirements().contains_key(&leaver), "{name}");
    }
}

/// I27.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_whose_place_has_expired_begins_again_and_asks_nobody_twice() {
    let simulator = PingOne::start(Options::ordinary(40)).await.expect("a simulator");
    let mut bed = Bed::new("expired-place").await;
    bed.start().await;
    let slow = json!({"pageSize": 5, "rateLimit": {"requestsPerSecond": 4, "burst": 1, "maxConcurrentRequests": 1}});
    bed.pingone("p1", &simulator, slow).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    let before = simulator.count(pingone::LIST_USERS);
    simulator
        .set(Faults { paging: Paging { cursor_lifetime_seconds: Some(0), ..Paging::default() }, ..Faults::default() });
    bed.enforce("inc", "p1", json!({"scope": "Tenant"})).await;
    // Page, refused place, page again.
    bed.until(
        "the listing begins again",
        |view| view.0["status"].as_u64().is_some_and(|listed| listed >= 3),
        || async { Ok(json!({"status": simulator.count(pingone::LIST_USERS) - before})) },
    )
    .await;
    simulator.set(Faults::default());
    is_enforced(&bed, "inc", &simulator, 40).await;
}
