//! The operator is killed in the middle of a campaign, as by a power cut, with writes on the way.

use std::time::Duration;

use serde_json::json;
use simulators::Options;
use testbed::keycloak::realm::RealmOptions;

use crate::bed::{Bed, View, fast};
use crate::history::History;
use crate::tenant::{Tenant, Vendor};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

async fn killed_in_mid_run(vendor: Vendor, users: usize) {
    let tenant = match vendor {
        Vendor::Keycloak => Tenant::keycloak(RealmOptions::default().users(users)).await,
        _ => Tenant::simulated(vendor, Options::ordinary(users as u32)).await,
    };
    let mut bed = Bed::new("crash").await;
    bed.start().await;
    // Keycloak's own event log, which tells who was written to, takes a while to read on a busy machine.
    let rate = if matches!(vendor, Vendor::Keycloak) { 20 } else { 60 };
    let rate = json!({"rateLimit": {"requestsPerSecond": rate, "burst": 10, "maxConcurrentRequests": 8}});
    tenant.connect(&bed, "tenant", rate).await;
    let history = History::of(&bed, "inc").await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    let written = async {
        while tenant.written().await.len() < users / 3 {
            tokio::time::sleep(POLL).await;
        }
    };
    let reached = tokio::time::timeout(DEADLINE, written).await;
    assert!(reached.is_ok(), "{vendor:?}: the campaign goes on\n{}", bed.log_text());
    bed.kill();
    let before = tenant.written().await.len();
    assert!(before < users, "{vendor:?}: {before} of {users} are written");
    bed.start().await;
    let enforced = |p: &View| p.condition("Enforced") == "True Enforced";
    let done = bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(done.count("enforced"), users as i64, "{vendor:?}: {:#}", done.0["status"]);
    let written = tenant.written().await;
    assert_eq!(written.len(), users);
    assert!(written.values().all(|times| *times == 1), "{vendor:?}: nobody twice: {written:?}");
    history.assert_sound();
}

/// Together, since an intent whose write does not show is waited for, as its effect may come late.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_in_mid_run_asks_nobody_twice() {
    tokio::join!(
        killed_in_mid_run(Vendor::MonoCloud, 120),
        killed_in_mid_run(Vendor::PingOne, 80),
        killed_in_mid_run(Vendor::Looker, 120),
        killed_in_mid_run(Vendor::Keycloak, 60),
    );
}

/// The settle time is an hour here, so that whoever waits for it is not written to in this test.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_only_those_whose_write_may_be_on_the_way_wait() {
    const USERS: usize = 60;
    const AT_ONCE: usize = 2;
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(USERS as u32)).await;
    let mut bed = Bed::new("doubt").await;
    bed.set("SETTLE_SECONDS", "3600");
    bed.start().await;
    let rate = json!({"rateLimit": {"requestsPerSecond": 20, "burst": 10, "maxConcurrentRequests": AT_ONCE}});
    tenant.connect(&bed, "tenant", rate).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    let reached = async |count: usize| {
        let written = async {
            while tenant.written().await.len() < count {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, written).await
    };
    reached(USERS / 3).await.expect("the campaign goes on");
    bed.kill();
    bed.start().await;
    let reached = reached(USERS - 2 * AT_ONCE).await;
    let written = tenant.written().await;
    assert!(reached.is_ok(), "{} of {USERS} are written\n{}", written.len(), bed.log_text());
    assert!(written.values().all(|times| *times == 1), "nobody twice: {written:?}");
}

/// What an earlier process had settled is not taken for well when something had to be corrected since.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_comes_back_after_a_restart_is_looked_at_at_once() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(10)).await;
    let mut bed = Bed::new("list-gone").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let users = tenant.simulator().users();
    let list = |some: usize| users[..some].iter().map(|user| user.email.as_str()).collect::<Vec<_>>().join("\n");
    let label = json!({"passwordreset.dev/user-list": "true"});
    bed.secret("leak", json!({}), label.clone(), json!({"users.txt": list(2)})).await;
    let from = json!([{"format": "Email", "secretRef": {"name": "leak", "key": "users.txt"}}]);
    let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "usersFrom": from});
    bed.policy("inc", tenant.policy("tenant", json!({"targets": [target]}))).await;
    bed.policy_until("inc", "two are required", |p| p.condition("Enforced") == "True Enforced").await;
    bed.delete_secret("leak").await;
    let is_missing = |p: &View| p.condition("Stalled") == "True UserListNotFound";
    bed.policy_until("inc", "the list is missing", is_missing).await;
    bed.kill();
    bed.start().await;
    bed.secret("leak", json!({}), label, json!({"users.txt": list(8)})).await;
    bed.policy_until("inc", "eight are required", |p| p.count("enforced") == 8).await;
    assert!(tenant.written().await.values().all(|times| *times == 1));
}
