//! Exactly one write per account that needs it, none for all others, and none again whatever happens to the operator, to
//! the policy or to its status. Counted in the ledger of each provider.

use serde_json::json;

use crate::bed::{Bed, fast};
use crate::history::{History, look_again, lose_status};
use crate::tenant::{Tenant, Vendor};

const USERS: u32 = 100;
/// People who comply: the rest is still marked afterwards.
const COMPLY: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn monocloud_requires_each_account_that_is_due_once_whatever_happens() {
    nobody_is_asked_twice(Vendor::MonoCloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pingone_requires_each_account_that_is_due_once_whatever_happens() {
    nobody_is_asked_twice(Vendor::PingOne).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looker_requires_each_account_that_is_due_once_whatever_happens() {
    nobody_is_asked_twice(Vendor::Looker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_requires_each_account_that_is_due_once_whatever_happens() {
    nobody_is_asked_twice(Vendor::Keycloak).await;
}

async fn nobody_is_asked_twice(vendor: Vendor) {
    let tenant = Tenant::mixed(vendor, USERS).await;
    let due = tenant.due().await;
    assert_eq!(due.len(), 80, "a fifth is marked, has changed, is disabled or has no password");
    let once = |written: &std::collections::BTreeMap<String, u64>, when: &str| {
        assert_eq!(
            written.keys().cloned().collect::<std::collections::BTreeSet<_>>(),
            due,
            "{when}: those who are due"
        );
        assert!(written.values().all(|times| *times == 1), "{when}: once each, not {written:?}");
    };
    let mut bed = Bed::new("once").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    let spec = tenant.policy("tenant", json!({}));
    bed.policy("inc", spec.clone()).await;
    let enforced = bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    assert_eq!(enforced.count("enforced"), 85, "{:#}", enforced.0["status"]);
    assert_eq!(enforced.count("compliant"), 5, "{:#}", enforced.0["status"]);
    let api_user = i64::from(vendor == Vendor::Looker);
    assert_eq!(enforced.count("skipped"), 10 + api_user, "{:#}", enforced.0["status"]);
    assert_eq!(enforced.0["status"]["progress"], "90/90");
    once(&tenant.written().await, "the campaign");

    look_again(&bed, "inc", "second").await;
    once(&tenant.written().await, "a later pass");

    tenant.comply(due.iter().take(COMPLY)).await;
    let counts = look_again(&bed, "inc", "third").await;
    assert_eq!(counts.count("changed"), COMPLY as i64, "{:#}", counts.0["status"]);
    assert_eq!(counts.count("enforced"), 85 - COMPLY as i64);
    assert_eq!(counts.condition("Enforced"), "True Enforced");
    let completed = |p: &crate::bed::View| p.0["status"]["targets"][0]["completedAt"].clone();
    assert!(completed(&enforced).is_string());
    assert_eq!(completed(&counts), completed(&enforced), "the first complete pass, never rewritten");
    once(&tenant.written().await, "people have complied");

    bed.kill();
    bed.start().await;
    look_again(&bed, "inc", "fourth").await;
    once(&tenant.written().await, "a restart");

    lose_status(&bed, "inc").await;
    let again = |p: &crate::bed::View| p.condition("Enforced") == "True Enforced" && p.is_current();
    let found = bed.policy_until("inc", "status is there again", again).await;
    assert_eq!(found.count("changed"), COMPLY as i64, "{:#}", found.0["status"]);
    look_again(&bed, "inc", "fifth").await;
    once(&tenant.written().await, "a lost status");

    bed.kill();
    lose_status(&bed, "inc").await;
    bed.start().await;
    let found = bed.policy_until("inc", "status is there again", again).await;
    assert_eq!(found.count("changed"), COMPLY as i64, "{:#}", found.0["status"]);
    once(&tenant.written().await, "a status lost while nobody looked");

    bed.delete_policy("inc").await;
    bed.policy("inc", spec).await;
    let found = bed.policy_until("inc", "the same again", again).await;
    assert_eq!(found.count("changed"), COMPLY as i64, "{:#}", found.0["status"]);
    assert_eq!(found.count("enforced"), 85 - COMPLY as i64);
    look_again(&bed, "inc", "sixth").await;
    once(&tenant.written().await, "deleted and applied again");
    history.assert_sound();
}
