//! Tenants with accounts in every awkward state: each is written as often as its state allows, and what cannot be required
//! is reported until it is excluded.

use serde_json::{Value, json};
use simulators::{Class, Options, User};

use crate::bed::{Bed, View, fast};
use crate::history::History;
use crate::tenant::{Tenant, Vendor};

/// How often a user of this class may be written to.
fn allowed(vendor: Vendor, user: &User) -> std::ops::RangeInclusive<u64> {
    use Class::{
        AccountLocked, AlreadyMarked, ApiUser, Blocked, CredentialDisabled, Disabled, Embed, Expired, Federated,
        Gateway, LockedOut, NoPassword, RecentlyChanged, ServiceAccount, WithoutEffect,
    };
    match user.class {
        AlreadyMarked | RecentlyChanged | Expired => 0..=0, // nothing to do
        Disabled | CredentialDisabled | Blocked | AccountLocked | LockedOut => 0..=0, // not Active
        NoPassword | Gateway | Embed | ServiceAccount | ApiUser => 0..=0, // no password here
        Federated if vendor != Vendor::Looker => 0..=0,
        // One more try where the call has no side effects.
        WithoutEffect if vendor != Vendor::PingOne => 1..=2,
        _ => 1..=1,
    }
}

/// Accounts on which a write is refused or has no effect.
fn fails(user: &User) -> bool {
    matches!(user.class, Class::Forbidden | Class::Refused | Class::WithoutEffect)
}

async fn campaign(vendor: Vendor) {
    let tenant = Tenant::simulated(vendor, Options::awkward(150)).await;
    let users = tenant.simulator().users();
    let mut bed = Bed::new("awkward").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    let partly = |p: &View| p.condition("Stalled") == "True PartiallyFailed";
    let seen = bed.policy_until("inc", "some cannot be required", partly).await;
    let failing: Vec<&User> = users.iter().filter(|user| fails(user)).collect();
    assert_eq!(seen.count("failed"), failing.len() as i64, "{vendor:?}: {:#}", seen.0["status"]);
    assert_eq!((seen.count("pending"), seen.count("unknown")), (0, 0), "{vendor:?}: {:#}", seen.0["status"]);
    assert_eq!(seen.count("targeted"), users.len() as i64);
    let samples = seen.0["status"]["failures"].as_array().cloned().unwrap_or_default();
    for sample in &samples {
        let user = failing.iter().find(|user| sample["subject"] == user.id.as_str());
        let user = user.unwrap_or_else(|| panic!("{vendor:?}: {sample} is no failing account"));
        let category = sample["category"].as_str().unwrap_or_default();
        assert_eq!(
            category == "WriteNotEffective",
            user.class == Class::WithoutEffect,
            "{vendor:?} {:?}: {category}",
            user.class
        );
    }
    let check = |written: &std::collections::BTreeMap<String, u64>| {
        for user in &users {
            let times = written.get(&user.id).copied().unwrap_or_default();
            assert!(allowed(vendor, user).contains(&times), "{vendor:?} {:?} was written {times} times", user.class);
        }
    };
    let written = tenant.written().await;
    check(&written);
    for user in tenant.simulator().users() {
        let must = !fails(&user) && allowed(vendor, &user) == (1..=1);
        assert!(!must || user.marked, "{vendor:?} {:?} is marked", user.class);
    }

    let excluded: Vec<Value> = failing.iter().map(|user| json!({"id": user.id})).collect();
    let target =
        json!({"name": "all", "providerRef": {"name": "tenant"}, "scope": "Tenant", "exclude": {"users": excluded}});
    bed.patch_policy("inc", json!({"spec": {"targets": [target]}})).await;
    let done = bed
        .policy_until("inc", "the rest is required", |p| p.is_current() && p.condition("Ready") == "True Enforced")
        .await;
    assert_eq!(done.count("targeted"), (users.len() - failing.len()) as i64, "{vendor:?}: {:#}", done.0["status"]);
    assert_eq!(tenant.written().await, written, "{vendor:?}: nobody is written again");
    history.assert_sound();
}

/// Together, since an effect that does not show is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_required_is_reported_with_its_place_and_the_rest_goes_on() {
    tokio::join!(campaign(Vendor::MonoCloud), campaign(Vendor::PingOne), campaign(Vendor::Looker));
}
