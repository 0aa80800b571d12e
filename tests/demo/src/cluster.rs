//! On which cluster does it happen, and what is left there afterwards?
//!
//! Usually on an API server of its own, which ends with the demo. With `KUBE_CONTEXT` on a cluster of the person's own: there
//! the demo starts only where nobody uses this operator, marks all that it creates with the label of its run, and
//! removes what carries that label and nothing else.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use testbed::control_plane::{ControlPlane, manifests};
use testbed::folder::WorkFolder;
use testbed::write_private;

/// Every object that the demo creates on a cluster carries it; its value names the run.
pub const RUN_LABEL: &str = "passwordreset.dev/demo-run";
/// The ServiceAccount that the operator runs as, named as in `examples/`.
pub const SERVICE_ACCOUNT: &str = "password-reset-operator";
const GROUP: &str = "passwordreset.dev";
const TOKEN_SECONDS: i64 = 24 * 60 * 60;
const REMOVAL_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);

/// A cluster, as its administrator.
pub struct Cluster {
    /// Speaks to the API server.
    pub client: Client,
    /// Providers and policies are put here.
    pub namespace: String,
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// The value of [`RUN_LABEL`].
    pub run: String,
    /// The context of the person's own kubeconfig; `None` for an API server that belongs to the demo.
    context: Option<String>,
    kubeconfig: Kubeconfig,
    // Declared before the folder: the programs end first.
    plane: Option<ControlPlane>,
    folder: WorkFolder,
}

impl Cluster {
    /// On an API server that belongs to the demo, with the names of `examples/`.
    pub async fn of_its_own(plane: ControlPlane) -> Result<Self> {
        Ok(Self {
            client: plane.client().await?,
            namespace: "security".to_owned(),
            operator_namespace: "password-reset-system".to_owned(),
            run: run_name(),
            context: None,
            kubeconfig: Kubeconfig::read_from(plane.kubeconfig_path())?,
            plane: Some(plane),
            folder: WorkFolder::create("demo")?,
        })
    }

