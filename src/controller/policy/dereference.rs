//! All reads that a slice needs from Kubernetes: the provider object, its connection, and the lists that a target names.
//!
//! What comes out is plain data, or the reason why the target cannot be worked on. Nothing is decided here.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::identity_provider::IdentityProviderSpec;
use crate::api::password_reset_policy::{PasswordResetPolicySpec, UserListSource};
use crate::api::{ALLOWED_ORIGINS_ANNOTATION, PasswordResetPolicy, Reason, USER_LIST_LABEL, USER_LIST_LABEL_VALUE};
use crate::controller::context::{Context, ProviderView};
use crate::controller::provider::connect;
use crate::controller::references::{self, AsRead, Content, Kind, Reference, Seen};
use crate::controller::registry::{Connection, Entry, Protection, ProviderId};
use crate::controller::tenant::Members;
use crate::controller::wake::Dependant;
use crate::plan::clocks::Clocks;
use crate::plan::desired::{self, Desired, Fetched, ListUnavailable, SelectedKey, Sources, TargetTenant};
use crate::plan::failure::{Health, Stop, grant_lines};
use crate::plan::suspension::{self, Suspension, Switches};

/// A target with everything that its work needs.
#[derive(Clone)]
pub struct Ready {
    /// The provider object.
    pub id: ProviderId,
    /// Its spec as the API server has it now.
    pub spec: IdentityProviderSpec,
    /// The connection.
    pub connection: Connection,
    /// What the registry knows of it.
    pub entry: Entry,
    /// What is wanted.
    pub desired: Desired,
    /// The protected users of the tenant. `None`: not known yet, nothing may be written.
    pub protected: Option<Vec<SelectedKey>>,
}

/// One target after all reads.
pub struct Target {
    /// Its name.
    pub name: String,
    /// The provider object as `Kind/name`.
    pub provider: String,
    /// The tenant that the provider object names.
    pub tenant_id: Option<String>,
    /// How the provider stands.
    pub health: Health,
    /// What suspends it: the operator, its provider, or the policy.
    pub suspension: Option<Suspension>,
    /// Its lists as they were read, as far as they are watched.
    pub lists: Vec<AsRead>,
    /// Who counted for its tenant when it was asked whom they protect.
    pub members: Option<Members>,
    /// What there is to work with.
    pub state: State,
}

/// What there is to work with.
pub enum State {
    /// Everything.
    Ready(Box<Ready>),
    /// A reason why not.
    Stop(Stop),
    /// Something is not known yet, and whoever finds out wakes the policy.
    NotYet,
}

/// Reads everything that the targets of `policy` refer to. `settled` says for each target whether its list may be read
/// without a watch.
pub async fn dereference(
    policy: &PasswordResetPolicy,
    context: &Context,
    objects: &[ProviderView],
    settled: &[bool],
) -> Vec<Target> {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let dependant = Dependant::Policy(namespace.clone(), policy.metadata.name.clone().unwrap_or_default());
    let lists = Lists::of(&policy.spec, &namespace);
    // Beyond the bound, the lists of settled targets are read at each look, and their watches end.
    let full = context.references.watched_lists() > context.settings.max_watched_lists;
    let unwatched = |index: usize| full && settled.get(index).copied().unwrap_or_default();
    context.references.retain(&dependant, &lists.watched(unwatched));
    // Together: each may have to wait some seconds for what the API server has not answered yet.
    let targets = (0..policy.spec.targets.len()).map(|index| {
        let watch = !unwatched(index);
        target(policy, index, &namespace, objects, &lists, watch, &dependant, context)
    });
    let mut targets = futures::future::join_all(targets).await;
    stop_duplicates(&mut targets);
    targets
}

