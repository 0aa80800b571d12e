//! The API server refuses, loses answers, restarts, or goes back in time; and objects that come, go and change under way.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use password_reset_operator::api::{IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};
use simulators::{Faults, Options};
use testbed::control_plane::ControlPlane;
use testbed::proxy::{Action, Phase, Rule};

use crate::bed::{Bed, View, at_full_length, cutoff, fast, install_crds};
use crate::history::{History, lose_status};
use crate::support::{answer, counted, enforced, eventually, open_intents, required_again, slow, writes};
use crate::tenant::{Tenant, Vendor};

fn failure(status: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status, "message": reason})
}

/// A tenant, a policy over all of it, and an operator that works on it behind a proxy.
async fn campaign(name: &str, vendor: Vendor, users: u32, rules: &[Rule]) -> (Bed, Tenant) {
    let tenant = Tenant::simulated(vendor, Options::ordinary(users)).await;
    let mut bed = Bed::new(name).await;
    begin(&mut bed, &tenant, rules).await;
    (bed, tenant)
}

async fn begin(bed: &mut Bed, tenant: &Tenant, rules: &[Rule]) {
    bed.behind_proxy().await;
    for rule in rules {
        bed.api_proxy().rule(rule.clone());
    }
    bed.start().await;
    tenant.connect(bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
}

async fn everybody_once(bed: &Bed, tenant: &Tenant, users: usize) {
    let done = bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(done.count("enforced"), users as i64, "{:#}", done.0["status"]);
    let written = tenant.written().await;
    assert_eq!(written.len(), users, "nobody is left out");
    assert!(written.values().all(|times| *times == 1), "nobody twice: {written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_given_up_at_its_deadline_and_made_again() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(20)).await;
    let mut bed = Bed::new("unanswered").await;
    bed.shorten("CALL_TIMEOUT_SECONDS", 2);
    let calls = [
        "list secrets",
        "list configmaps",
        "create configmaps",
        "patch passwordreset.dev/identityproviders/status",
        "patch passwordreset.dev/passwordresetpolicies/status",
    ];
    let hangs = calls.map(|call| Rule::new(Phase::Before, Action::BlackHole).on(call).first(1));
    begin(&mut bed, &tenant, &hangs).await;
    everybody_once(&bed, &tenant, 20).await;
    for call in calls {
        let made = bed.api_proxy().records().iter().filter(|record| record.call.template == call).count();
        assert!(made >= 2, "{call} was made {made} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_at_the_status_is_tried_again_and_a_refused_event_is_ignored() {
    let conflict = answer(409, &[], failure(409, "Conflict"));
    let forbidden = answer(403, &[], failure(403, "Forbidden"));
    let rules = [
        Rule::new(Phase::Before, conflict).on("patch passwordreset.dev/passwordresetpolicies/status").first(2),
        Rule::new(Phase::Before, forbidden).on("create events.k8s.io/events"),
    ];
    let [port] = testbed::ports::free().expect("a free port");
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(40)).await;
    let mut bed = Bed::new("conflict").await;
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    begin(&mut bed, &tenant, &rules).await;
    everybody_once(&bed, &tenant, 40).await;
    assert!(counted(port, "events_lost_total", "").await > 0, "what is lost is counted");
    let refused = bed.api_proxy().records();
    assert!(refused.iter().any(|r| r.call.template == "create events.k8s.io/events" && r.forwarded.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_or_a_patch_that_was_applied_and_answered_with_503_makes_no_second_object() {
    let lost = || answer(503, &[], failure(503, "ServiceUnavailable"));
    let rules = [
        "create configmaps",
        "update configmaps",
        "patch passwordreset.dev/passwordresetpolicies/status",
        "patch passwordreset.dev/identityproviders/status",
        "create events.k8s.io/events",
    ]
    .map(|call| Rule::new(Phase::AfterForward, lost()).on(call).first(1));
    let (bed, tenant) = campaign("applied", Vendor::Looker, 60, &rules).await;
    everybody_once(&bed, &tenant, 60).await;
    let records = bed.api_proxy().records();
    let answered = |call: &str, status: u16| {
        records.iter().filter(|r| r.call.template == call && r.status == Some(status)).count()
    };
    assert_eq!((answered("create configmaps", 201), bed.ledgers().await.len()), (1, 1), "one ledger, created once");
    assert_eq!(answered("create events.k8s.io/events", 409), 0, "no event is sent again");
}

/// For a minute at full length.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_only_the_open_batch_is_sent_and_after_that_the_campaign_goes_on() {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start(Default::default()).await.expect("one")));
    install_crds(plane).await;
    // Batches of 25.
    let tenant = Tenant::simulated(Vendor::Looker, Options::ordinary(120)).await;
    let mut bed = Bed::on(plane, "away", true).await;
    // An API server that has just begun does not know the Roles yet.
    bed.lacks_rights();
    bed.start().await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    plane.stop_api_server();
    let at_stop = writes(tenant.simulator());
    // Two dozen attempts at the ledger or the watches later nothing has moved any more.
    let failed = || bed.log_text().matches("nothing is sent without it").count();
    eventually("it notices", &bed, async || failed() >= 2).await;
    let without = writes(tenant.simulator());
    assert!(without - at_stop <= 25, "no more than the open batch: {at_stop} and then {without}");
    eventually("it goes on trying", &bed, async || failed() >= 4).await;
    if at_full_length() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(writes(tenant.simulator()), without, "nothing is sent without a checkpoint");
    plane.restart_api_server().await.expect("it starts again");
    everybody_once(&bed, &tenant, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_restored_from_an_older_snapshot_has_nobody_asked_twice() {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start(Default::default()).await.expect("one")));
    install_crds(plane).await;
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(60)).await;
    let mut bed = Bed::on(plane, "restored", true).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    plane.save().await.expect("a snapshot before the campaign");
    bed.start().await;
    bed.policy_until("inc", "everybody required", enforced).await;
    // Ledger and status are as they were before: the provider knows better. As Kubernetes asks for, whatever watches
    // is started again after a restore.
    bed.kill();
    plane.restore().await.expect("the snapshot");
    assert!(bed.ledgers().await.is_empty(), "the ledger is gone");
    bed.start().await;
    everybody_once(&bed, &tenant, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_deleted_and_created_anew_in_mid_run_goes_on_without_asking_anybody_twice() {
    let (bed, tenant) = campaign("anew", Vendor::MonoCloud, 80, &[]).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    bed.delete_policy("inc").await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    everybody_once(&bed, &tenant, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_created_anew_for_fewer_people_writes_to_nobody_else() {
    let (bed, tenant) = campaign("fewer", Vendor::MonoCloud, 80, &[]).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    bed.delete_policy("inc").await;
    // Of the same generation as the one before.
    let last = tenant.simulator().user_at(79);
    let target =
        json!({"name": "one", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": [{"id": last.id}]});
    bed.policy("inc", tenant.policy("tenant", json!({"targets": [target]}))).await;
    let written = writes(tenant.simulator());
    let view = bed.policy_until("inc", "the one is required", enforced).await;
    assert_eq!((view.count("targeted"), view.count("enforced")), (1, 1), "{:#}", view.0["status"]);
    let more = writes(tenant.simulator()) - written;
    assert!(more <= 1 + 4, "{more} writes: one that is wanted, and the four that may have been on the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_deleted_in_mid_batch_leaves_no_intent_open() {
    let tenant = Tenant::simulated(Vendor::Looker, Options::ordinary(60)).await;
    let mut bed = Bed::new("deleted-mid-batch").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("some are required", &bed, async || writes(tenant.simulator()) >= 3).await;
    bed.delete_policy("inc").await;
    eventually("nothing is open any more", &bed, async || open_intents(&bed).await == 0).await;
    let written = writes(tenant.simulator());
    assert!(written < 60, "it was deleted in mid-run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_terminating_stops_its_campaigns_and_nothing_of_ours_keeps_it() {
    let (bed, tenant) = campaign("terminating", Vendor::MonoCloud, 200, &[]).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    namespaces.delete(&bed.namespace, &DeleteParams::default()).await.expect("it is deleted");
    // What the namespace controller does then, which does not run here.
    let policies: Api<PasswordResetPolicy> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let providers: Api<IdentityProvider> = Api::namespaced(bed.client.clone(), &bed.namespace);
    policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("they are deleted");
    providers.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("they are deleted");
    assert!(policies.get_opt("inc").await.expect("an answer").is_none(), "no finalizer holds it");
    assert!(providers.get_opt("tenant").await.expect("an answer").is_none(), "no finalizer holds it");
    let in_flight = || tenant.simulator().counters().in_flight;
    eventually("calls on the way have ended", &bed, async || in_flight() == 0).await;
    let calls = tenant.simulator().counters().total();
    let watched = || bed.api_proxy().records().iter().filter(|r| r.call.is_watch).count();
    let so_far = watched();
    bed.api_proxy().reset_connections();
    eventually("it watches on", &bed, async || watched() > so_far).await;
    assert!(tenant.simulator().counters().total() <= calls + 4, "the tenant has its rest");
    assert!(writes(tenant.simulator()) < 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_foreign_namespace_is_not_there_whatever_may_be_read() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(3)).await;
    let foreign = Bed::new("foreign").await;
    tenant.connect(&foreign, "tenant", fast()).await;
    let mut bed = Bed::new("home").await;
    bed.start().await;
    let url = tenant.simulator().base_url();
    crate::rights::grant(
        &bed.client,
        &bed.operator_namespace,
        crate::bed::SERVICE_ACCOUNT,
        crate::rights::Readable::Secret,
        &foreign.namespace,
        "tenant",
    )
    .await;
    bed.grant("secrets", "tenant").await;
    let spec = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "tenant"}}});
    bed.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider",
        "metadata": {"name": "tenant"}, "spec": spec}))
        .await;
    bed.provider_until("tenant", "not found", |p| p.condition("Ready") == "False SecretNotFound").await;
    let read = bed.audit().await.into_iter().filter(|e| e.resource == "secrets" && e.namespace == foreign.namespace);
    assert_eq!(read.count(), 0, "nobody has looked there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_in_mid_run_stops_it_and_given_back_heals_it() {
    let (mut bed, tenant) = campaign("rights", Vendor::Looker, 120, &[]).await;
    bed.lacks_rights();
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    let bindings: Api<RoleBinding> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    let name = format!("password-reset-operator-{}-own-namespace", bed.operator_namespace);
    let mut binding = bindings.get(&name).await.expect("the right to the ledgers");
    bindings.delete(&name, &DeleteParams::default()).await.expect("it is taken away");
    eventually("it is said", &bed, async || bed.log_text().contains("the ledger cannot be read or written")).await;
    let without = writes(tenant.simulator());
    assert!(without < 120, "it was in mid-run");
    let said = |p: &View| p.message("Ready").contains("the records cannot be read or written");
    bed.policy_until("inc", "the policy says so", said).await;
    assert_eq!(writes(tenant.simulator()), without, "nothing is sent without the ledger");
    (binding.metadata.resource_version, binding.metadata.uid) = (None, None);
    bindings.create(&PostParams::default(), &binding).await.expect("it is given back");
    everybody_once(&bed, &tenant, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_newer_crd_is_neither_a_hindrance_nor_lost() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(5)).await;
    let mut bed = Bed::new("newer").await;
    let definitions: Api<CustomResourceDefinition> = Api::all(bed.client.clone());
    let name = "passwordresetpolicies.passwordreset.dev";
    let mut newer = serde_json::to_value(definitions.get(name).await.expect("the CRD")).expect("JSON");
    let schema = &mut newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["ofANewerVersion"] = json!({"type": "string"});
    let newer: CustomResourceDefinition = serde_json::from_value(newer).expect("a CRD");
    definitions.replace(name, &PostParams::default(), &newer).await.expect("the CRD is upgraded");
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let spec = tenant.policy("tenant", json!({"ofANewerVersion": "kept"}));
    let uri = format!("/apis/passwordreset.dev/v1alpha1/namespaces/{}/passwordresetpolicies", bed.namespace);
    let object = json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy",
        "metadata": {"name": "inc"}, "spec": spec});
    let accepted = async || {
        let request = http::Request::post(format!("{uri}?fieldValidation=Strict"))
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&object).expect("JSON"))
            .expect("a request");
        bed.client.request::<Value>(request).await.is_ok()
    };
    eventually("the new field is known to the API server", &bed, accepted).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let request = http::Request::get(format!("{uri}/inc")).body(Vec::new()).expect("a request");
    let stored: Value = bed.client.request(request).await.expect("the policy");
    assert_eq!(stored["spec"]["ofANewerVersion"], "kept");
    assert_eq!(stored["status"]["observedGeneration"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_takes_our_status_away_again_and_again_starts_no_race() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(5)).await;
    let mut bed = Bed::new("race").await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let history = History::of(&bed, "inc").await;
    let ours = async || {
        let audit = bed.audit().await;
        let status = audit.iter().filter(|e| e.is("patch", "passwordresetpolicies/status")).count();
        let events = audit.iter().filter(|e| e.resource == "events" && e.is_write()).count();
        (status, events)
    };
    let (before, events_before) = ours().await;
    // Another controller that undoes what we say as soon as it sees it, for a while.
    let begun = std::time::Instant::now();
    let mut undone = 0;
    while begun.elapsed() < Duration::from_secs(25) {
        lose_status(&bed, "inc").await;
        undone += 1;
        let again = async {
            while !history.versions().last().is_some_and(enforced) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), again).await;
    }
    let (after, events) = ours().await;
    assert!(undone > 5, "{undone}");
    assert!(after - before <= 4, "{} writes against {undone}", after - before);
    assert!(events - events_before <= 4, "{events_before} and then {events} events");
    // One for what was taken away, one for what was said again, and none to see whether it is time to say it.
    let reconciles = counted(port, "reconciles_total", "PasswordResetPolicy").await;
    assert!(reconciles <= 4 * undone + 40, "{reconciles} reconciles against {undone}");
    bed.policy_until("inc", "said again at last", enforced).await;
}

/// K21. As many as a test run has time for, ten thousand at full length; the list has several pages, one of which expires.
#[tokio::test(flavor = "multi_thread")]
async fn many_policies_that_come_and_go_in_a_moment_neither_swell_the_operator_nor_hold_up_a_new_one() {
    let many: usize = if at_full_length() { 10_000 } else { 600 };
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(5)).await;
    let mut bed = Bed::new("many").await;
    bed.behind_proxy().await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let policies: Api<PasswordResetPolicy> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let policy = |name: String| {
        json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy", "metadata": {"name": name},
            "spec": {"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
                "targets": [{"name": "all", "providerRef": {"name": "nowhere"}, "scope": "Tenant"}]}})
    };
    let created = futures::stream::iter(0..many).map(|n| {
        let (policies, policy) = (policies.clone(), policy(format!("many-{n}")));
        async move {
            let policy = serde_json::from_value(policy).expect("a policy");
            policies.create(&PostParams::default(), &policy).await.expect("it is created");
        }
    });
    created.buffer_unordered(32).collect::<Vec<()>>().await;
    // In the middle of it, a policy that has work.
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let said = async || {
        let all = policies.list(&ListParams::default()).await.expect("a list");
        let said = all.iter().filter(|p| p.status.as_ref().is_some_and(|s| s.observed_generation == Some(1)));
        said.count()
    };
    eventually("each is told", &bed, async || said().await == many + 1).await;
    // A list of several pages, whose second one has expired.
    let gone = answer(410, &[], failure(410, "Expired"));
    let second = Rule::new(Phase::Before, gone.clone())
        .matching(|call| call.template.ends_with("/passwordresetpolicies") && call.target.contains("continue="));
    bed.api_proxy().rule(second.first(1));
    bed.api_proxy().rule(Rule::new(Phase::Before, gone).on("watch passwordreset.dev/passwordresetpolicies").first(1));
    bed.api_proxy().reset_connections();
    let lists = || {
        let records = bed.api_proxy().records();
        records.iter().filter(|r| r.call.target.contains("continue=") && r.status == Some(200)).count()
    };
    eventually("it is listed anew to the end", &bed, async || lists() >= 2).await;
    policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("they are deleted");
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "looked at again", enforced).await;
    assert_eq!(required_again(tenant.simulator()), 0);
    let peak = bed.operator_peak_kilobytes();
    println!("K21: {many} policies, peak {peak} kB");
    assert!(peak < 256 * 1024, "{peak} kB");
}

/// Ledgers by hand: somebody deletes one while a campaign runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_deleted_in_mid_run_fences_and_is_rebuilt_from_what_the_provider_shows() {
    let latency = Faults { latency_ms: 30, ..Faults::default() };
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(450).faults(latency)).await;
    let mut bed = Bed::new("deleted").await;
    bed.start().await;
    tenant
        .connect(
            &bed,
            "tenant",
            json!({"rateLimit": {"requestsPerSecond": 100, "burst": 20, "maxConcurrentRequests": 8}}),
        )
        .await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 20).await;
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    for ledger in bed.ledgers().await {
        maps.delete(&ledger, &DeleteParams::default()).await.expect("it is deleted");
    }
    everybody_once(&bed, &tenant, 450).await;
}
