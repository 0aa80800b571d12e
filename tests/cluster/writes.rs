//! How much does a campaign write to Kubernetes? Counted in the API server's audit log.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::json;
use simulators::{Options, looker, monocloud, pingone};
use testbed::control_plane::audit::AuditEvent;

use crate::bed::{Bed, fast, merge};
use crate::tenant::{Tenant, Vendor};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

struct Written {
    policy: usize,
    ledger: usize,
    events: usize,
}

/// What the operator has written since it had written `since` requests.
async fn written(bed: &Bed, since: usize) -> Written {
    let audit = bed.audit().await;
    let writes: Vec<&AuditEvent> = audit.iter().skip(since).filter(|event| event.is_write()).collect();
    let count = |resource: &str| writes.iter().filter(|event| event.resource == resource).count();
    let written =
        Written { policy: count("passwordresetpolicies"), ledger: count("configmaps"), events: count("events") };
    assert_eq!(writes.len(), written.policy + written.ledger + written.events, "nothing else is written: {writes:#?}");
    assert!(writes.iter().all(|event| event.code < 300), "no write is refused: {writes:#?}");
    written
}

async fn campaign(vendor: Vendor, users: u32, batch: u32, listing: &str, listings: u64) {
    let tenant = Tenant::simulated(vendor, Options::ordinary(users)).await;
    let mut bed = Bed::new("writes").await;
    bed.start().await;
    let mut extra = fast();
    merge(&mut extra, json!({"observePeriodSeconds": 10, "pageSize": 100}));
    tenant.connect(&bed, "tenant", extra).await;
    bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    said(&bed, "Verified").await;

    let before = bed.audit().await.len();
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    said(&bed, "Enforced").await;
    let seen = written(&bed, before).await;
    assert!(seen.policy <= 3, "{vendor:?}: {} writes on the policy", seen.policy);
    assert_eq!(seen.ledger, 1 + users.div_ceil(batch) as usize, "{vendor:?}: writes on the ledger");
    assert!(seen.events <= 2, "{vendor:?}: {} events, among {:#?}", seen.events, events(&bed).await);

    // A resync brings the same object again, and two looks find what is known.
    let (before, pages) = (bed.audit().await.len(), tenant.simulator().count(listing));
    bed.patch_policy("inc", json!({"metadata": {"annotations": {"example.org/touched": "yes"}}})).await;
    let each = u64::from(users + 1).div_ceil(100) * listings;
    tenant_listed(&bed, &tenant, listing, pages + each + 1).await;
    let seen = written(&bed, before).await;
    assert_eq!((seen.policy, seen.ledger, seen.events), (0, 0, 0), "{vendor:?}: nothing new, nothing written");

    // So does a restart.
    bed.kill();
    let before = bed.audit().await.len();
    let pages = tenant.simulator().count(listing);
    bed.start().await;
    tenant_listed(&bed, &tenant, listing, pages + each).await;
    let seen = written(&bed, before).await;
    assert_eq!((seen.policy, seen.ledger, seen.events), (0, 0, 0), "{vendor:?}: nothing new after a restart");
}

/// Waits until the provider has answered so many requests for a page.
async fn tenant_listed(bed: &Bed, tenant: &Tenant, listing: &str, pages: u64) {
    let listed = async {
        while tenant.simulator().count(listing) < pages {
            tokio::time::sleep(POLL).await;
        }
    };
    let listed = tokio::time::timeout(DEADLINE, listed).await;
    assert!(listed.is_ok(), "the tenant is listed again\n{}", bed.log_text());
}

/// The events of the test's namespace: about whom, why, and what.
async fn events(bed: &Bed) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let events = events.list(&Default::default()).await.expect("events");
    let text = |event: &Event| {
        let about = event.regarding.as_ref().and_then(|about| about.kind.clone()).unwrap_or_default();
        format!("{about} {} {}", event.reason.clone().unwrap_or_default(), event.note.clone().unwrap_or_default())
    };
    events.iter().map(text).collect()
}

/// Waits for the event that follows a status.
async fn said(bed: &Bed, reason: &str) {
    let events: Api<Event> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let listed = async {
        while !events
            .list(&Default::default())
            .await
            .expect("events")
            .iter()
            .any(|e| e.reason.as_deref() == Some(reason))
        {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(DEADLINE, listed).await.expect("the event is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_writes_three_times_to_the_policy_once_a_batch_to_the_ledger_and_two_events() {
    tokio::join!(
        campaign(Vendor::MonoCloud, 450, 200, monocloud::LIST_USERS, 2),
        campaign(Vendor::PingOne, 450, 200, pingone::LIST_USERS, 1),
        campaign(Vendor::Looker, 60, 25, looker::LIST_USERS, 2),
    );
}
