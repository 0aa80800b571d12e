//! A namespace of a test's own on a real API server, with the real operator as a process beside it.
//!
//! Each test program uses a part of this, so the rest looks unused to it.

#![allow(dead_code, unused_imports)]

#[path = "applied.rs"]
mod applied;
#[path = "canaries.rs"]
mod canaries;
#[path = "verdict.rs"]
mod verdict;
#[path = "view.rs"]
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use password_reset_operator::api::{IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;
use testbed::control_plane::audit::AuditEvent;
use testbed::process::{Process, Start};
use testbed::proxy::{Proxy, Upstream};
use tokio::sync::OnceCell;

use crate::rights;

pub use applied::{cutoff, fast, merge};
pub use view::View;

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
        let log = self.file(&format!("{name}.log"));
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

    fn log(&self) -> PathBuf {
        self.file("operator.log")
    }

    /// A place for a file of this bed alone.
    pub fn file(&self, name: &str) -> PathBuf {
        self.plane.folder().join(format!("{}-{name}", self.namespace))
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

/// Installs our CRDs.
pub async fn install_crds(plane: &ControlPlane) {
    let client = plane.client().await.expect("a client");
    for crd in password_reset_operator::api::crds() {
        let yaml = serde_json::to_string(&crd).expect("JSON");
        testbed::control_plane::manifests::apply(&client, "default", &yaml).await.expect("the CRD is accepted");
    }
}
