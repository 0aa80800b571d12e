//! Listings that fail, are cut into odd pages, shift under us, or lose their place.

use serde_json::json;
use simulators::{
    Action, CallFault, Faults, MonoCloud, Options, Paging, PingOne, Play, When, looker, monocloud, pingone,
};

use crate::accounts::{Tenant, is_enforced, one_of_each};
use crate::bed::{Bed, fast, merge};

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

/// I3, where the members of groups alone may not be listed.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_may_not_be_listed_stop_the_target_that_names_them_and_no_other_policy() {
    let mut bed = Bed::new("members").await;
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    let of_groups = |name: &str| if name == "mc" { monocloud::GROUP_USERS } else { looker::SEARCH_USERS };
    let tenants: Vec<_> = tenants.into_iter().filter(|tenant| tenant.name != "p1").collect();
    for Tenant { name, simulator, .. } in &tenants {
        simulator.set(with(vec![CallFault::always(of_groups(name), When::Before, Action::Status(403))]));
        let grouped = format!("{name}-grouped");
        bed.enforce(&grouped, name, json!({"scope": "Selected", "groups": ["contractors"]})).await;
        bed.policy_says(&grouped, "Stalled", "True SelectionNotFound", &["spec.targets[0].groups[0]", "refuses"]).await;
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, simulator, USERS as usize).await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
    }
}

/// I22, where so many are listed that one listing of everybody is cheaper than a search for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_does_not_come_to_its_end_asks_whom_it_has_shown_and_calls_nobody_missing() {
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("short-search").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    // One more is announced than there is.
    let paging = Paging { total_off_by: 1, ..Paging::default() };
    simulator.set(Faults { paging, ..Faults::default() });
    let mut users: Vec<_> = (0..16).map(|index| json!({"email": simulator.user_at(index).email})).collect();
    users.push(json!({"email": "left@corp.example"}));
    bed.enforce("inc", "mc", json!({"scope": "Selected", "users": users})).await;
    let view = bed.policy_says("inc", "Ready", "False ProviderNotReady", &["were announced"]).await;
    assert_eq!((view.count("enforced"), view.count("failed")), (16, 1), "{:#}", view.0["status"]);
    assert_eq!(view.0["status"]["failures"][0]["category"], "Transient", "nobody knows whether that one is there");
    simulator.set(Faults::default());
    let view = bed.policy_says("inc", "Ready", "False PartiallyFailed", &[]).await;
    assert_eq!(view.0["status"]["failures"][0]["category"], "NotFound", "{:#}", view.0["status"]);
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

/// I22, where it lasts: whoever was listed is asked, the rest is said, and nobody is hammered.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_never_comes_to_its_end_has_its_rows_asked_is_said_and_tried_ever_less_often() {
    let mut bed = Bed::new("unending").await;
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({"pageSize": 5})).await;
    for Tenant { name, simulator, .. } in &tenants {
        // One more is announced than there is, while a probe finds the tenant well.
        let paging = Paging { total_off_by: 1, ..Paging::default() };
        simulator.set(Faults { paging, ..Faults::default() });
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for Tenant { name, simulator, list, .. } in &tenants {
        let view = bed.policy_says(name, "Ready", "False ProviderNotReady", &["were announced"]).await;
        assert_eq!(view.count("enforced"), i64::from(USERS), "{name}: {:#}", view.0["status"]);
        assert!(view.condition("Enforced").starts_with("False"), "{name}: who was not listed may be due");
        assert_eq!(simulator.requirements().len(), USERS as usize, "{name}");
        let asked = simulator.count(list);
        assert!(asked <= 60, "{name}: {asked} pages were asked for in about a minute");
    }
    for Tenant { name, simulator, .. } in &tenants {
        simulator.set(Faults::default());
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

/// I26, where each page shows somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_more_pages_than_the_setting_allows_is_given_up_and_never_complete() {
    let mut bed = Bed::new("many-pages").await;
    bed.set("MAX_LISTING_PAGES", "3");
    bed.start().await;
    for Tenant { name, simulator, .. } in one_of_each(&bed, USERS, json!({"pageSize": 5})).await {
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        let view = bed.policy_says(name, "Ready", "False ProviderNotReady", &["does not end: 3 pages"]).await;
        assert!(view.condition("Enforced").starts_with("False"), "{name}: {:#}", view.0["status"]);
        assert!(view.0["status"]["targets"][0]["completedAt"].is_null(), "{name}: never complete");
        assert!((1..=15).contains(&simulator.requirements().len()), "{name}: those who were shown are asked");
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

/// I24, for those who must not be asked.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_slips_past_the_listing_of_an_excluded_group_is_not_asked() {
    let mut bed = Bed::new("slipped-out").await;
    bed.start().await;
    for Tenant { name, simulator, .. } in one_of_each(&bed, USERS, json!({"pageSize": 2})).await {
        let contractors = [1, 6, 11, 16, 21].map(|index| simulator.user_at(index).id);
        let list = match name {
            "mc" => monocloud::GROUP_USERS,
            "lo" => looker::SEARCH_USERS,
            _ => pingone::LIST_USERS,
        };
        let leaves = Action::Play { user: contractors[0].clone(), play: Play::Deletes };
        simulator.set(with(vec![CallFault::new(list, 1, When::After, leaves)]));
        bed.enforce(name, name, json!({"scope": "Tenant", "exclude": {"groups": ["contractors"]}})).await;
        is_enforced(&bed, name, &simulator, USERS as usize - contractors.len()).await;
        let asked = simulator.requirements();
        assert!(contractors.iter().all(|contractor| !asked.contains_key(contractor)), "{name}: {asked:?}");
    }
}

/// I24, where so many are listed that one listing of everybody is cheaper than a search for each.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_slips_past_a_search_is_found_by_the_next_one() {
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("slipped-search").await;
    bed.start().await;
    let mut spec = fast();
    merge(&mut spec, json!({"pageSize": 3}));
    bed.monocloud("mc", &simulator, spec).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let leaves = Action::Play { user: simulator.user_at(0).id, play: Play::Deletes };
    simulator.set(with(vec![CallFault::new(monocloud::LIST_USERS, 1, When::After, leaves)]));
    // The second of them slips to the page that was read.
    let users: Vec<_> = (2..USERS).map(|index| json!({"email": simulator.user_at(index).email})).collect();
    bed.enforce("inc", "mc", json!({"scope": "Selected", "users": users})).await;
    is_enforced(&bed, "inc", &simulator, USERS as usize - 2).await;
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
