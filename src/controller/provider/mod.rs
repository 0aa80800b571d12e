//! The two provider kinds: connect by the Secret, verify, probe while not Ready, and say how it stands.
//!
//! A provider that is Ready is verified at start, on every change of its spec or Secret, and with each pass of a policy.
//! One that is not gets one probe for each probe period, which grows. What a pass finds out about a tenant comes here
//! through the registry.

pub mod connect;
mod look;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use tokio::time::Instant;

use super::context::Context;
use super::registry::{Entry, ProviderId};
use super::run::Error;
use super::wake::Dependant;
use super::{ClusterProviderObject, ProviderObject, locked, publish};
use crate::api::identity_provider::{IdentityProviderSpec, IdentityProviderStatus};
use crate::plan::failure::Health;
use crate::plan::schedule;
use crate::status::{Report, provider_report};

/// One provider object, of whichever kind.
struct Subject {
    id: ProviderId,
    uid: String,
    dependant: Dependant,
    generation: i64,
    spec: IdentityProviderSpec,
    allowed_namespaces: Option<Vec<String>>,
    /// Where its Secret and its CA ConfigMap are: its own namespace, or the operator's for the cluster kind.
    references_namespace: String,
    status: Option<IdentityProviderStatus>,
}

/// What was written last of each provider, so that a controller that undoes it starts no race.
#[derive(Default)]
pub struct Said(Mutex<HashMap<ProviderId, Words>>);

struct Words {
    /// Of which object: one that was created anew has not been spoken of.
    uid: String,
    status: IdentityProviderStatus,
    at: Instant,
}

impl Said {
    fn last(&self, subject: &Subject) -> Option<IdentityProviderStatus> {
        let said = self.lock();
        said.get(&subject.id).filter(|words| words.uid == subject.uid).map(|words| words.status.clone())
    }

    /// How long to wait before `status` is written again, where exactly that was written a moment ago and somebody else
    /// has changed it.
    fn undone(&self, subject: &Subject, status: &IdentityProviderStatus) -> Option<Duration> {
        let said = self.lock();
        let words = said.get(&subject.id).filter(|words| words.uid == subject.uid && words.status == *status)?;
        let rest = schedule::COUNTERS_EVERY.saturating_sub(words.at.elapsed());
        (!rest.is_zero()).then_some(rest)
    }

    fn put(&self, subject: &Subject, status: &IdentityProviderStatus) {
        let words = Words { uid: subject.uid.clone(), status: status.clone(), at: Instant::now() };
        self.lock().insert(subject.id.clone(), words);
    }

    /// Forgets providers that `exists` does not know any more.
    pub fn retain(&self, exists: impl Fn(&ProviderId) -> bool) {
        self.lock().retain(|id, _| exists(id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProviderId, Words>> {
        locked(&self.0)
    }
}

/// Reconciles an IdentityProvider.
pub async fn reconcile_namespaced(object: Arc<ProviderObject>, context: Arc<Context>) -> Result<Action, Error> {
    let Ok(provider) = &object.0 else { return Ok(undecodable("IdentityProvider", object.as_ref())) };
    let (namespace, name) = (provider.namespace().unwrap_or_default(), provider.name_any());
    let subject = Subject {
        id: ProviderId::Namespaced(namespace.clone(), name.clone()),
        uid: provider.uid().unwrap_or_default(),
        dependant: Dependant::Provider(namespace.clone(), name.clone()),
        generation: provider.metadata.generation.unwrap_or_default(),
        spec: provider.spec.clone(),
        allowed_namespaces: None,
        references_namespace: namespace.clone(),
        status: provider.status.clone(),
    };
    say(provider, &Api::namespaced(context.client.clone(), &namespace), "IdentityProvider", &subject, &context).await
}

/// Reconciles a ClusterIdentityProvider.
pub async fn reconcile_cluster(object: Arc<ClusterProviderObject>, context: Arc<Context>) -> Result<Action, Error> {
    let Ok(provider) = &object.0 else { return Ok(undecodable("ClusterIdentityProvider", object.as_ref())) };
    let name = provider.name_any();
    let subject = Subject {
        id: ProviderId::Cluster(name.clone()),
        uid: provider.uid().unwrap_or_default(),
        dependant: Dependant::ClusterProvider(name.clone()),
        generation: provider.metadata.generation.unwrap_or_default(),
        spec: provider.spec.provider.clone(),
        allowed_namespaces: Some(provider.spec.allowed_namespaces.clone()),
        references_namespace: context.settings.operator_namespace.clone(),
        status: provider.status.clone(),
    };
    say(provider, &Api::all(context.client.clone()), "ClusterIdentityProvider", &subject, &context).await
}

/// Looks, and writes and publishes what is new.
async fn say<K>(
    object: &K,
    api: &Api<K>,
    kind: &'static str,
    subject: &Subject,
    context: &Context,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let (report, action) = step(subject, context).await;
    if subject.status.as_ref() != Some(&report.status) {
        if let Some(rest) = context.said.undone(subject, &report.status) {
            return Ok(Action::requeue(rest));
        }
        if publish::status(api, object, &report.status).await?.is_none() {
            return Ok(action);
        }
        context.said.put(subject, &report.status);
    }
    publish::events(context, kind, object, &report.events).await;
    Ok(action)
}

/// Looks, puts what was found into the registry, and reports it.
async fn step(subject: &Subject, context: &Context) -> (Report<IdentityProviderStatus>, Action) {
    let before = context.registry.get(&subject.id);
    let found = look::look(subject, before.as_ref(), context).await;
    let now = Timestamp::now();
    let outcome = found.outcome(subject);
    // What this process said last, whatever the store shows: it may be older, or somebody else's.
    let previous = context.said.last(subject).or_else(|| subject.status.clone());
    let Entry { health, spec, allowed_namespaces, .. } = found.entry.clone();
    let replaced = context.registry.put(subject.id.clone(), found.entry);
    let same = |old: &Entry| old.health == health && old.spec == spec && old.allowed_namespaces == allowed_namespaces;
    if !replaced.as_ref().is_some_and(same) {
        context.wake_policies_of(&subject.id);
    }
    // The other objects of a tenant that answers again need not wait for their own probes.
    if health == Health::Ready && replaced.is_some_and(|old| old.health != Health::Ready) {
        let same = context.registry.same_tenant(&subject.id);
        same.iter().filter(|other| **other != subject.id).for_each(|other| context.wake_provider(other));
    }
    let report = provider_report(&outcome, previous.as_ref(), now);
    let next = [found.next_probe, report.speaks_again, Some(IDLE)].into_iter().flatten().min().unwrap_or(IDLE);
    (report, Action::requeue(next))
}

/// A Ready provider costs no call here; this is only the resync of its object.
const IDLE: Duration = Duration::from_secs(3600);

fn undecodable<K: ResourceExt>(kind: &'static str, object: &K) -> Action {
    tracing::error!(
        kind,
        name = object.name_any(),
        namespace = object.namespace(),
        "the object cannot be decoded and is left alone; check it against the installed CRDs"
    );
    Action::await_change()
}