    /// On the cluster of this context of the person's own kubeconfig. Errors when it cannot be reached, or when somebody uses
    /// this operator there.
    pub async fn of_context(context: &str) -> Result<Self> {
        let kubeconfig =
            Kubeconfig::read().context("no kubeconfig can be read: set KUBECONFIG, or unset KUBE_CONTEXT")?;
        if !kubeconfig.contexts.iter().any(|named| named.name == context) {
            let names: Vec<&str> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).collect();
            bail!("the kubeconfig has no context {context:?}; it has {}", names.join(", "));
        }
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await?;
        let client = Client::try_from(config)?;
        refuse_where_it_is_used(&client, context).await?;
        let run = run_name();
        Ok(Self {
            client,
            namespace: format!("password-reset-demo-{run}"),
            operator_namespace: format!("password-reset-demo-{run}-system"),
            run,
            context: Some(context.to_owned()),
            kubeconfig,
            plane: None,
            folder: WorkFolder::create("demo")?,
        })
    }

    /// How the cluster is called in a sentence.
    pub fn describe(&self) -> String {
        match (&self.plane, &self.context) {
            (Some(plane), _) => {
                format!("kube-apiserver {} at {}", testbed::tools::kubernetes_version(), plane.server())
            }
            (None, context) => format!("the cluster of context {}", context.as_deref().unwrap_or("default")),
        }
    }

    /// The beginning of a `kubectl` command that reaches it.
    pub fn kubectl(&self, program: &str) -> String {
        match (&self.plane, &self.context) {
            (Some(plane), _) => format!("{program} --kubeconfig {}", plane.kubeconfig_path().display()),
            (None, Some(context)) => format!("{program} --context {context}"),
            (None, None) => program.to_owned(),
        }
    }

    /// Where files of this run are kept until it ends.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Applies `object` with the label of this run. A namespaced object without a namespace is an error of the caller.
    pub async fn apply(&self, mut object: Value) -> Result<()> {
        object["metadata"]["labels"][RUN_LABEL] = json!(self.run);
        manifests::apply(&self.client, &self.namespace, &object.to_string()).await
    }

    /// An object of one of the operator's kinds, as JSON.
    pub async fn get(&self, kind: &str, plural: &str, name: &str) -> Result<Value> {
        let object = self.ours(kind, plural).get(name).await.with_context(|| format!("cannot read {kind} {name}"))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Sets an annotation of an object of one of the operator's kinds.
    pub async fn annotate(&self, kind: &str, plural: &str, name: &str, key: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let patched = self.ours(kind, plural).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).with_context(|| format!("cannot annotate {kind} {name}"))
    }

    fn ours(&self, kind: &str, plural: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Writes a kubeconfig for this cluster with a token of [`SERVICE_ACCOUNT`], which must exist.
    pub async fn service_account_kubeconfig(&self) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(SERVICE_ACCOUNT, &PostParams::default(), &request).await?;
        let token = answer.status.context("the API server answered a token request without a token")?.token;
        let wanted = self.context.as_ref().or(self.kubeconfig.current_context.as_ref());
        let contexts = &self.kubeconfig.contexts;
        let context =
            contexts.iter().find(|named| Some(&named.name) == wanted).and_then(|named| named.context.as_ref());
        let cluster = context.map(|context| &context.cluster).context("the context names no cluster")?;
        let cluster = self.kubeconfig.clusters.iter().find(|named| named.name == *cluster);
        let cluster = cluster.context("the kubeconfig lacks the cluster of the context")?;
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{ "name": SERVICE_ACCOUNT, "user": { "token": token } }],
            "contexts": [{
                "name": "demo",
                "context": { "cluster": cluster.name, "user": SERVICE_ACCOUNT, "namespace": self.operator_namespace },
            }],
            "current-context": "demo",
        });
        let path = self.folder().join("operator.kubeconfig");
        write_private(&path, &text.to_string())?;
        Ok(path)
    }

    /// Whether there is something to remove: on an API server of the demo's own everything goes with it.
    pub fn outlives_the_demo(&self) -> bool {
        self.plane.is_none()
    }

    /// Removes everything with the label of this run. A CRD of which somebody else has objects by now stays, and is named.
    pub async fn remove_own_objects(&self) -> Result<Vec<String>> {
        let own = ListParams::default().labels(&format!("{RUN_LABEL}={}", self.run));
        let background = DeleteParams::background();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for namespace in namespaces.list(&own).await? {
            namespaces.delete(&namespace.name_any(), &background).await?;
        }
        wait_until("the namespaces are gone", async || Ok(namespaces.list(&own).await?.items.is_empty())).await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut kept = Vec::new();
        for definition in definitions.list(&own).await? {
            let names = &definition.spec.names;
            let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", &names.kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, &names.plural);
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            if objects.list(&ListParams::default().limit(1)).await?.items.is_empty() {
                definitions.delete(&definition.name_any(), &background).await?;
            } else {
                kept.push(definition.name_any());
            }
        }
        Ok(kept)
    }
}

async fn wait_until(what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + REMOVAL_DEADLINE;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("after {} s it was still not so that {what}", REMOVAL_DEADLINE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Errors where the CRDs are installed or another operator of this kind is deployed.
async fn refuse_where_it_is_used(client: &Client, context: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definitions = definitions
        .list(&ListParams::default())
        .await
        .with_context(|| format!("cannot ask the cluster of context {context}"))?;
    let ours: Vec<&CustomResourceDefinition> = definitions.iter().filter(|crd| crd.spec.group == GROUP).collect();
    if let Some(first) = ours.first() {
        let all = "the cluster may be in use by this operator, and the demo would disturb it";
        match first.labels().get(RUN_LABEL) {
            Some(run) => bail!(
                "a demo has left objects on the cluster of context {context}, or is running there. When none is running: \
                 kubectl --context {context} delete namespaces,customresourcedefinitions -l {RUN_LABEL}={run}"
            ),
            None => bail!(
                "the cluster of context {context} has the CRD {} already: {all}. Choose another cluster, or leave \
                 KUBE_CONTEXT out: the demo then brings an API server of its own",
                first.name_any()
            ),
        }
    }
    let deployments: Api<Deployment> = Api::all(client.clone());
    let label = format!("app.kubernetes.io/name={SERVICE_ACCOUNT}");
    if let Some(found) = deployments.list(&ListParams::default().labels(&label)).await?.items.first() {
        bail!(
            "the operator is deployed on the cluster of context {context} already ({}/{}). Choose another cluster, or leave \
             KUBE_CONTEXT out: the demo then brings an API server of its own",
            found.namespace().unwrap_or_default(),
            found.name_any()
        );
    }
    Ok(())
}

/// The time in base 36: short, and different for every run on one cluster.
fn run_name() -> String {
    let mut rest = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
        rest /= 36;
    }
    digits.iter().rev().collect()
}
