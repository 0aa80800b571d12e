//! Starting and stopping: the watches, one controller for each kind, and the health endpoints.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api_server;
use super::context::Context;
use super::leader::{Elector, Leadership};
use super::ledger_store::LedgerStore;
use super::prepare::prepare;
use super::pulse::Pulses;
use super::references::References;
use super::registry::{ProviderId, Registry};
use super::streams::{self, Guarded, Part, Watching};
use super::wake::{Dependant, WakeBuilder};
use super::{PolicyObject, calls, policy, provider, retention};
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::plan::leadership::Terms;
use crate::provider::http::{AddressRules, Network};
use crate::settings::Settings;
use crate::telemetry::metrics::{Metrics, ReconcileLabels};
use crate::telemetry::server::{self, Readiness};

/// The name in events and the prefix of ours in the API server's audit log.
pub(super) const NAME: &str = "password-reset-operator";
/// A reconcile that takes longer hangs in a call to the API server; it is given up and tried again.
const RECONCILE_DEADLINE: Duration = Duration::from_secs(120);
/// When a reconcile is tried again that did not come to its end.
const RETRY: Duration = Duration::from_secs(5);
/// How often what is remembered of deleted objects is forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(30);
/// How long reconciles that run are waited for when the process stops. With [`CLOSE`] and the release of the lease it is
/// well below the 30 s that Kubernetes gives.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the recording of open batches may take after that.
const CLOSE: Duration = Duration::from_secs(5);

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

/// Runs the operator until SIGTERM or SIGINT. *Errors*: the kubeconfig or the settings of the lease cannot be used,
/// `LISTEN` cannot be bound, or the lease was lost, after which only a fresh process may stand by again.
pub async fn run(mut settings: Settings) -> anyhow::Result<()> {
    let started_at = Instant::now();
    let stop = stop_on_signal()?;
    let terms = Terms::new(
        settings.lease_duration_seconds,
        settings.lease_renew_deadline_seconds,
        settings.lease_retry_period_seconds,
    )
    .map_err(anyhow::Error::msg)?;
    let metrics = Arc::new(Metrics::default());
    let (readiness, pulses) = (Readiness::default(), Pulses::default());
    let listener = tokio::net::TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("LISTEN: cannot listen on {}; name a free address", settings.listen))?;
    let health = axum::serve(listener, server::router(metrics.clone(), readiness.clone(), alive(&settings, &pulses)))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let health = tokio::spawn(health.into_future());

    let config = api_server::config().await?;
    let rules = AddressRules::parse(&settings.allowed_addresses).map_err(anyhow::Error::msg)?;
    let network = Network::new(rules, settings.proxy_url.as_ref(), api_server::places(&config));
    let network = network.map_err(anyhow::Error::msg)?;
    if settings.operator_namespace.is_empty() {
        settings.operator_namespace = config.default_namespace.clone();
    }
    let unbounded = Client::try_from(config.clone())?;
    let deadline = Duration::from_secs(settings.call_timeout_seconds.into());
    // Who asks whether everything is there acts on nothing yet.
    let asking = calls::bounded(&unbounded, deadline, &Leadership::always());
    let (service_account, cluster_kind) = tokio::select! {
        started = prepare(&asking, &settings) => started,
        () = stop.cancelled() => return Ok(()),
    };
    if let Err(error) = network.find_api_server().await {
        tracing::warn!(
            "the API server's own name does not resolve ({error}); providers known by name wait until it does"
        );
    }
    let leadership = if settings.leader_elect { Leadership::none() } else { Leadership::always() };
    let client = calls::bounded(&unbounded, deadline, &leadership);
    let watching = Watching { client: client.clone(), seconds: settings.watch_timeout_seconds, pulses };
    let namespaces = settings.namespaces();
    let (policies, policy_parts) = streams::namespaced::<PasswordResetPolicy>(&watching, &namespaces);
    let (providers, provider_parts) = streams::namespaced::<IdentityProvider>(&watching, &namespaces);
    let cluster = cluster_kind.then(|| streams::cluster::<ClusterIdentityProvider>(&watching));

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
        network,
        references: References::new(watching, wake.clone()),
        registry: Registry::new(started_at, Duration::from_secs(settings.settle_seconds.into())),
        said: Default::default(),
        ledgers: LedgerStore::new(client.clone(), &settings.operator_namespace),
        runs: Default::default(),
        wake,
        leadership: leadership.clone(),
        stopping: stop.clone(),
        service_account,
        client,
        settings,
    });

    let elector = match context.settings.leader_elect {
        true => Some(Elector::new(&config, &context.settings.operator_namespace, terms, leadership)?),
        false => None,
    };
    let leads = CancellationToken::new();
    let begin = |kind| Beginning { kind, context: context.clone(), leads: leads.clone(), stop: stop.clone() };
    // Both end with this function.
    let (_watches, controllers) = spawn(begin, provider_parts, cluster_part, policy_parts);
    act(elector, &context, &readiness, &leads, &stop, controllers).await?;
    health.abort();
    tracing::info!("stopped");
    Ok(())
}

