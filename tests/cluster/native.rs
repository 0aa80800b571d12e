//! One call for everybody on Looker: once, never again, and not at all where it would hit somebody who must be spared.

use serde_json::{Value, json};
use simulators::{Class, Options, Population, Share, looker};

use crate::bed::{Bed, View, fast, merge};
use crate::history::{History, look_again, lose_status};
use crate::tenant::{Tenant, Vendor};

fn everybody() -> Value {
    json!({"targets": [{"name": "all", "providerRef": {"name": "tenant"}, "scope": "Tenant", "strategy": "TenantNative",
        "accountStates": ["Active", "Disabled"]}]})
}

fn calls(tenant: &Tenant) -> (u64, u64) {
    (tenant.simulator().count(looker::FORCE_ALL), tenant.simulator().count(looker::PATCH_CREDENTIAL))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_requires_everybody_is_never_sent_again_and_stragglers_are_required_one_by_one() {
    let population = Population::with(60, &[(Class::Disabled, Share::Count(5)), (Class::Embed, Share::Count(5))]);
    let tenant = Tenant::simulated(Vendor::Looker, Options::new(population)).await;
    let people: Vec<String> = tenant.due().await.into_iter().collect();
    let mut bed = Bed::new("native").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    let spec = tenant.policy("tenant", everybody());
    bed.policy("inc", spec.clone()).await;
    let enforced = |p: &View| p.is_current() && p.condition("Enforced") == "True Enforced";
    let done = bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!((done.count("enforced"), done.count("skipped")), (55, 6), "{:#}", done.0["status"]);
    assert_eq!(calls(&tenant), (1, 0));

    tenant.comply(people.iter().take(4)).await;
    let seen = look_again(&bed, "inc", "second").await;
    assert_eq!((seen.count("changed"), seen.count("enforced")), (4, 51), "{:#}", seen.0["status"]);
    bed.kill();
    lose_status(&bed, "inc").await;
    bed.start().await;
    bed.policy_until("inc", "status is there again", enforced).await;
    bed.delete_policy("inc").await;
    bed.policy("inc", spec).await;
    let seen = bed.policy_until("inc", "the same again", enforced).await;
    assert_eq!((seen.count("changed"), seen.count("enforced")), (4, 51), "{:#}", seen.0["status"]);
    assert_eq!(calls(&tenant), (1, 0), "never again");

    // Somebody whose credential is older than the cutoff turns up later.
    tenant.simulator().clock().set_offset_seconds(-4 * 3600);
    let straggler = tenant.simulator().hire();
    tenant.simulator().clock().set_offset_seconds(0);
    let seen = look_again(&bed, "inc", "third").await;
    assert_eq!(seen.count("enforced"), 52, "{:#}", seen.0["status"]);
    assert_eq!(calls(&tenant), (1, 1));
    assert!(tenant.simulator().user(&straggler).expect("a user").marked);
    history.assert_sound();
}

/// A tenant may take longer to list than the operator works on one policy at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_takes_many_slices_is_read_once_before_the_call_and_once_after_it() {
    const PEOPLE: u32 = 40;
    let tenant = Tenant::simulated(Vendor::Looker, Options::new(Population::with(PEOPLE, &[]))).await;
    let mut bed = Bed::new("native-slow").await;
    bed.start().await;
    let slow = json!({"pageSize": 2, "rateLimit": {"requestsPerSecond": 2, "burst": 1, "maxConcurrentRequests": 1}});
    tenant.connect(&bed, "tenant", slow).await;
    bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    let verified = tenant.simulator().count(looker::LIST_USERS);
    bed.policy("inc", tenant.policy("tenant", everybody())).await;
    let simulator = tenant.simulator();
    let sent = |_: &View| simulator.count(looker::FORCE_ALL) == 1;
    bed.policy_until("inc", "the call is sent", sent).await;
    // With the caller's own account, which has no password; a listing ends with its last page.
    let pages = u64::from(PEOPLE) / 2 + 1;
    let before = simulator.count(looker::LIST_USERS) - verified;
    assert!((pages..=pages + 1).contains(&before), "{before} pages of {pages}, and what a probe asks for");
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    assert_eq!(calls(&tenant), (1, 0));
}

async fn refused(name: &str, options: Options, protect: bool, says: &str) {
    let tenant = Tenant::simulated(Vendor::Looker, options).await;
    let mut bed = Bed::new(name).await;
    bed.start().await;
    let mut extra = fast();
    if protect {
        merge(&mut extra, json!({"protectedUsers": [{"email": tenant.simulator().user_at(0).email}]}));
    }
    tenant.connect(&bed, "tenant", extra).await;
    let history = History::of(&bed, "inc").await;
    bed.policy("inc", tenant.policy("tenant", everybody())).await;
    let stalled = bed.policy_until("inc", "refused", |p| p.condition("Stalled").starts_with("True")).await;
    assert_eq!(stalled.condition("Stalled"), "True InvalidSpec");
    assert!(stalled.message("Stalled").contains(says), "{}", stalled.message("Stalled"));
    assert!(stalled.message("Stalled").contains("PerUser"), "what to write instead: {}", stalled.message("Stalled"));
    assert_eq!(calls(&tenant), (0, 0), "nobody is touched");
    history.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_refused_where_it_would_hit_somebody_who_must_be_spared() {
    let changed = Population::with(20, &[(Class::RecentlyChanged, Share::Count(2))]);
    let api_user = Options { api_user_has_credential: true, ..Options::ordinary(20) };
    tokio::join!(
        refused("protected", Options::ordinary(20), true, "protectedUsers"),
        refused("api-user", api_user, false, "API user"),
        refused("changed", Options::new(changed), false, "changed since the cutoff"),
    );
}