#[allow(clippy::too_many_arguments)] // one call site; a struct would only repeat the names
async fn target(
    policy: &PasswordResetPolicy,
    index: usize,
    namespace: &str,
    objects: &[ProviderView],
    lists: &Lists,
    watch: bool,
    dependant: &Dependant,
    context: &Context,
) -> Target {
    let spec = &policy.spec;
    let wanted = &spec.targets[index];
    let id = ProviderId::of(&wanted.provider_ref, namespace);
    let provider = format!("{}/{}", wanted.provider_ref.kind.as_str(), wanted.provider_ref.name);
    let object = objects.iter().find(|object| object.id == id);
    let tenant_id = object.and_then(|object| connect::tenant_id(&object.spec).ok());
    let named = naming(objects, tenant_id.as_deref());
    let entry = context.registry.get(&id);
    let is_allowed = object.is_none_or(|object| object.allows(namespace));
    let suspension = suspension::suspension(Switches {
        operator: context.settings.suspend,
        // Whoever may not use an object is told so, not that it is suspended.
        provider: suspending(object, &named, context).filter(|_| is_allowed).as_deref(),
        annotation: policy
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(crate::api::PAUSED_ANNOTATION))
            .map(String::as_str),
        spec: spec.suspend,
    });
    let health = entry.as_ref().map_or(Health::Unverified, |e| e.health.clone());
    let name = wanted.name.clone();
    let mut target = Target {
        name,
        provider,
        tenant_id,
        health,
        suspension,
        lists: Vec::new(),
        members: None,
        state: State::NotYet,
    };
    let path = format!("spec.targets[{index}].providerRef");
    let Some(object) = object else {
        let off = matches!(id, ProviderId::Cluster(_)) && context.cluster_providers.is_none();
        let why = if off {
            "ClusterIdentityProviders are off, since the operator may not list them: grant it by a ClusterRole (of the \
             chart: clusterProviders.enabled) and restart the operator, or name an IdentityProvider"
                .to_owned()
        } else {
            format!("{} does not exist; create it, or correct the name", target.provider)
        };
        target.state = State::Stop(Stop::stalled(Reason::ProviderNotFound, path, why));
        return target;
    };
    let Some(entry) = entry else { return target };
    if !is_allowed {
        target.state = State::Stop(Stop::stalled(
            Reason::ProviderNotAllowed,
            path,
            format!(
                "{} does not allow namespace {namespace}; its owner can add it to spec.allowedNamespaces",
                target.provider
            ),
        ));
        return target;
    }
    let Some(connection) = entry.connection.clone() else { return target };
    let capabilities = connection.provider.capabilities();
    let fetched = lists.fetch(index, watch, dependant, context).await;
    let Some(([users_from, exclude_users_from], lists)) = fetched else { return target };
    target.lists = lists;
    let (users_from, exclude_users_from) = (borrow(&users_from), borrow(&exclude_users_from));
    let sources =
        Sources { spec, index, capabilities, users_from: &users_from, exclude_users_from: &exclude_users_from };
    let desired = match desired::resolve(&sources) {
        Ok(desired) => desired,
        Err(stop) => {
            target.state = State::Stop(stop);
            return target;
        }
    };
    target.members = Some(connection.tenant.members());
    let protected = match context.registry.protection(&named) {
        _ if has_unreadable(&named, &connection, context) => None,
        Protection::NotKnownYet => None,
        Protection::Known(users) => {
            let mut keys = Vec::new();
            for (object, users) in users {
                match desired::protected_keys(&users, &object, capabilities) {
                    Ok(more) => keys.extend(more),
                    Err(stop) => {
                        target.state = State::Stop(stop);
                        return target;
                    }
                }
            }
            Some(keys)
        }
    };
    target.state =
        State::Ready(Box::new(Ready { id, spec: object.spec.clone(), connection, entry, desired, protected }));
    target
}

/// The objects that name a tenant.
pub fn naming<'a>(objects: &'a [ProviderView], tenant_id: Option<&str>) -> Vec<&'a ProviderView> {
    let same = |object: &&ProviderView| connect::tenant_id(&object.spec).ok().as_deref() == tenant_id;
    if tenant_id.is_some() { objects.iter().filter(same).collect() } else { Vec::new() }
}

/// The object that suspends a target, as `Kind/name`: its own, or another that names the tenant and was verified once
/// (else anybody could suspend a tenant by naming it).
fn suspending(own: Option<&ProviderView>, named: &[&ProviderView], context: &Context) -> Option<String> {
    let own = own.filter(|object| object.spec.suspend);
    let other = || named.iter().copied().find(|object| object.spec.suspend && context.registry.counts(&object.id));
    own.or_else(other).map(|object| match &object.id {
        ProviderId::Namespaced(_, name) => format!("IdentityProvider/{name}"),
        ProviderId::Cluster(name) => format!("ClusterIdentityProvider/{name}"),
    })
}

/// Whether an object of this tenant is there and does not decode: whom it protects is then not known.
fn has_unreadable(named: &[&ProviderView], connection: &Connection, context: &Context) -> bool {
    let readable = |id: &ProviderId| named.iter().any(|object| object.id == *id);
    context
        .registry
        .naming(&connection.tenant.id)
        .iter()
        .any(|id| !readable(id) && context.provider_exists(id) && context.provider_version(id).is_none())
}

/// Two targets that lead to one tenant would undo each other's exclusions.
fn stop_duplicates(targets: &mut [Target]) {
    let tenants: Vec<(usize, String, String)> = targets
        .iter()
        .enumerate()
        .filter_map(|(index, target)| Some((index, target.name.clone(), target.tenant_id.clone()?)))
        .collect();
    let named: Vec<_> =
        tenants.iter().map(|(index, name, tenant)| TargetTenant { index: *index, name, tenant }).collect();
    for (index, stop) in desired::duplicate_tenants(&named) {
        // What else is wrong with it comes first.
        if !matches!(targets[index].state, State::Stop(_)) {
            targets[index].state = State::Stop(stop);
        }
    }
}