/// One watch of a kind, with what wakes its controller.
type Watched<K> = (BoxStream<'static, ObjectRef<Guarded<K>>>, Part<K>);

/// Starts the watches and the controllers, which are returned in this order.
fn spawn(
    begin: impl Fn(&'static str) -> Beginning,
    providers: Vec<Watched<IdentityProvider>>,
    cluster_providers: Option<Watched<ClusterIdentityProvider>>,
    policies: Vec<Watched<PasswordResetPolicy>>,
) -> (JoinSet<()>, JoinSet<()>) {
    let (mut watches, mut controllers) = (JoinSet::new(), JoinSet::new());
    for (woken, part) in providers {
        let id = |object: &ObjectRef<_>| {
            ProviderId::Namespaced(object.namespace.clone().unwrap_or_default(), object.name.clone())
        };
        let begin = begin("IdentityProvider");
        watches.spawn(tell_of_provider(part.changed, begin.context.clone(), id));
        controllers.spawn(control(begin, part.store, woken, provider::reconcile_namespaced));
    }
    if let Some((woken, part)) = cluster_providers {
        let begin = begin("ClusterIdentityProvider");
        let id = |object: &ObjectRef<_>| ProviderId::Cluster(object.name.clone());
        watches.spawn(tell_of_provider(part.changed, begin.context.clone(), id));
        controllers.spawn(control(begin, part.store, woken, provider::reconcile_cluster));
    }
    for (woken, part) in policies {
        let begin = begin("PasswordResetPolicy");
        watches.spawn(tell_of_policy(part.changed, begin.context.clone()));
        controllers.spawn(control(begin, part.store, woken, policy::reconcile));
    }
    (watches, controllers)
}

/// Waits for the lease, if there is an `elector`, and has the controllers act until `stop`. *Errors*: the lease is lost.
async fn act(
    mut elector: Option<Elector>,
    context: &Context,
    readiness: &Readiness,
    leads: &CancellationToken,
    stop: &CancellationToken,
    mut controllers: JoinSet<()>,
) -> anyhow::Result<()> {
    if let Some(elector) = &mut elector {
        tokio::select! {
            // Who does not know yet what there is could not work, and leaves the lease to others.
            () = async { known(context, readiness).await; elector.acquire().await } => {}
            () = stop.cancelled() => return Ok(()),
        }
        context.registry.takes_over(Instant::now());
    }
    leads.cancel();
    let work = async {
        tokio::select! {
            () = async {
                known(context, readiness).await;
                tokio::join!(retention::run(context), forget_deleted(context));
            } => {}
            () = stop.cancelled() => {}
        }
        finish(&mut controllers, context).await;
    };
    match &mut elector {
        None => work.await,
        // Renewed to the end: what is finished in the last seconds is recorded as the leader.
        Some(elector) => tokio::select! {
            () = work => elector.release().await,
            () = elector.keep() => {
                stop.cancel();
                anyhow::bail!("the lease is lost: another process may act by now, and this one ends");
            }
        },
    }
    Ok(())
}

/// Waits until every object that is served is known, and says that the process is ready.
async fn known(context: &Context, readiness: &Readiness) {
    context.providers_known().await;
    context.policies.ready().await;
    if readiness.ready() {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    }
}

/// Waits for reconciles that run, not for ever, and records how far each campaign has come.
async fn finish(controllers: &mut JoinSet<()>, context: &Context) {
    let ended = async { while controllers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("calls that are still on the way are not waited for any longer");
        controllers.shutdown().await;
    }
    if tokio::time::timeout(CLOSE, context.runs.put_down()).await.is_err() {
        tracing::warn!("not every open batch could be closed; its accounts are read before anything is sent");
    }
}

/// Whether the process has to be started again, for `/livez`.
fn alive(settings: &Settings, pulses: &Pulses) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
    let (limit, pulses) = (Duration::from_secs(settings.watch_silence_seconds.into()), pulses.clone());
    move || match pulses.silent(limit) {
        None => Ok(()),
        Some((kind, silence)) => {
            Err(format!("a watch of {kind} objects has not been answered for {} s", silence.as_secs()))
        }
    }
}

async fn forget_deleted(context: &Context) {
    loop {
        tokio::time::sleep(FORGET_PERIOD).await;
        context.forget_deleted().await;
    }
}

/// Cancelled by SIGTERM or SIGINT. A second SIGINT, from somebody at a keyboard, ends the process at once; a second
/// SIGTERM changes nothing, since whoever sends it has a SIGKILL for the impatient.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        loop {
            let interrupted = tokio::select! { _ = term.recv() => false, _ = int.recv() => true };
            if !stopped.is_cancelled() {
                tracing::info!("stopping: no new work is taken, calls on the way are waited for");
                stopped.cancel();
            } else if interrupted {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}

/// Has a provider that has changed looked at, and the policies that name its tenant: its deletion is told by nobody else.
async fn tell_of_provider<K>(
    mut changed: BoxStream<'static, ObjectRef<Guarded<K>>>,
    context: Arc<Context>,
    id: impl Fn(&ObjectRef<Guarded<K>>) -> ProviderId,
) where
    K: Resource<DynamicType = ()> + 'static,
{
    while let Some(object) = changed.next().await {
        let id = id(&object);
        context.wake_provider(&id);
        context.wake_policies_of(&id);
    }
}

/// Has a policy that has changed looked at.
async fn tell_of_policy(mut changed: BoxStream<'static, ObjectRef<PolicyObject>>, context: Arc<Context>) {
    while let Some(object) = changed.next().await {
        context.wake.wake(&Dependant::Policy(object.namespace.unwrap_or_default(), object.name));
    }
}

/// What a controller begins with.
struct Beginning {
    kind: &'static str,
    context: Arc<Context>,
    /// Cancelled when this process may act.
    leads: CancellationToken,
    /// Cancelled when it has to end.
    stop: CancellationToken,
}

/// One controller: woken objects in, reconciles with a deadline and a panic guard out. Until this process may act,
/// whoever is woken is forgotten; then all are looked at.
async fn control<K, R, F>(
    begin: Beginning,
    store: Store<Guarded<K>>,
    mut woken: BoxStream<'static, ObjectRef<Guarded<K>>>,
    reconcile: R,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    R: Fn(Arc<Guarded<K>>, Arc<Context>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let Beginning { kind, context, leads, stop } = begin;
    loop {
        tokio::select! {
            biased;
            () = leads.cancelled() => break,
            () = stop.cancelled() => return,
            object = woken.next() => if object.is_none() { return },
        }
    }
    let config = controller::Config::default().concurrency(context.settings.concurrency);
    // The watch runs beside it and wakes: a controller pauses all that it hears when one of its own streams fails.
    Controller::for_stream(futures::stream::pending(), store)
        .with_config(config)
        .reconcile_on(woken)
        .reconcile_all_on(futures::stream::once(std::future::ready(())))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            move |object, context: Arc<Context>| async move {
                let ended = guarded(reconcile(object, context.clone())).await;
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
                Action::requeue(RETRY)
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

/// Runs one reconcile so that neither a panic in it nor a call that hangs harms the others.
async fn guarded<T>(reconcile: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(RECONCILE_DEADLINE, AssertUnwindSafe(reconcile).catch_unwind()).await {
        Err(_) => Err(Error::Deadline),
        Ok(Err(_)) => Err(Error::Panic),
        Ok(Ok(result)) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_panics_or_hangs_is_an_error_and_the_process_lives() {
        assert!(matches!(guarded(async { Ok(7) }).await, Ok(7)));
        let panics = guarded::<()>(async { panic!("a bug") }).await;
        assert!(matches!(panics, Err(Error::Panic)), "{panics:?}");
        let hangs = guarded::<()>(std::future::pending()).await;
        assert!(matches!(hangs, Err(Error::Deadline)), "{hangs:?}");
        assert_eq!(Error::Panic.to_string(), "a reconcile panicked");
    }
}
