//! Observe, readyWhen and the age of a password.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulators::{Class, Options, Population, Share};

use crate::bed::{Bed, fast};
use crate::history::{History, look_again};
use crate::tenant::{Tenant, Vendor};

async fn started(vendor: Vendor, options: Options) -> (Bed, Tenant, History) {
    let tenant = Tenant::simulated(vendor, options).await;
    let mut bed = Bed::new("modes").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    (bed, tenant, history)
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_writes_nothing_and_says_by_the_same_rule_whether_everybody_is_covered() {
    for vendor in [Vendor::MonoCloud, Vendor::PingOne] {
        let (bed, tenant, history) = started(vendor, Options::ordinary(20)).await;
        bed.policy("inc", tenant.policy("tenant", json!({"mode": "Observe"}))).await;
        let seen = bed.policy_until("inc", "observed", |p| p.condition("Ready") == "True Observed").await;
        assert_eq!(seen.condition("Enforced"), "False Observed");
        assert_eq!(seen.condition("Changed"), "False Observed");
        assert_eq!((seen.count("pending"), seen.count("targeted")), (20, 20), "{:#}", seen.0["status"]);
        // Some people are marked by somebody else, the others change their passwords on their own.
        let everybody = tenant.due().await;
        let (marked, changed): (Vec<_>, Vec<_>) = everybody.iter().enumerate().partition(|(n, _)| *n < 5);
        for (_, id) in marked {
            tenant.simulator().play(id, simulators::Play::Marks).expect("an admin marks");
        }
        tenant.comply(changed.into_iter().map(|(_, id)| id)).await;
        let seen = look_again(&bed, "inc", "second").await;
        assert_eq!(seen.condition("Enforced"), "True Enforced", "{:#}", seen.0["status"]);
        assert_eq!(seen.condition("Ready"), "True Observed");
        assert_eq!((seen.count("enforced"), seen.count("compliant")), (5, 15));
        assert!(tenant.written().await.is_empty(), "nothing is written");
        history.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ready_when_changed_a_policy_is_ready_once_everybody_has_changed() {
    let (bed, tenant, history) = started(Vendor::MonoCloud, Options::ordinary(10)).await;
    let due = tenant.due().await;
    bed.policy("inc", tenant.policy("tenant", json!({"readyWhen": "Changed"}))).await;
    let waiting = bed.policy_until("inc", "awaiting", |p| p.condition("Ready") == "False AwaitingUsers").await;
    assert_eq!(waiting.condition("Enforced"), "True Enforced");
    assert_eq!(waiting.condition("Changed"), "False AwaitingUsers");
    assert_eq!((waiting.condition("Reconciling"), waiting.condition("Stalled")), (String::new(), String::new()));
    tenant.comply(&due).await;
    let done = look_again(&bed, "inc", "second").await;
    assert_eq!(done.condition("Ready"), "True Changed");
    assert_eq!(done.condition("Changed"), "True Changed");
    assert_eq!(done.count("changed"), 10);
    assert_eq!(history.story("Ready", &done).await, ["", "False InProgress", "False AwaitingUsers", "True Changed"]);
    history.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_older_than_an_age_are_due_and_new_ones_are_not() {
    let population = Population::with(60, &[(Class::RecentlyChanged, Share::Count(6))]);
    for vendor in [Vendor::MonoCloud, Vendor::PingOne] {
        let (bed, tenant, history) = started(vendor, Options::new(population.clone())).await;
        let limit = Timestamp::now() - SignedDuration::from_hours(24 * 300);
        let users = tenant.simulator().users();
        let old: Vec<String> =
            users.iter().filter(|u| u.changed_at.is_some_and(|at| at < limit)).map(|u| u.id.clone()).collect();
        assert!(old.len() > 10 && old.len() < 50, "{} of 60 are older than 300 days", old.len());
        let age = json!({"requirement": {"passwordChangedAfter": null, "maxPasswordAgeDays": 300}});
        let mut spec = tenant.policy("tenant", age);
        spec["requirement"].as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        bed.policy("inc", spec).await;
        let seen = bed.policy_until("inc", "required", |p| p.condition("Enforced") == "True Enforced").await;
        assert_eq!((seen.count("enforced"), seen.count("compliant")), (old.len() as i64, 60 - old.len() as i64));
        let once = |written: std::collections::BTreeMap<String, u64>| {
            let mut expected = old.clone();
            expected.sort();
            assert_eq!(written.keys().cloned().collect::<Vec<_>>(), expected);
            assert!(written.values().all(|times| *times == 1));
        };
        once(tenant.written().await);
        tenant.comply(&old).await;
        let seen = look_again(&bed, "inc", "second").await;
        assert_eq!(seen.condition("Ready"), "True Changed", "{:#}", seen.0["status"]);
        assert_eq!(seen.count("changed"), old.len() as i64);
        once(tenant.written().await);
        history.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_is_refused_where_the_provider_shows_no_change_times() {
    let (bed, tenant, history) = started(Vendor::Looker, Options::ordinary(5)).await;
    let mut spec = tenant.policy("tenant", json!({}));
    spec["requirement"] = json!({"maxPasswordAgeDays": 90});
    bed.policy("inc", spec).await;
    let stalled = bed.policy_until("inc", "stalled", |p| p.condition("Stalled") == "True UnsupportedByProvider").await;
    assert!(stalled.message("Stalled").contains("maxPasswordAgeDays"), "{}", stalled.message("Stalled"));
    assert!(tenant.written().await.is_empty());
    history.assert_sound();
}
