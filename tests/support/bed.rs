//! A namespace of a test's own on a real API server, with the real operator as a process beside it.
//!
//! Each test program uses a part of this, so the rest looks unused to it.

#![allow(dead_code)]

#[path = "canaries.rs"]
mod canaries;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use password_reset_operator::api::{IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};
use simulators::Handle;
use testbed::control_plane::ControlPlane;
use testbed::control_plane::audit::AuditEvent;
use testbed::process::{Process, Start};
use testbed::proxy::{Proxy, Upstream};
use tokio::sync::OnceCell;

use crate::rights;

/// How long an outcome is awaited; a healthy one takes a second or two.
/// Whether the operator's times are those that are shipped (`FULL_LENGTH`), so that a test takes minutes.
pub fn at_full_length() -> bool {
    std::env::var_os("FULL_LENGTH").is_some()
}

/// How long a test waits for anything before it gives up.
pub fn deadline() -> Duration {
    Duration::from_secs(if at_full_length() { 600 } else { 120 })
}

const POLL: Duration = Duration::from_millis(50);
/// The ServiceAccount that the operator runs as.
pub const SERVICE_ACCOUNT: &str = "password-reset-operator";

/// A place to run one campaign.
pub struct Bed {
    /// The API server.
    pub plane: &'static ControlPlane,
    /// As an admin.
    pub client: Client,
    /// Policies and providers live here.
    pub namespace: String,
    /// Ledgers live here.
    pub operator_namespace: String,
    /// How long an outcome is awaited.
    pub deadline: Duration,
    operator: Operator,
    api_proxy: Option<Proxy>,
    kubeconfig: Option<PathBuf>,
    env: Vec<(String, String)>,
    wrapper: Option<String>,
    /// Whether the operator has all rights that are shipped, so that it may never be refused any.
    shipped_rights: bool,
}

/// The operator's process, for whoever has to kill it from elsewhere. Clones are the same process.
#[derive(Clone, Default)]
pub struct Operator(Arc<Mutex<Option<Process>>>);

