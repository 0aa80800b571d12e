//! What tests of faults have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use password_reset_operator::plan::ledger::{CampaignKey, Ledger, Retention};
use serde_json::{Value, json};
use simulators::{Effect, Handle};
use testbed::proxy::{Action, Answer, Gate, Phase, Rule};

use crate::bed::{Bed, View, deadline};
use crate::tenant::is_write;

const POLL: Duration = Duration::from_millis(10);

/// Waits until `holds`, and says `what` was waited for in vain.
pub async fn eventually(what: &str, bed: &Bed, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(POLL).await;
        }
    };
    assert!(tokio::time::timeout(deadline(), waited).await.is_ok(), "not in time: {what}\n{}", bed.log_text());
}

/// A rate at which a campaign of a hundred takes some seconds.
pub fn slow() -> Value {
    json!({"rateLimit": {"requestsPerSecond": 40, "burst": 5, "maxConcurrentRequests": 4}})
}

/// Whether everybody is required or better.
pub fn enforced(policy: &View) -> bool {
    policy.condition("Enforced") == "True Enforced"
}

/// Writes that reached the provider so far.
pub fn writes(simulator: &Handle) -> usize {
    simulator.ledger().iter().filter(|record| record.by_api() && is_write(record.call)).count()
}

/// Writes by the caller: a process signs in for itself, so its token tells whose a write was.
pub fn writes_by_caller(simulator: &Handle) -> BTreeMap<String, usize> {
    let mut by_caller = BTreeMap::new();
    for record in simulator.ledger().iter().filter(|record| record.by_api() && is_write(record.call)) {
        *by_caller.entry(record.caller.clone()).or_default() += 1;
    }
    by_caller
}

/// Accounts that were required although the provider showed that they were already.
pub fn required_again(simulator: &Handle) -> usize {
    simulator.ledger().iter().filter(|record| record.by_api() && record.effect == Effect::MarkedAgain).count()
}

/// Accounts with an open intent in the ledgers at the API server.
pub async fn open_intents(bed: &Bed) -> usize {
    let api: Api<ConfigMap> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    let mut shards: BTreeMap<CampaignKey, Vec<(u16, Vec<u8>)>> = BTreeMap::new();
    for map in api.list(&Default::default()).await.expect("the ledgers") {
        let Some(key) = CampaignKey::from_annotations(map.annotations()) else { continue };
        let index = map.name_any().strip_prefix(&format!("{}-", key.name())).and_then(|n| n.parse().ok());
        let bytes = map.binary_data.into_iter().flatten().map(|(_, bytes)| bytes.0).next().unwrap_or_default();
        shards.entry(key).or_default().push((index.unwrap_or_default(), bytes));
    }
    assert!(!shards.is_empty(), "there is a ledger");
    let ledgers = shards.into_iter().map(|(key, shards)| Ledger::load(key, Retention::All, shards).expect("a ledger"));
    ledgers.map(|ledger| ledger.open().len()).sum()
}

/// The lease of the operator, if there is one.
pub async fn lease(bed: &Bed) -> Option<LeaseSpec> {
    let api: Api<Lease> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    api.get_opt("password-reset-operator").await.expect("an answer")?.spec
}

/// Who holds the lease; empty where nobody does.
pub async fn holder(bed: &Bed) -> String {
    lease(bed).await.and_then(|spec| spec.holder_identity).unwrap_or_default()
}

/// Waits until somebody other than `before` holds the lease, and returns who.
pub async fn next_holder(bed: &Bed, before: &str) -> String {
    eventually("another holder of the lease", bed, async || {
        let holder = holder(bed).await;
        !holder.is_empty() && holder != before
    })
    .await;
    holder(bed).await
}

/// Takes the lease for somebody who never renews it, by a clock that is years ahead. It holds for `seconds`.
pub async fn hold_lease(bed: &Bed, seconds: i32) {
    let far: Timestamp = "2199-01-01T00:00:00Z".parse().expect("a time");
    let lease = Lease {
        metadata: ObjectMeta { name: Some("password-reset-operator".to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some("somebody-else".to_owned()),
            lease_duration_seconds: Some(seconds),
            renew_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(far)),
            ..LeaseSpec::default()
        }),
    };
    let api: Api<Lease> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    api.create(&PostParams::default(), &lease).await.expect("the lease is free");
}

/// An answer of the proxy's own, in JSON.
pub fn answer(status: u16, headers: &[(&str, &str)], body: Value) -> Action {
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Action::Answer(Answer { status, headers: headers.chain([json]).collect(), body: body.to_string().into() })
}

/// Holds the next call of this template at the proxy before the API server.
pub fn hold_list(bed: &Bed, template: &str) -> Held {
    let (gate, reached) = (Gate::closed(), Arc::new(AtomicBool::new(false)));
    let noted = reached.clone();
    let rule = Rule::new(Phase::Before, Action::Hold(gate.clone())).on(template).first(1).hook(move |_| {
        noted.store(true, Ordering::Release);
        std::future::ready(())
    });
    bed.api_proxy().rule(rule);
    Held { gate, reached }
}

/// A call that is held.
pub struct Held {
    gate: Gate,
    reached: Arc<AtomicBool>,
}

impl Held {
    /// Whether the call has come.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    /// Lets it go on.
    pub fn open(&self) {
        self.gate.open();
    }
}

/// Status and text of the operator's /livez; 0 where nobody listens.
pub async fn livez(port: u16) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    match http.get(format!("http://127.0.0.1:{port}/livez")).send().await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
        Err(_) => (0, String::new()),
    }
}

/// The sum of the operator's own counters whose name ends so and whose line holds this label.
pub async fn counted(port: u16, name: &str, label: &str) -> u64 {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("metrics");
    let text = answer.text().await.expect("text");
    let mine = text.lines().filter(|line| {
        line.split(['{', ' ']).next().is_some_and(|counter| counter.ends_with(name)) && line.contains(label)
    });
    mine.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Objects of one of our kinds in the test's namespace, of any content.
pub fn objects(bed: &Bed, kind: &str) -> (Api<DynamicObject>, ApiResource) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("passwordreset.dev", "v1alpha1", kind));
    (Api::namespaced_with(bed.client.clone(), &bed.namespace, &resource), resource)
}

/// Creates an object as kubectl without validation would: unknown fields are no error. `false`: the API server refuses it.
pub async fn create(bed: &Bed, kind: &str, name: &str, spec: Value) -> bool {
    let (api, resource) = objects(bed, kind);
    let mut object = DynamicObject::new(name, &resource);
    object.data = json!({"spec": spec});
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => false,
        Err(error) => panic!("{name}: {error}"),
    }
}
