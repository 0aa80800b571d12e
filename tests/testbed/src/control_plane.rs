//! How does a real Kubernetes API server run on this machine, without containers and without a cluster?
//!
//! etcd and kube-apiserver, on free ports of 127.0.0.1, with RBAC and an [audit log](audit). That is enough for custom
//! resources, admission, RBAC, tokens, leases and events. There is no kubelet, so no pod ever runs; and unless
//! asked for there is no kube-controller-manager, so namespaces have no default ServiceAccount and never
//! finish their deletion: tests use a [new namespace](create_namespace) each instead.

pub mod audit;
pub mod manifests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use tokio::sync::OnceCell;

use crate::certificates::Certificates;
use crate::folder::WorkFolder;
use crate::kubeconfig::{self, Caller};
use crate::ports;
use crate::process::{Process, Start};
use crate::tools::{self, Tool};
use audit::AuditEvent;

/// Long enough for a machine that compiles at the same time; a healthy start takes two seconds.
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Another process may take a port between the moment it was found free and its use.
const START_ATTEMPTS: usize = 3;
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// What else the control plane should do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Start kube-controller-manager too: garbage collection, namespace deletion, default ServiceAccounts,
    /// Deployments. Building it takes about two minutes more, once.
    pub controller_manager: bool,
    /// More arguments for kube-apiserver, such as `--feature-gates=…`.
    pub api_server_args: Vec<String>,
}

/// A running etcd and kube-apiserver. Dropping it stops them and removes their files.
#[derive(Debug)]
pub struct ControlPlane {
    // Declared before the folder: the programs end first.
    api_server: Mutex<Process>,
    controller_manager: Option<Process>,
    etcd: Mutex<Process>,
    start_etcd: Start,
    start_api_server: Start,
    certificates: Certificates,
    server: String,
    kubeconfig: PathBuf,
    folder: WorkFolder,
}

impl ControlPlane {
    /// Builds what is missing, starts everything and returns when `/readyz` says ok and the namespace `default` exists.
    ///
    /// Errors carry the last lines of the program that did not start.
    pub async fn start(options: Options) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(&options).await {
                Err(error) if attempt < START_ATTEMPTS && format!("{error:#}").contains("address already in use") => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(options: &Options) -> Result<Self> {
        let etcd_program = tools::ensure(Tool::Etcd).await?;
        let api_server_program = tools::ensure(Tool::KubeApiServer).await?;
        let folder = WorkFolder::create("control-plane")?;
        let path = folder.path();
        let certificates = Certificates::create(path)?;
        let [etcd_port, peer_port, api_port, controller_port] = ports::free()?;
        let server = format!("https://127.0.0.1:{api_port}");
        let kubeconfig = path.join("admin.kubeconfig");
        kubeconfig::write(&kubeconfig, &server, &certificates, &Caller::Admin, "default")?;
        audit::write_policy(&audit_policy(path))?;

        let start_etcd = start_etcd(&etcd_program, path, etcd_port, peer_port);
        let etcd = Mutex::new(start_etcd.clone().spawn()?);
        let start_api_server = start_api_server(&api_server_program, path, &certificates, etcd_port, api_port)
            .args(&options.api_server_args);
        let api_server = Mutex::new(start_api_server.clone().spawn()?);
        let mut plane = Self {
            api_server,
            controller_manager: None,
            etcd,
            start_etcd,
            start_api_server,
            certificates,
            server,
            kubeconfig,
            folder,
        };
        plane.wait_until_ready().await?;
        if options.controller_manager {
            let program = tools::ensure(Tool::KubeControllerManager).await?;
            plane.controller_manager = Some(start_controller_manager(&program, &plane, controller_port).spawn()?);
        }
        Ok(plane)
    }

    /// The API server's address, `https://127.0.0.1:<port>`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate authority that has signed the server's certificate, PEM.
    pub fn authority_path(&self) -> &Path {
        &self.certificates.authority
    }

    /// A kubeconfig file of the administrator. It is removed with the control plane.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with logs, certificates and the audit log. It is removed with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The names and process ids of the running programs.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let (api_server, etcd) = (self.api_server(), self.etcd());
        [&*etcd, &*api_server]
            .into_iter()
            .chain(&self.controller_manager)
            .map(|process| (process.name().to_owned(), process.id()))
            .collect()
    }