impl Operator {
    /// Kills it as a power cut would, and returns when it is gone.
    pub fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            process.kill();
        }
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bed {
    /// A fresh namespace with the CRDs installed and the shipped rights granted.
    pub async fn new(name: &str) -> Self {
        Self::with_rights(name, true).await
    }

    /// The same; the operator may serve the cluster-scoped kind only where `cluster_providers`.
    pub async fn with_rights(name: &str, cluster_providers: bool) -> Self {
        static CRDS: OnceCell<()> = OnceCell::const_new();
        let plane = testbed::control_plane::shared().await.expect("a control plane");
        CRDS.get_or_init(|| install_crds(plane)).await;
        Self::on(plane, name, cluster_providers).await
    }

    /// A fresh namespace on a control plane of the test's own, whatever is installed there.
    pub async fn on(plane: &'static ControlPlane, name: &str, cluster_providers: bool) -> Self {
        let client = plane.client().await.expect("a client");
        let namespace = testbed::control_plane::create_namespace(&client, name).await.expect("a namespace");
        let operator_namespace = format!("{namespace}-system");
        let system: Namespace =
            serde_json::from_value(json!({"metadata": {"name": operator_namespace}})).expect("JSON");
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &system).await.expect("a namespace");
        rights::install_for(&client, &operator_namespace, SERVICE_ACCOUNT, &[&namespace], cluster_providers).await;
        Self {
            plane,
            client,
            namespace,
            operator_namespace,
            deadline: deadline(),
            operator: Operator::default(),
            api_proxy: None,
            kubeconfig: None,
            env: Vec::new(),
            wrapper: None,
            shipped_rights: cluster_providers,
        }
    }

    /// Sets a setting of the operator, from its next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// From now on the operator may be refused what its rights allow, because the test takes them away for a while.
    pub fn lacks_rights(&mut self) {
        self.shipped_rights = false;
    }

    /// Sets a time of the operator to less than what is shipped, for a test that waits for its end; not so at full length.
    pub fn shorten(&mut self, name: &str, seconds: u32) {
        if !at_full_length() {
            self.set(name, &seconds.to_string());
        }
    }

    /// Has a shell start the operator, as `"$@"` in this script, from its next start on.
    pub fn wrap(&mut self, script: &str) {
        self.wrapper = Some(script.to_owned());
    }

    /// Puts a proxy between the operator and the API server, from the operator's next start on. Tests go on speaking to the
    /// API server itself.
    pub async fn behind_proxy(&mut self) -> &Proxy {
        self.kubeconfig = None;
        let upstream = Upstream::api_server(self.plane).expect("the API server's authority");
        self.api_proxy.insert(Proxy::start(upstream).await.expect("a proxy"))
    }

    /// The proxy before the API server. Panics where there is none.
    pub fn api_proxy(&self) -> &Proxy {
        self.api_proxy.as_ref().expect("the operator is behind a proxy")
    }

    /// Starts the operator under its own ServiceAccount.
    pub async fn start(&mut self) {
        if self.kubeconfig.is_none() {
            self.kubeconfig = Some(self.write_kubeconfig().await);
        }
        let started = self.spawn(&self.log(), &[]).await;
        *self.operator.process() = Some(started);
    }

    /// One more process of the operator, with a log of its own and these settings beside those that were set.
    pub async fn replica(&self, name: &str, settings: &[(&str, &str)]) -> Replica {
        let log = self.plane.folder().join(format!("{}-{name}.log", self.namespace));
        Replica { process: self.spawn(&log, settings).await, log, name: name.to_owned() }
    }

    async fn write_kubeconfig(&self) -> PathBuf {
        let server = self.api_proxy.as_ref().map_or(self.plane.server(), Proxy::url);
        let written = self.plane.service_account_kubeconfig_at(&self.operator_namespace, SERVICE_ACCOUNT, server).await;
        written.expect("a kubeconfig of the ServiceAccount")
    }

    async fn spawn(&self, log: &std::path::Path, settings: &[(&str, &str)]) -> Process {
        let kubeconfig = match &self.kubeconfig {
            Some(kubeconfig) => kubeconfig.clone(),
            None => self.write_kubeconfig().await,
        };
        let program = env!("CARGO_BIN_EXE_password-reset-operator");
        let start = match &self.wrapper {
            None => Start::new(program, log),
            Some(script) => Start::new("/bin/sh", log).args(["-c", script, "wrapper", program]),
        };
        let mut start = start
            .env("KUBECONFIG", kubeconfig)
            .env("OPERATOR_NAMESPACE", &self.operator_namespace)
            .env("WATCH_NAMESPACES", &self.namespace)
            .env("LISTEN", "127.0.0.1:0")
            .env("ALLOWED_ADDRESSES", "127.0.0.0/8,::1")
            .env("LOG", "info,password_reset_operator=debug");
        let set = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in set.chain(settings.iter().copied()) {
            start = start.env(name, value);
        }
        start.spawn().expect("the operator starts")
    }

    /// Lets several processes share a lease, which expires within seconds.
    pub async fn elects(&mut self) {
        rights::allow_election(&self.client, &self.operator_namespace, SERVICE_ACCOUNT).await;
        self.set("LEADER_ELECT", "true");
        for (name, seconds) in
            [("LEASE_DURATION_SECONDS", 4), ("LEASE_RENEW_DEADLINE_SECONDS", 3), ("LEASE_RETRY_PERIOD_SECONDS", 1)]
        {
            self.shorten(name, seconds);
        }
    }

    /// Kills the operator as a power cut would.
    pub fn kill(&mut self) {
        self.operator.kill();
    }

    /// The operator's process, to be killed by somebody else.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// The most memory that the operator has had so far, in kB (`VmHWM`, proc(5)).
    pub fn operator_peak_kilobytes(&self) -> u64 {
        let Some(id) = self.operator.id() else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// The operator's log so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> std::path::PathBuf {
        self.plane.folder().join(format!("{}.log", self.namespace))
    }

    /// Lets the operator read one object of the test's namespace, as whoever creates a provider or a list would.
    pub async fn grant(&self, resource: &str, name: &str) {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": format!("read-{resource}-{name}")},
            "rules": [{"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get", "list", "watch"]}]});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("read-{resource}-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("read-{resource}-{name}")},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": self.operator_namespace}]});
        for object in [role, binding] {
            self.apply(&object).await;
        }
    }

    /// Applies any object to the test's namespace.
    pub async fn apply(&self, object: &Value) {
        let yaml = serde_json::to_string(object).expect("JSON");
        testbed::control_plane::manifests::apply(&self.client, &self.namespace, &yaml).await.expect("it is accepted");
    }

    /// Creates or replaces a Secret and grants the operator to read it.
    pub async fn secret(&self, name: &str, annotations: Value, labels: Value, data: Value) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": annotations, "labels": labels}, "stringData": data}))
            .await;
        self.grant("secrets", name).await;
    }

    /// Creates a provider with its Secret. `extra` is merged into the spec.
    pub async fn provider(&self, name: &str, origins: &[&str], secret: Value, block: Value, extra: Value) {
        let annotations = json!({"passwordreset.dev/allowed-origins": origins.join(" ")});
        self.secret(name, annotations, json!({}), secret).await;
        let mut spec = block;
        merge(&mut spec, extra);
        self.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider",
            "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// A MonoCloud provider for a simulator.
    pub async fn monocloud(&self, name: &str, simulator: &Handle, extra: Value) {
        self.monocloud_at(name, simulator, &simulator.base_url(), extra).await;
    }

    /// The same, reached at `url`.
    pub async fn monocloud_at(&self, name: &str, simulator: &Handle, url: &str, extra: Value) {
        let block = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": name}}});
        self.provider(name, &[url], json!({"apiKey": simulator.credentials().api_key}), block, extra).await;
    }

    /// A Looker provider for a simulator.
    pub async fn looker(&self, name: &str, simulator: &Handle, extra: Value) {
        self.looker_at(name, simulator, &simulator.base_url(), extra).await;
    }

    /// The same, reached at `url`.
    pub async fn looker_at(&self, name: &str, simulator: &Handle, url: &str, extra: Value) {
        let credentials = simulator.credentials();
        let block = json!({"looker": {"baseURL": url, "credentialsSecretRef": {"name": name}}});
        let secret = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
        self.provider(name, &[url], secret, block, extra).await;
    }

    /// A PingOne provider for a simulator.
    pub async fn pingone(&self, name: &str, simulator: &Handle, extra: Value) {
        self.pingone_at(name, simulator, &simulator.base_url(), &simulator.auth_url(), extra).await;
    }

    /// The same, reached at `api` and, for tokens, at `auth`.
    pub async fn pingone_at(&self, name: &str, simulator: &Handle, api: &str, auth: &str, extra: Value) {
        let credentials = simulator.credentials();
        let block = json!({"pingOne": {"environmentID": simulator.environment_id(), "baseURL": api, "authURL": auth,
            "workerEnvironmentID": simulator.worker_environment_id(), "credentialsSecretRef": {"name": name}}});
        let secret = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
        self.provider(name, &[api, auth], secret, block, extra).await;
    }

    /// Creates a policy.
    pub async fn policy(&self, name: &str, spec: Value) {
        self.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy",
            "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// Changes a policy by a merge patch.
    pub async fn patch_policy(&self, name: &str, patch: Value) {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the policy is patched");
    }

    /// Changes a provider by a merge patch.
    pub async fn patch_provider(&self, name: &str, patch: Value) {
        let api: Api<IdentityProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the provider is patched");
    }

    /// Deletes a policy.
    pub async fn delete_policy(&self, name: &str) {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the policy is deleted");
    }

    /// Deletes a provider.
    pub async fn delete_provider(&self, name: &str) {
        let api: Api<IdentityProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the provider is deleted");
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the Secret is deleted");
    }

    /// Waits until the policy is as `wanted` says and returns it.
    pub async fn policy_until(&self, name: &str, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        self.until(what, wanted, || async { api.get(name).await.map(|o| serde_json::to_value(o).expect("JSON")) }).await
    }

    /// Waits until the provider is as `wanted` says and returns it.
    pub async fn provider_until(&self, name: &str, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        let api: Api<IdentityProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        self.until(what, wanted, || async { api.get(name).await.map(|o| serde_json::to_value(o).expect("JSON")) }).await
    }

    /// Waits until what `read` brings is as `wanted` says and returns it.
    pub async fn until<F>(&self, what: &str, wanted: impl Fn(&View) -> bool, read: impl Fn() -> F) -> View
    where
        F: Future<Output = Result<Value, kube::Error>>,
    {
        let start = std::time::Instant::now();
        loop {
            let view = View(read().await.expect("the object is there"));
            if wanted(&view) {
                return view;
            }
            assert!(
                start.elapsed() < self.deadline,
                "not seen in time: {what}\n{}\n--- operator ---\n{}",
                serde_json::to_string_pretty(&view.0["status"]).unwrap_or_default(),
                self.log_text().lines().rev().take(60).collect::<Vec<_>>().join("\n")
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the operator asked of the API server.
    pub async fn audit(&self) -> Vec<AuditEvent> {
        let all = self.plane.audit().await.expect("the audit log");
        all.into_iter().filter(|e| e.is_by_service_account(&self.operator_namespace, SERVICE_ACCOUNT)).collect()
    }

    /// The names of the ConfigMaps that hold ledgers.
    pub async fn ledgers(&self) -> Vec<String> {
        use k8s_openapi::api::core::v1::ConfigMap;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        let maps = api.list(&Default::default()).await.expect("the ledgers");
        maps.iter().map(|map| map.name_any()).filter(|name| name.starts_with("ledger-")).collect()
    }
}

/// One process of the operator among several.
pub struct Replica {
    /// The process.
    pub process: Process,
    /// What it is called in a test.
    pub name: String,
    log: std::path::PathBuf,
}

impl Replica {
    /// Its log so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log says `words`.
    pub async fn says(&self, words: &str) {
        let said = async {
            while !self.log_text().contains(words) {
                tokio::time::sleep(POLL).await;
            }
        };
        let in_time = tokio::time::timeout(deadline(), said).await;
        assert!(in_time.is_ok(), "{} does not say {words:?}:\n{}", self.name, self.log_text());
    }

    /// Waits until it has ended and returns its exit code; `None` where a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.process.exited().expect("its state") {
                return status.code();
            }
            assert!(start.elapsed() < deadline(), "{} does not end:\n{}", self.name, self.log_text());
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Bed {
    /// Fails the test where anything that its operator said or wrote holds a credential, a name or an address, and where
    /// it lacked a right.
    fn drop(&mut self) {
        self.operator.kill();
        if std::thread::panicking() {
            return;
        }
        let token = self.kubeconfig.as_ref().and_then(|path| token_in(&std::fs::read_to_string(path).ok()?));
        let secrets: Vec<String> = token.into_iter().collect();
        let user = format!("\"username\":\"system:serviceaccount:{}:{SERVICE_ACCOUNT}\"", self.operator_namespace);
        let mut leaks = Vec::new();
        for log in self.logs() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            leaks.extend(canaries::found(&log.display().to_string(), &said, &secrets));
        }
        let audit = std::fs::read_to_string(self.plane.audit_log()).expect("the audit log");
        let requests: Vec<&str> = audit.lines().filter(|line| line.contains(&user)).collect();
        leaks.extend(canaries::found_in_requests(&requests, &secrets));
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
        if self.shipped_rights {
            let refused = rights::refused(&requests, &self.namespace);
            assert!(refused.is_empty(), "the shipped rights do not suffice:\n{}", refused.join("\n"));
        }
    }
}

impl Bed {
    /// The logs of all processes of the operator.
    fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.plane.folder()).expect("the folder of the logs");
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        logs.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&self.namespace) && name.ends_with(".log")
        });
        logs
    }
}

