//! `sessions: Revoke` ends the sessions of whoever must change the password, once, and nobody else's.

use serde_json::json;
use simulators::{Action, CallFault, Class, Faults, Options, Population, Share, When, looker, monocloud, pingone};
use testbed::keycloak::options::Beginning;
use testbed::keycloak::realm::RealmOptions;

use crate::bed::{Bed, View, fast, merge};
use crate::history::{History, look_again};
use crate::proxy::Proxy;
use crate::tenant::{Tenant, Vendor, keycloak};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_those_who_are_marked_end_once_and_those_of_the_compliant_stay() {
    let some = Share::Count(5);
    let population = Population::with(40, &[(Class::AlreadyMarked, some), (Class::RecentlyChanged, some)]);
    for (vendor, call) in [
        (Vendor::MonoCloud, monocloud::DELETE_SESSION),
        (Vendor::PingOne, pingone::DELETE_SESSION),
        (Vendor::Looker, looker::DELETE_SESSION),
    ] {
        let tenant = Tenant::simulated(vendor, Options::new(population.clone())).await;
        let before = tenant.simulator().users();
        assert!(
            before.iter().any(|u| u.class == Class::RecentlyChanged && u.sessions > 0),
            "a compliant one is signed in"
        );
        let mut bed = Bed::new("sessions").await;
        bed.start().await;
        tenant.connect(&bed, "tenant", fast()).await;
        let history = History::of(&bed, "inc").await;
        bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
        let done = bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
        assert_eq!(done.count("enforced"), 35, "{vendor:?}: {:#}", done.0["status"]);
        for user in tenant.simulator().users() {
            let was = before.iter().find(|u| u.id == user.id).expect("the same user").sessions;
            let expected = if user.marked { 0 } else { was };
            assert_eq!(user.sessions, expected, "{vendor:?}: sessions of a user of class {:?}", user.class);
        }
        // Whoever signs in again while marked is not thrown out again.
        let ended = tenant.simulator().count(call);
        let anybody = tenant.due().await;
        assert!(anybody.is_empty(), "nobody is due any more");
        look_again(&bed, "inc", "second").await;
        bed.kill();
        bed.start().await;
        look_again(&bed, "inc", "third").await;
        assert_eq!(tenant.simulator().count(call), ended, "{vendor:?}: once");
        history.assert_sound();
    }
}

/// Requiring does not wait for what cannot be done.
#[tokio::test(flavor = "multi_thread")]
async fn where_every_call_about_sessions_fails_everybody_is_required_all_the_same() {
    for (vendor, call) in [(Vendor::MonoCloud, monocloud::LIST_SESSIONS), (Vendor::PingOne, pingone::LIST_SESSIONS)] {
        let calls = vec![CallFault::always(call, When::Before, Action::Status(503))];
        let options = Options::ordinary(30).faults(Faults { calls, ..Faults::default() });
        let tenant = Tenant::simulated(vendor, options).await;
        let mut bed = Bed::new("no-sessions").await;
        bed.start().await;
        let mut extra = fast();
        merge(&mut extra, json!({"probePeriodSeconds": 10}));
        tenant.connect(&bed, "tenant", extra).await;
        bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
        let all = |p: &View| p.count("enforced") == 30;
        bed.policy_until("inc", "everybody required", all).await;
        assert!(tenant.simulator().requirements().values().all(|times| *times == 1), "{vendor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_logs_out_those_who_are_marked_once() {
    let options =
        RealmOptions::default().users(8).user("marked", Beginning::Marked).user("disabled", Beginning::Disabled);
    let tenant = Tenant::keycloak(options).await;
    let proxy = Proxy::start(tenant.realm_of().server()).await;
    let mut bed = Bed::new("sessions").await;
    bed.start().await;
    keycloak(&bed, "tenant", tenant.realm_of(), &proxy.url, fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    let logouts = |calls: Vec<String>| calls.iter().filter(|call| call.ends_with("/logout")).count();
    assert_eq!(logouts(proxy.take_calls()), 9);
    look_again(&bed, "inc", "second").await;
    assert_eq!(logouts(proxy.take_calls()), 0, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_session_calls_stops_revoking_and_not_requiring() {
    let faults = Faults { plan_without_sessions: true, ..Faults::default() };
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(30).faults(faults)).await;
    let mut bed = Bed::new("sessions").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
    let done = bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    assert_eq!(done.count("enforced"), 30);
    assert!(done.message("Enforced").contains("Sessions are not ended"), "{}", done.message("Enforced"));
    assert_eq!(tenant.written().await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_end_sessions_that_is_lacking_is_said_and_not_tried_for_each_account() {
    for (vendor, list) in [
        (Vendor::MonoCloud, monocloud::LIST_SESSIONS),
        (Vendor::PingOne, pingone::LIST_SESSIONS),
        (Vendor::Looker, looker::LIST_SESSIONS),
    ] {
        let tenant = Tenant::simulated(vendor, Options::ordinary(60)).await;
        let fault = CallFault::always(list, simulators::When::Before, simulators::Action::Status(403));
        tenant.simulator().set(Faults { calls: vec![fault], ..Faults::default() });
        let mut bed = Bed::new("sessions").await;
        bed.start().await;
        tenant.connect(&bed, "tenant", fast()).await;
        bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
        let done = bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
        assert_eq!(done.count("enforced"), 60, "{vendor:?}: {:#}", done.0["status"]);
        assert!(done.message("Enforced").contains("Sessions are not ended"), "{}", done.message("Enforced"));
        let tried = tenant.simulator().count(list);
        look_again(&bed, "inc", "second").await;
        let again = tenant.simulator().count(list) - tried;
        assert!(tried <= 10 && again <= 10, "{vendor:?}: {tried} accounts were tried, and then {again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_ended_now_is_ended_by_the_next_pass() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(10)).await;
    let signed_in = tenant.simulator().users().into_iter().find(|u| u.sessions > 0).expect("somebody is signed in");
    let fault = CallFault::always(monocloud::LIST_SESSIONS, simulators::When::Before, simulators::Action::Status(400));
    tenant.simulator().set(Faults { calls: vec![fault.for_user(&signed_in.id)], ..Faults::default() });
    let mut bed = Bed::new("sessions").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    let open = |id: &str| tenant.simulator().user(id).expect("a user").sessions;
    assert!(open(&signed_in.id) > 0);
    tenant.simulator().set(Faults::default());
    look_again(&bed, "inc", "second").await;
    assert_eq!(open(&signed_in.id), 0);
}
