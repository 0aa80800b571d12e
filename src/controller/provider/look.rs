//! One look at a provider object: is its credential usable, and does the tenant answer?

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Subject;
use super::connect::{self, ConnectError, Material};
use crate::api::identity_provider::IdentityProviderSpec;
use crate::controller::context::Context;
use crate::controller::references::{Content, Kind, Reference, Seen};
use crate::controller::registry::{Connection, Entry, Probes};
use crate::plan::failure::{Health, ProviderFault, grant_lines};
use crate::plan::schedule;
use crate::provider::ProviderError;
use crate::status::{ProviderOutcome, refused_before};

/// What one look found.
pub struct Found {
    /// For the registry.
    pub entry: Entry,
    /// When to probe next, while not Ready.
    pub next_probe: Option<Duration>,
}

impl Found {
    /// What there is to report about it.
    pub fn outcome(&self, subject: &Subject) -> ProviderOutcome {
        ProviderOutcome {
            generation: subject.generation,
            type_: self.entry.provider_type(),
            health: self.entry.health.clone(),
            tenant: self.entry.verified.as_ref().map(|(tenant, _)| tenant.clone()),
            capabilities: self.entry.connection.as_ref().map(|c| c.provider.capabilities()),
        }
    }
}

/// Looks at `subject`, given what the registry knew before.
pub async fn look(subject: &Subject, before: Option<&Entry>, context: &Context) -> Found {
    let now = Timestamp::now();
    let tenant_id = connect::tenant_id(&subject.spec).ok();
    // Nothing carries over from an object that was deleted and created anew.
    let before = before.filter(|before| before.uid == subject.uid && before.tenant_id == tenant_id);
    let verified_before = subject.status.as_ref().is_some_and(|s| s.tenant.is_some());
    let mut entry = Entry {
        uid: subject.uid.clone(),
        spec: subject.spec.clone(),
        allowed_namespaces: subject.allowed_namespaces.clone(),
        tenant_id,
        connection: None,
        health: Health::Unverified,
        verified: before.and_then(|b| b.verified.clone()),
        verified_once: verified_before || before.is_some_and(|b| b.verified_once),
        has_outcome: before.is_some_and(|b| b.has_outcome),
        fingerprint: 0,
        probes: Probes::default(),
    };
    let material = match material(subject, context).await {
        Ok(material) => material,
        // The API server has not answered yet: what was known stays, and the watch wakes us.
        Err(None) => {
            return Found { entry: before.cloned().unwrap_or(entry), next_probe: Some(Duration::from_secs(1)) };
        }
        Err(Some((fault, message))) => {
            fail(&mut entry, before, fault, message, now);
            return Found { entry, next_probe: None };
        }
    };
    entry.fingerprint = fingerprint(&subject.spec, &material);
    let same = before.filter(|b| b.fingerprint == entry.fingerprint);
    let connection = match same.and_then(|b| b.connection.clone()) {
        Some(connection) => connection,
        None => match connection(subject, &material, context) {
            Ok(connection) => {
                connection.tenant.limiter.retry_now();
                connection
            }
            Err(ConnectError { fault, message }) => {
                fail(&mut entry, before, fault, message, now);
                return Found { entry, next_probe: None };
            }
        },
    };
    entry.connection = Some(connection.clone());
    if let Some(same) = same {
        entry.health = same.health.clone();
        // Whoever edits the object wants to know how it stands now.
        let edited = Probes { next: Some(Instant::now()), ..Probes::default() };
        entry.probes = if same.spec == subject.spec { same.probes.clone() } else { edited };
    } else if before.is_none_or(|before| before.fingerprint == 0 && before.health == Health::Unverified)
        && let Some(health) = subject.status.as_ref().and_then(|said| refused_before(said, subject.generation))
    {
        (entry.health, entry.has_outcome) = (health, true);
        entry.probes.next = Some(Instant::now() + AFTER_RESTART);
    }
    let limiter = &connection.tenant.limiter;
    let fresh_token = match &entry.health {
        Health::Ready => return Found { entry, next_probe: None },
        Health::Unverified => false,
        Health::NotReady { fault, .. } => {
            let (fault, now) = (*fault, Instant::now());
            let (wait, absent) = wait(fault, None, entry.probes.failed, subject, &connection);
            let due = *entry.probes.next.get_or_insert(now + wait);
            entry.probes.absent |= absent;
            let answers_again = entry.probes.absent && limiter.absent_for().is_none();
            if due > now && !answers_again {
                return Found { entry, next_probe: Some(due - now) };
            }
            // What passes by itself is no fault of the token.
            !fault.passes()
        }
    };
    match connection.provider.verify(fresh_token).await {
        Ok(tenant) => {
            entry.health = Health::Ready;
            let known = same.and_then(|same| same.verified.as_ref()).map(|(tenant, _)| tenant);
            entry.verified = Some((tenant.knowing(known), Instant::now()));
            (entry.verified_once, entry.has_outcome) = (true, true);
            entry.probes = Probes::default();
            Found { entry, next_probe: None }
        }
        Err(error) => {
            let fault = ProviderFault::of(&error);
            fail(&mut entry, before, fault, error.to_string(), now);
            let (wait, absent) = wait(fault, Some(&error), entry.probes.failed, subject, &connection);
            entry.probes.failed += u32::from(!error.held_back);
            (entry.probes.next, entry.probes.absent) = (Some(Instant::now() + wait), absent);
            Found { entry, next_probe: Some(wait) }
        }
    }
}

/// The first probe of a process, where an earlier one was refused: a loop of crashes must not become a stream of refused
/// logins. A Secret or spec that is changed meanwhile is tried at once.
const AFTER_RESTART: Duration = Duration::from_secs(30);

