//! What people and administrators do afterwards, and what two policies on one tenant do.

use serde_json::json;
use simulators::{Faults, Options, Play};
use testbed::keycloak::realm::RealmOptions;

use crate::bed::{Bed, View, fast};
use crate::history::{History, look_again};
use crate::tenant::{Side, Tenant, Vendor};

async fn start(vendor: Vendor, users: u32) -> Tenant {
    match vendor {
        Vendor::Keycloak => Tenant::keycloak(RealmOptions::default().users(users as usize)).await,
        _ => Tenant::simulated(vendor, Options::ordinary(users)).await,
    }
}

impl Tenant {
    async fn admin_clears(&self, person: &str) {
        match &self.side {
            Side::Simulator(handle) => handle.clears(person).expect("an admin clears"),
            Side::Keycloak(realm) => realm.admin_clears_mark(person).await.expect("an admin clears"),
        }
    }

    async fn admin_marks(&self, person: &str) {
        match &self.side {
            Side::Simulator(handle) => handle.play(person, Play::Marks).expect("an admin marks"),
            Side::Keycloak(realm) => realm.admin_marks(person).await.expect("an admin marks"),
        }
    }
}

async fn cleared_marks_are_reported(vendor: Vendor) {
    let tenant = start(vendor, 12).await;
    let due: Vec<String> = tenant.due().await.into_iter().collect();
    assert_eq!(due.len(), 12);
    let mut bed = Bed::new("drift").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;

    tenant.admin_clears(&due[0]).await;
    tenant.admin_clears(&due[1]).await;
    tenant.comply([&due[2]]).await;
    let drifted = |p: &View| {
        assert_eq!(p.condition("Ready"), "False RequirementCleared", "{:#}", p.0["status"]);
        assert_eq!(p.condition("Stalled"), "True RequirementCleared");
        assert_eq!(p.condition("DriftDetected"), "True RequirementCleared");
        assert_eq!(p.condition("Enforced"), "False RequirementCleared");
        assert_eq!((p.count("cleared"), p.count("changed"), p.count("enforced")), (2, 1, 9), "{:#}", p.0["status"]);
    };
    drifted(&look_again(&bed, "inc", "second").await);
    bed.kill();
    bed.start().await;
    drifted(&look_again(&bed, "inc", "third").await);
    let written = tenant.written().await;
    assert!(written.len() == 12 && written.values().all(|times| *times == 1), "nobody is asked again: {written:?}");

    // Set by hand, as the message says.
    tenant.admin_marks(&due[0]).await;
    tenant.admin_marks(&due[1]).await;
    let healed = look_again(&bed, "inc", "fourth").await;
    assert_eq!(healed.condition("Ready"), "True Enforced", "{:#}", healed.0["status"]);
    assert_eq!(healed.condition("DriftDetected"), "");
    tenant.comply(due.iter().filter(|id| **id != due[2])).await;
    let done = look_again(&bed, "inc", "fifth").await;
    assert_eq!(
        (done.condition("Ready"), done.count("changed")),
        ("True Changed".to_owned(), 12),
        "{:#}",
        done.0["status"]
    );
    assert_eq!(tenant.written().await, written);
    history.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_somebody_cleared_are_reported_and_not_set_again_on_monocloud() {
    cleared_marks_are_reported(Vendor::MonoCloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_somebody_cleared_are_reported_and_not_set_again_on_pingone() {
    cleared_marks_are_reported(Vendor::PingOne).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_somebody_cleared_are_reported_and_not_set_again_on_looker() {
    cleared_marks_are_reported(Vendor::Looker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_somebody_cleared_are_reported_and_not_set_again_on_keycloak() {
    cleared_marks_are_reported(Vendor::Keycloak).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_policies_on_one_tenant_write_once_and_both_are_done() {
    for vendor in [Vendor::MonoCloud, Vendor::PingOne, Vendor::Looker] {
        let tenant = start(vendor, 60).await;
        let mut bed = Bed::new("two").await;
        bed.start().await;
        tenant.connect(&bed, "tenant", fast()).await;
        bed.policy("first", tenant.policy("tenant", json!({}))).await;
        bed.policy("second", tenant.policy("tenant", json!({}))).await;
        for name in ["first", "second"] {
            let done =
                bed.policy_until(name, "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
            assert_eq!(done.count("enforced"), 60, "{vendor:?} {name}: {:#}", done.0["status"]);
        }
        let written = tenant.written().await;
        assert!(
            written.len() == 60 && written.values().all(|times| *times == 1),
            "{vendor:?}: one write, both done: {written:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_policy_whose_tenant_refuses_the_credential_says_so_in_provider_ready_only() {
    let tenant = start(Vendor::MonoCloud, 10).await;
    let mut bed = Bed::new("outage").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    tenant.simulator().set(Faults { refuse_credentials: true, ..Faults::default() });
    bed.patch_policy("inc", json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": "down"}}})).await;
    let down = bed.policy_until("inc", "refused", |p| p.condition("ProviderReady").starts_with("False")).await;
    assert_eq!(down.condition("ProviderReady"), "False ProviderNotReady");
    tenant.simulator().set(Faults::default());
    // A new Secret is tried at once.
    bed.secret(
        "tenant",
        json!({"passwordreset.dev/allowed-origins": tenant.simulator().base_url(), "example.org/rotated": "yes"}),
        json!({}),
        json!({"apiKey": tenant.simulator().credentials().api_key, "note": "rotated"}),
    )
    .await;
    bed.policy_until("inc", "back", |p| p.condition("ProviderReady") == "True Verified").await;
    let up = look_again(&bed, "inc", "up").await;
    assert_eq!(history.story("Ready", &up).await, ["", "False InProgress", "True Enforced"]);
    assert_eq!(history.story("Enforced", &up).await.last().map(String::as_str), Some("True Enforced"));
    history.assert_sound();
    let first = &history.versions()[0];
    assert_eq!(first.0["status"]["observedGeneration"], -1, "a newborn is never taken for current");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_person_who_is_locked_out_meanwhile_stays_required_and_is_not_written_again() {
    let tenant = start(Vendor::PingOne, 6).await;
    let due: Vec<String> = tenant.due().await.into_iter().collect();
    let mut bed = Bed::new("locked").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    tenant.simulator().play(&due[0], Play::LocksOut).expect("attempts fail");
    let seen = look_again(&bed, "inc", "second").await;
    assert_eq!((seen.count("enforced"), seen.count("skipped")), (6, 0), "{:#}", seen.0["status"]);
    assert!(tenant.written().await.values().all(|times| *times == 1));
}
