//! Starting and stopping: the watches, one controller for each kind, and the health endpoints.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, PostParams};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::api_server;
use super::context::Context;
use super::ledger_store::LedgerStore;
use super::references::References;
use super::registry::{ProviderId, Registry};
use super::streams::{self, Guarded, Part};
use super::wake::WakeBuilder;
use super::{policy, provider, retention};
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::provider::http::{AddressRules, Network};
use crate::settings::Settings;
use crate::telemetry::metrics::{Metrics, ReconcileLabels};
use crate::telemetry::server::{self, Readiness};

/// The name in events and the prefix of ours in the API server's audit log.
const NAME: &str = "password-reset-operator";
/// A reconcile that takes longer hangs in a call to the API server; it is given up and tried again.
const RECONCILE_DEADLINE: Duration = Duration::from_secs(120);
/// How long the API server or a missing CRD is waited for before it is looked for again.
const START_RETRY: Duration = Duration::from_secs(5);
/// How often what is remembered of deleted objects is forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(30);

/// A reconcile that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
    /// The code panicked; the process goes on.
    #[error("a reconcile panicked")]
    Panic,
    /// The deadline passed.
    #[error("a reconcile took longer than {} s and was given up", RECONCILE_DEADLINE.as_secs())]
    Deadline,
}

/// Runs the operator until SIGTERM or SIGINT. *Errors*: the kubeconfig cannot be used, or `LISTEN` cannot be bound.
pub async fn run(mut settings: Settings) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::default());
    let readiness = Readiness::default();
    let listener = tokio::net::TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("LISTEN: cannot listen on {}; name a free address", settings.listen))?;
    let health = axum::serve(listener, server::router(metrics.clone(), readiness.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let health = tokio::spawn(health.into_future());

    let config = api_server::config().await?;
    let rules = AddressRules::parse(&settings.allowed_addresses).map_err(anyhow::Error::msg)?;
    let network = Network::new(rules, settings.proxy_url.as_ref(), api_server::places(&config));
    let network = network.map_err(anyhow::Error::msg)?;
    if settings.operator_namespace.is_empty() {
        settings.operator_namespace = config.default_namespace.clone();
    }
    let client = Client::try_from(config)?;
    let started = tokio::select! {
        started = prepare(&client, &settings) => started,
        () = stop.cancelled() => return Ok(()),
    };
    let Some((service_account, cluster_kind)) = started else { return Ok(()) };
    if let Err(error) = network.find_api_server().await {
        tracing::warn!(
            "the API server's own name does not resolve ({error}); providers known by name wait until it does"
        );
    }
    let namespaces = settings.namespaces();
    let (policies, policy_parts) = streams::namespaced::<PasswordResetPolicy>(&client, &namespaces);
    let (providers, provider_parts) = streams::namespaced::<IdentityProvider>(&client, &namespaces);
    let cluster = cluster_kind.then(|| streams::cluster::<ClusterIdentityProvider>(&client));

    let mut wake = WakeBuilder::default();
    let policy_parts: Vec<_> = policy_parts.into_iter().map(|p| (wake.policies(p.namespace.clone()), p)).collect();
    let provider_parts: Vec<_> = provider_parts.into_iter().map(|p| (wake.providers(p.namespace.clone()), p)).collect();
    let (cluster_providers, cluster_part) = match cluster {
        Some((stores, part)) => (Some(stores), Some((wake.cluster_providers(), part))),
        None => (None, None),
    };
    let wake = wake.build();
    let reporter = Reporter { controller: NAME.to_owned(), instance: None };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        metrics,
        policies,
        providers,
        cluster_providers,
        references: References::new(client.clone(), wake.clone()),
        network,
        registry: Registry::default(),
        ledgers: LedgerStore::new(client.clone(), &settings.operator_namespace),
        runs: Default::default(),
        wake,
        stopping: stop.clone(),
        started: Timestamp::now(),
        service_account,
        client,
        settings,
    });

    let mut controllers = tokio::task::JoinSet::new();
    for (woken, mut part) in provider_parts {
        part.touched = waking(part.touched, context.clone(), |p| {
            ProviderId::Namespaced(p.namespace().unwrap_or_default(), p.name_any())
        });
        controllers.spawn(control(
            "IdentityProvider",
            part,
            woken,
            context.clone(),
            stop.clone(),
            provider::reconcile_namespaced,
        ));
    }
    if let Some((woken, mut part)) = cluster_part {
        part.touched = waking(part.touched, context.clone(), |p| ProviderId::Cluster(p.name_any()));
        let kind = "ClusterIdentityProvider";
        controllers.spawn(control(kind, part, woken, context.clone(), stop.clone(), provider::reconcile_cluster));
    }
    for (woken, part) in policy_parts {
        controllers.spawn(control(
            "PasswordResetPolicy",
            part,
            woken,
            context.clone(),
            stop.clone(),
            policy::reconcile,
        ));
    }
    let ready = async {
        context.providers_known().await;
        context.policies.ready().await;
        readiness.ready();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        tokio::join!(retention::run(&context), forget_deleted(&context));
    };
    tokio::select! {
        () = ready => {}
        () = stop.cancelled() => {}
    }
    while controllers.join_next().await.is_some() {}
    health.abort();
    tracing::info!("stopped");
    Ok(())
}