/// How long to wait before the next probe, and whether that is because the tenant answers nobody: then its breaker says
/// when, for all objects that name it. `error` is what the last probe came to.
fn wait(
    fault: ProviderFault,
    error: Option<&ProviderError>,
    failed: u32,
    subject: &Subject,
    connection: &Connection,
) -> (Duration, bool) {
    const SHORTEST: Duration = Duration::from_secs(1);
    let held_back = error.is_some_and(|error| error.held_back);
    match connection.tenant.limiter.absent_for().filter(|_| fault.passes() || held_back) {
        Some(rest) => (rest.max(SHORTEST), true),
        None => {
            let named = error.and_then(|error| error.retry_after).unwrap_or_default();
            (pause(fault, failed, subject, connection).max(named), false)
        }
    }
}

/// How long to wait before the next probe. What may pass by itself is probed soon and at least once a period; what needs
/// a human once a period, and ever less often.
fn pause(fault: ProviderFault, failed: u32, subject: &Subject, connection: &Connection) -> Duration {
    const SOON: i32 = 2;
    let (period, capabilities) = (subject.spec.probe_period_seconds, connection.provider.capabilities());
    let slow = schedule::probe_pause(period, 0, capabilities);
    if fault.passes() {
        schedule::probe_pause(SOON.min(period), failed, capabilities).min(slow)
    } else {
        schedule::probe_pause(period, failed, capabilities)
    }
}

/// Marks the entry as failing, since the first failure of a row of them.
fn fail(entry: &mut Entry, before: Option<&Entry>, fault: ProviderFault, message: String, now: Timestamp) {
    let since = match before.map(|b| &b.health) {
        Some(Health::NotReady { since, .. }) => *since,
        _ => now,
    };
    entry.health = Health::NotReady { fault, message, since };
    entry.has_outcome = true;
}

/// The Secret and the CA bundle. `Err(None)` while the API server has not answered.
async fn material(subject: &Subject, context: &Context) -> Result<Material, Option<(ProviderFault, String)>> {
    let Some(secret_name) = subject.spec.block.credentials_secret_ref().map(|r| r.name.clone()) else {
        let message = "spec names no provider that this version of the operator knows; set exactly one of pingOne, \
                       looker, monoCloud, keycloak";
        return Err(Some((ProviderFault::InvalidSpec, message.to_owned())));
    };
    let namespace = &subject.references_namespace;
    let secret = Reference { kind: Kind::Secret, namespace: namespace.clone(), name: secret_name.clone() };
    let bundle = subject.spec.tls.as_ref().map(|tls| {
        let reference = &tls.ca_bundle_config_map_ref;
        let name = reference.name.clone();
        (Reference { kind: Kind::ConfigMap, namespace: namespace.clone(), name }, reference.key.clone())
    });
    let kept: HashSet<Reference> =
        [Some(secret.clone()), bundle.as_ref().map(|(r, _)| r.clone())].into_iter().flatten().collect();
    context.references.retain(&subject.dependant, &kept);
    let secret = content(&secret, subject, context).await?;
    let ca_bundle = match &bundle {
        None => None,
        Some((reference, key)) => {
            let content = content(reference, subject, context).await?;
            let Some(pem) = content.data.get(key) else {
                let message =
                    format!("ConfigMap {} has no key `{key}`; put the certificates (PEM) there", reference.name);
                return Err(Some((ProviderFault::SecretInvalid, message)));
            };
            Some(pem.clone())
        }
    };
    Ok(Material { secret_name, secret, ca_bundle })
}

async fn content(
    reference: &Reference,
    subject: &Subject,
    context: &Context,
) -> Result<std::sync::Arc<Content>, Option<(ProviderFault, String)>> {
    let Reference { kind, namespace, name } = reference;
    match context.references.read(reference, &subject.dependant).await.0 {
        Seen::Present(content) => Ok(content),
        Seen::NotYet => Err(None),
        Seen::Absent => {
            let message = format!("{} {name} does not exist in namespace {namespace}; create it", kind.name());
            Err(Some((ProviderFault::SecretNotFound, message)))
        }
        Seen::Forbidden => {
            let lines = grant_lines(kind.resource(), namespace, name, &context.service_account);
            let message = format!("the operator may not read {} {name}; grant it:\n{lines}", kind.name());
            Err(Some((ProviderFault::SecretForbidden, message)))
        }
    }
}

fn connection(subject: &Subject, material: &Material, context: &Context) -> Result<Connection, ConnectError> {
    let tenant_id = connect::tenant_id(&subject.spec)
        .map_err(|message| ConnectError { fault: ProviderFault::InvalidSpec, message })?;
    let tenant = context.registry.tenant(&tenant_id, &subject.spec);
    let provider = connect::connect(&subject.spec, material, tenant.limiter.clone(), context.network.clone())?;
    Ok(Connection { provider, tenant })
}

/// Changes when a connection has to be made anew: the provider block, page size, Secret or CA bundle.
fn fingerprint(spec: &IdentityProviderSpec, material: &Material) -> u64 {
    let mut hasher = DefaultHasher::new();
    // A spec always has a JSON form; without one the connection would only be made anew too often.
    serde_json::to_string(&(&spec.block, spec.page_size)).unwrap_or_default().hash(&mut hasher);
    material.secret.data.hash(&mut hasher);
    material.secret.annotations.get(crate::api::ALLOWED_ORIGINS_ANNOTATION).hash(&mut hasher);
    material.ca_bundle.hash(&mut hasher);
    hasher.finish()
}