    /// A new client of the administrator. Make one per test: a client belongs to the runtime that first uses it.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// Creates the ServiceAccount `namespace/name` when it is missing, requests a token for it (valid for a
    /// day) and writes a kubeconfig that uses the token. Returns the file's path. The account has no rights until a
    /// test binds a Role to it.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.service_account_kubeconfig_at(namespace, name, &self.server).await
    }

    /// The same for a caller that reaches the API server at another address, such as a [proxy's](crate::proxy).
    pub async fn service_account_kubeconfig_at(&self, namespace: &str, name: &str, server: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        };
        match accounts.create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => {
                result.with_context(|| format!("cannot create ServiceAccount {namespace}/{name}"))?;
            }
        }
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?
            .status
            .context("the API server answered a token request without a token")?
            .token;
        let path = self.folder().join(format!("{namespace}.{name}.kubeconfig"));
        kubeconfig::write(&path, server, &self.certificates, &Caller::Token(&token), namespace)?;
        Ok(path)
    }

    /// The audit log as the API server writes it, one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(self.folder())
    }

    /// Every request that was answered so far, except those of the API server to itself. See [`audit`].
    pub async fn audit(&self) -> Result<Vec<AuditEvent>> {
        audit::read_to_now(&self.client().await?, &self.audit_log()).await
    }

    /// Kills kube-apiserver, starts it again on the same port with the same certificates and returns when it is ready.
    /// Objects and tokens stay valid; watches break.
    pub async fn restart_api_server(&self) -> Result<()> {
        self.stop_api_server();
        *self.api_server() = self.start_api_server.clone().spawn()?;
        self.wait_until_ready().await
    }

    /// Kills kube-apiserver: every caller sees refused connections until [`Self::restart_api_server`].
    pub fn stop_api_server(&self) {
        let mut api_server = self.api_server();
        api_server.kill();
    }

    /// Keeps a copy of everything that is stored now, as a backup of etcd does. The API server is away for that time.
    pub async fn save(&self) -> Result<()> {
        self.with_etcd_stopped(|folder| copy(&folder.join("etcd"), &folder.join("etcd.saved"))).await
    }

    /// Brings back what [`Self::save`] has kept: objects, and resource versions too, are what they were then.
    pub async fn restore(&self) -> Result<()> {
        self.with_etcd_stopped(|folder| copy(&folder.join("etcd.saved"), &folder.join("etcd"))).await
    }

    async fn with_etcd_stopped(&self, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.stop_api_server();
        self.etcd().kill();
        work(self.folder())?;
        *self.etcd() = self.start_etcd.clone().spawn()?;
        *self.api_server() = self.start_api_server.clone().spawn()?;
        self.wait_until_ready().await
    }

    /// Stops everything and removes the files; the same as dropping.
    pub fn stop(self) {
        drop(self);
    }

    fn api_server(&self) -> MutexGuard<'_, Process> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn etcd(&self) -> MutexGuard<'_, Process> {
        self.etcd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let answer = is_ready(&client).await;
            if let Ok(true) = answer {
                return Ok(());
            }
            if let Some(status) = self.api_server().exited()? {
                bail!("kube-apiserver ended ({status}). Its last lines:\n{}", self.api_server().last_lines(20));
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver was not ready after {} s ({answer:?}). Last lines of etcd:\n{}\nLast lines of \
                     kube-apiserver:\n{}",
                    START_DEADLINE.as_secs(),
                    self.etcd().last_lines(10),
                    self.api_server().last_lines(20)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The one control plane of this process, started by the first caller. It ends with the process.
///
/// Tests that share it keep apart by namespaces. Errors are not remembered: the next caller tries again.
pub async fn shared() -> Result<&'static ControlPlane> {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_try_init(|| ControlPlane::start(Options::default())).await
}

/// A client for the current context of a kubeconfig file, without kube's own retries, so that tests see
/// every answer.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Creates a namespace with a new name that starts with `prefix` and returns the name.
pub async fn create_namespace(client: &Client, prefix: &str) -> Result<String> {
    let namespace = Namespace {
        metadata: ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let created = Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot create a namespace {prefix}-*"))?;
    Ok(created.name_any())
}

async fn is_ready(client: &Client) -> Result<bool> {
    let request = kube::client::Body::empty();
    let request = http::Request::get("/readyz").body(request)?;
    let text = tokio::time::timeout(Duration::from_secs(5), client.send(request)).await??;
    if !text.status().is_success() {
        return Ok(false);
    }
    let default = Api::<Namespace>::all(client.clone()).get_opt("default").await?;
    Ok(default.is_some())
}

/// Replaces the folder `to` by a copy of `from`.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot copy {}", target.display()))?;
        }
    }
    Ok(())
}

fn audit_policy(folder: &Path) -> PathBuf {
    folder.join("audit-policy.yaml")
}

fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

fn start_etcd(program: &Path, folder: &Path, port: u16, peer_port: u16) -> Start {
    let url = format!("http://127.0.0.1:{port}");
    let peer_url = format!("http://127.0.0.1:{peer_port}");
    Start::new(program, folder.join("etcd.log"))
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        // The data never outlives the process, so there is nothing to protect from a power cut.
        .args(["--unsafe-no-fsync", "--log-level", "warn"])
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer_url])
        .args(["--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}")])
}

fn start_api_server(program: &Path, folder: &Path, certificates: &Certificates, etcd_port: u16, port: u16) -> Start {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Start::new(program, folder.join("kube-apiserver.log"))
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={port}"))
        .arg(file("tls-cert-file", &certificates.server))
        .arg(file("tls-private-key-file", &certificates.server_key))
        .arg(file("client-ca-file", &certificates.authority))
        .arg(file("service-account-key-file", &certificates.tokens))
        .arg(file("service-account-signing-key-file", &certificates.tokens_key))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--authorization-mode=RBAC")
        // One API server on loopback: there are no endpoints to publish.
        .arg("--endpoint-reconciler-type=none")
        .arg(file("audit-policy-file", &audit_policy(folder)))
        .arg(file("audit-log-path", &audit_log(folder)))
        // The default would be written to /var/run/kubernetes.
        .arg(file("cert-dir", folder))
}

fn start_controller_manager(program: &Path, plane: &ControlPlane, port: u16) -> Start {
    let folder = plane.folder();
    Start::new(program, folder.join("kube-controller-manager.log"))
        .arg(format!("--kubeconfig={}", plane.kubeconfig.display()))
        .args(["--bind-address=127.0.0.1", "--leader-elect=false"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", folder.display()))
        .arg(format!("--service-account-private-key-file={}", plane.certificates.tokens_key.display()))
        .arg(format!("--root-ca-file={}", plane.certificates.authority.display()))
        .arg(
            "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,\
             root-ca-certificate-publisher-controller,deployment-controller,replicaset-controller",
        )
}