async fn forget_deleted(context: &Context) {
    loop {
        tokio::time::sleep(FORGET_PERIOD).await;
        context.forget_deleted();
    }
}

/// Cancelled by the first SIGTERM or SIGINT. A second one ends the process at once.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for round in 0..2 {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            if round == 0 {
                tracing::info!("stopping: no new work is taken, calls on the way are waited for");
                stopped.cancel();
            } else {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}

/// Waits until the API server answers and our kinds can be listed, saying what is missing. Returns who we are and whether
/// the cluster-scoped kind can be served.
async fn prepare(client: &Client, settings: &Settings) -> Option<(String, bool)> {
    let namespaces = settings.namespaces();
    let mut said = String::new();
    loop {
        let missing = async {
            let served: Vec<Option<&str>> =
                if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(|n| Some(n.as_str())).collect() };
            for namespace in served {
                listable::<IdentityProvider>(client, namespace).await?;
                listable::<PasswordResetPolicy>(client, namespace).await?;
            }
            Ok::<_, String>(())
        };
        match missing.await {
            Ok(()) => break,
            Err(sentence) => {
                if said != sentence {
                    tracing::error!("{sentence}");
                    said = sentence;
                }
                tokio::time::sleep(START_RETRY).await;
            }
        }
    }
    let cluster_kind = match Api::<ClusterIdentityProvider>::all(client.clone())
        .list(&ListParams::default().limit(1))
        .await
    {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                "ClusterIdentityProviders are off: they cannot be listed ({error}); grant it by a ClusterRole and restart"
            );
            false
        }
    };
    Some((who_am_i(client, settings).await, cluster_kind))
}

async fn listable<K>(client: &Client, namespace: Option<&str>) -> Result<(), String>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<Guarded<K>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let place = namespace.map_or_else(|| "in all namespaces".to_owned(), |n| format!("in namespace {n}"));
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        // Where not even the group is known, the answer is plain text without a reason.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 404 => {
            Err(format!("the API server does not know {}; install the CRDs: kubectl apply -f crds/", K::plural(&())))
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(format!(
            "the operator may not list {} {place}; grant it, or set WATCH_NAMESPACES to namespaces where it may",
            K::plural(&())
        )),
        Err(error) => Err(format!("the API server does not answer: {error}")),
    }
}

/// `namespace:name` of our ServiceAccount, as the API server knows us; a placeholder for other users.
async fn who_am_i(client: &Client, settings: &Settings) -> String {
    let api = Api::<SelfSubjectReview>::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = review.ok().and_then(|r| r.status?.user_info?.username);
    let account = user.as_deref().and_then(|u| u.strip_prefix("system:serviceaccount:")).map(str::to_owned);
    account.unwrap_or_else(|| format!("{}:{NAME}", settings.operator_namespace))
}

/// Has the policies of a touched provider looked at: a deletion is told by nobody else.
fn waking<K>(
    touched: BoxStream<'static, Result<Guarded<K>, watcher::Error>>,
    context: Arc<Context>,
    id: fn(&Guarded<K>) -> ProviderId,
) -> BoxStream<'static, Result<Guarded<K>, watcher::Error>>
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    touched.inspect_ok(move |object| context.wake_policies_of(&id(object))).boxed()
}

/// One controller: touched and woken objects in, reconciles with a deadline and a panic guard out.
async fn control<K, R, F>(
    kind: &'static str,
    part: Part<K>,
    woken: BoxStream<'static, ObjectRef<Guarded<K>>>,
    context: Arc<Context>,
    stop: CancellationToken,
    reconcile: R,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    R: Fn(Arc<Guarded<K>>, Arc<Context>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let config = controller::Config::default().concurrency(context.settings.concurrency);
    Controller::for_stream(part.touched, part.store)
        .with_config(config)
        .reconcile_on(woken)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            move |object, context: Arc<Context>| async move {
                let run = AssertUnwindSafe(reconcile(object, context.clone())).catch_unwind();
                let ended = match tokio::time::timeout(RECONCILE_DEADLINE, run).await {
                    Err(_) => Err(Error::Deadline),
                    Ok(Err(_)) => Err(Error::Panic),
                    Ok(Ok(result)) => result,
                };
                let outcome = match &ended {
                    Ok(_) => "ok",
                    Err(Error::Panic) => "panic",
                    Err(_) => "error",
                };
                context.metrics.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
                ended
            },
            move |object, error, _| {
                tracing::warn!(kind, name = object.name_any(), namespace = object.namespace(), %error, "reconcile failed");
                Action::requeue(START_RETRY)
            },
            context,
        )
        .for_each(|ended| async move {
            // Woken objects that are gone, and ends of watches, which their own back-off handles.
            if let Err(error) = ended {
                tracing::debug!(kind, %error, "controller");
            }
        })
        .await;
}