type Owned = Result<Vec<u8>, ListUnavailable>;

fn borrow(owned: &[Owned]) -> Vec<Fetched<'_>> {
    owned.iter().map(|list| list.as_deref().map_err(Clone::clone)).collect()
}

/// The lists of all targets: for each, what selects and what excludes.
struct Lists(Vec<[Vec<(Reference, String)>; 2]>);

impl Lists {
    fn of(spec: &PasswordResetPolicySpec, namespace: &str) -> Self {
        let references = |sources: &[UserListSource]| -> Vec<(Reference, String)> {
            sources.iter().filter_map(|source| reference(source, namespace)).collect()
        };
        Self(
            spec.targets
                .iter()
                .map(|target| {
                    let exclude = target.exclude.as_ref().map(|e| references(&e.users_from)).unwrap_or_default();
                    [references(&target.users_from), exclude]
                })
                .collect(),
        )
    }

    /// The lists that are watched: those of all targets but the `unwatched`.
    fn watched(&self, unwatched: impl Fn(usize) -> bool) -> HashSet<Reference> {
        let targets = self.0.iter().enumerate().filter(|(index, _)| !unwatched(*index));
        targets.flat_map(|(_, lists)| lists).flatten().map(|(reference, _)| reference.clone()).collect()
    }

    /// The content of both groups of lists of one target: of those that select, and of those that exclude. With it, the
    /// watched ones as they were read. `None` while the API server has not answered.
    async fn fetch(
        &self,
        index: usize,
        watch: bool,
        dependant: &Dependant,
        context: &Context,
    ) -> Option<([Vec<Owned>; 2], Vec<AsRead>)> {
        let (mut groups, mut watched) = ([Vec::new(), Vec::new()], Vec::new());
        for (group, references) in groups.iter_mut().zip(&self.0[index]) {
            for (reference, key) in references {
                let seen = if watch {
                    let (seen, as_read) = context.references.read(reference, dependant).await;
                    watched.push(as_read);
                    seen
                } else {
                    references::read_once(&context.client, reference).await.unwrap_or(Seen::NotYet)
                };
                group.push(list(reference, key, seen, context)?);
            }
        }
        Some((groups, watched))
    }
}

fn reference(source: &UserListSource, namespace: &str) -> Option<(Reference, String)> {
    let (kind, name, key) = match (&source.secret_ref, &source.config_map_ref) {
        (Some(secret), None) => (Kind::Secret, &secret.name, &secret.key),
        (None, Some(map)) => (Kind::ConfigMap, &map.name, &map.key),
        // The API server refuses both and neither; `desired` says so for objects from before that rule.
        _ => return None,
    };
    Some((Reference { kind, namespace: namespace.to_owned(), name: name.clone() }, key.clone()))
}

fn list(reference: &Reference, key: &str, seen: Seen, context: &Context) -> Option<Owned> {
    let Reference { kind, namespace, name } = reference;
    Some(match seen {
        Seen::NotYet => return None,
        Seen::Absent => Err(ListUnavailable::NotFound(format!(
            "{} {name} does not exist in namespace {namespace}; create it",
            kind.name()
        ))),
        Seen::Forbidden => {
            let lines = grant_lines(kind.resource(), namespace, name, &context.service_account);
            Err(ListUnavailable::Forbidden(format!(
                "the operator may not read {} {name}; grant it:\n{lines}",
                kind.name()
            )))
        }
        Seen::Present(content) => usable(*kind, name, &content).and_then(|()| {
            content.data.get(key).cloned().ok_or_else(|| {
                ListUnavailable::NotFound(format!("{} {name} has no key `{key}`; add the list there", kind.name()))
            })
        }),
    })
}

/// A Secret is read as a list only if it says that it is one and is no credential, else a policy could make any Secret's
/// content travel to a provider.
fn usable(kind: Kind, name: &str, content: &Arc<Content>) -> Result<(), ListUnavailable> {
    if kind != Kind::Secret {
        return Ok(());
    }
    if content.annotations.contains_key(ALLOWED_ORIGINS_ANNOTATION) {
        return Err(ListUnavailable::Refused(format!(
            "Secret {name} is a credential (it has the annotation {ALLOWED_ORIGINS_ANNOTATION}); put the list into a Secret of its own"
        )));
    }
    if content.labels.get(USER_LIST_LABEL).map(String::as_str) != Some(USER_LIST_LABEL_VALUE) {
        return Err(ListUnavailable::Refused(format!(
            "Secret {name} does not say that it is a list of users; if it is, label it: {USER_LIST_LABEL}: \"{USER_LIST_LABEL_VALUE}\""
        )));
    }
    Ok(())
}

/// Now, by our clock and by the provider's.
pub fn clocks(ready: &Ready, now: Timestamp) -> Clocks {
    Clocks { ours: now, theirs: ready.connection.provider.clock().map(|reading| reading.at(now)) }
}