/// The token in a kubeconfig.
fn token_in(kubeconfig: &str) -> Option<String> {
    let at = kubeconfig.find("token:")? + "token:".len();
    let token = kubeconfig[at..].trim_start().trim_start_matches('"');
    let end = token.find(['"', '\n'])?;
    Some(token[..end].trim().to_owned())
}

/// Installs our CRDs.
pub async fn install_crds(plane: &ControlPlane) {
    let client = plane.client().await.expect("a client");
    for crd in password_reset_operator::api::crds() {
        let yaml = serde_json::to_string(&crd).expect("JSON");
        testbed::control_plane::manifests::apply(&client, "default", &yaml).await.expect("the CRD is accepted");
    }
}

/// An object as JSON, with its conditions at hand.
#[derive(Clone, Debug)]
pub struct View(pub Value);

impl View {
    /// Status and reason of a condition, such as `True Enforced`; empty where it is absent.
    pub fn condition(&self, type_: &str) -> String {
        let conditions = self.0["status"]["conditions"].as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == type_);
        found.map_or_else(String::new, |c| {
            format!("{} {}", c["status"].as_str().unwrap_or_default(), c["reason"].as_str().unwrap_or_default())
        })
    }

    /// The message of a condition.
    pub fn message(&self, type_: &str) -> String {
        let conditions = self.0["status"]["conditions"].as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == type_);
        found.and_then(|c| c["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// A counter of the whole policy.
    pub fn count(&self, name: &str) -> i64 {
        self.0["status"]["counts"][name].as_i64().unwrap_or_default()
    }

    /// Whether status speaks about the newest spec.
    pub fn is_current(&self) -> bool {
        self.0["status"]["observedGeneration"] == self.0["metadata"]["generation"]
    }
}

/// Merges `extra` into `spec`, object by object.
pub fn merge(spec: &mut Value, extra: Value) {
    match (spec, extra) {
        (Value::Object(spec), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(spec.entry(key).or_insert(Value::Null), value);
            }
        }
        (spec, extra) => *spec = extra,
    }
}

/// A rate limit that never holds a test up.
pub fn fast() -> Value {
    json!({"rateLimit": {"requestsPerSecond": 1000, "burst": 1000, "maxConcurrentRequests": 8}})
}

/// A cutoff of a minute ago.
pub fn cutoff() -> String {
    let now = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    now.round(jiff::Unit::Second).expect("a whole second").to_string()
}
