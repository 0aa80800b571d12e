//! What do the Secrets and ConfigMaps that objects refer to hold right now?
//!
//! One watch by name for each distinct object, shared by all that refer to it, so that the roles can grant single
//! objects (`resourceNames`) and a rotation takes effect at once. Whoever refers to an object is woken when it changes.
//! A refusal by the API server is tried again every 30 s, since a grant raises no event.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::streams::{self, Watching};
use super::wake::{Dependant, Wake};
use super::{calls, locked};
use crate::plan::schedule::FORBIDDEN_RETRY;

/// How long a first answer is waited for before an object counts as not known yet.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Kind of an object that is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl Kind {
    /// The kind as Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
        }
    }

    /// The resource as `kubectl` and roles spell it.
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Secret => "secrets",
            Kind::ConfigMap => "configmaps",
        }
    }
}

/// One object that is referred to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace: always that of the object that refers to it, or the operator's own.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The content of a Secret or ConfigMap. Its `Debug` prints no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Values by key.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("keys", &self.data.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The API server has not answered yet.
    NotYet,
    /// There is no such object.
    Absent,
    /// The operator may not read it.
    Forbidden,
    /// It is there.
    Present(Arc<Content>),
}

/// A reading of a watched object, for asking later whether the watch has brought anything else since.
#[derive(Clone)]
pub struct AsRead(watch::Receiver<Seen>);

impl AsRead {
    /// Whether it is still what was read. A watch that has ended is one that nobody needs any more.
    pub fn is_current(&self) -> bool {
        !self.0.has_changed().unwrap_or(false)
    }
}

struct Followed {
    seen: watch::Receiver<Seen>,
    dependants: Arc<Mutex<HashSet<Dependant>>>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All watches by name of this process.
pub struct References {
    watching: Watching,
    wake: Wake,
    followed: Mutex<HashMap<Reference, Followed>>,
}

impl References {
    /// No watch yet.
    pub fn new(watching: Watching, wake: Wake) -> Self {
        Self { watching, wake, followed: Mutex::default() }
    }

    /// What `reference` holds now, and a way to ask whether it still does. Starts its watch if need be, waits a few seconds
    /// for the first answer, and wakes `dependant` on every change from now on.
    pub async fn read(&self, reference: &Reference, dependant: &Dependant) -> (Seen, AsRead) {
        let mut seen = {
            let mut followed = locked(&self.followed);
            let entry = followed.entry(reference.clone()).or_insert_with(|| self.follow(reference));
            locked(&entry.dependants).insert(dependant.clone());
            entry.seen.clone()
        };
        let content = match tokio::time::timeout(FIRST_ANSWER, seen.wait_for(|s| *s != Seen::NotYet)).await {
            Ok(Ok(seen)) => seen.clone(),
            _ => Seen::NotYet,
        };
        (content, AsRead(seen))
    }

    /// Forgets that `dependant` refers to anything but `kept`, and ends watches that nobody needs any more.
    pub fn retain(&self, dependant: &Dependant, kept: &HashSet<Reference>) {
        locked(&self.followed).retain(|reference, followed| {
            let mut dependants = locked(&followed.dependants);
            if !kept.contains(reference) {
                dependants.remove(dependant);
            }
            !dependants.is_empty()
        });
    }

    /// Forgets dependants that `exists` does not know any more, and ends watches that nobody needs.
    pub fn retain_dependants(&self, exists: impl Fn(&Dependant) -> bool) {
        locked(&self.followed).retain(|_, followed| {
            let mut dependants = locked(&followed.dependants);
            dependants.retain(&exists);
            !dependants.is_empty()
        });
    }

    /// How many user lists are watched, credentials not counted.
    pub fn watched_lists(&self) -> usize {
        let is_list =
            |followed: &&Followed| locked(&followed.dependants).iter().any(|d| matches!(d, Dependant::Policy(..)));
        locked(&self.followed).values().filter(is_list).count()
    }

    fn follow(&self, reference: &Reference) -> Followed {
        let (tx, seen) = watch::channel(Seen::NotYet);
        let dependants = Arc::new(Mutex::new(HashSet::new()));
        let publish = Publish { tx, dependants: dependants.clone(), wake: self.wake.clone() };
        let Reference { kind, namespace, name } = reference.clone();
        // The pulse ends with the client, and so with the task.
        let client = calls::noted(&self.watching.client, &self.watching.pulses.begin(kind.name()));
        let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(self.watching.seconds);
        let task = match kind {
            Kind::Secret => {
                let api = Api::<Secret>::namespaced(client, &namespace);
                tokio::spawn(follow(api, config, publish, secret_content))
            }
            Kind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client, &namespace);
                tokio::spawn(follow(api, config, publish, config_map_content))
            }
        };
        Followed { seen, dependants, task }
    }
}

/// Reads an object once, without a watch.
pub async fn read_once(client: &Client, reference: &Reference) -> Result<Seen, kube::Error> {
    let Reference { kind, namespace, name } = reference;
    let found = match kind {
        Kind::Secret => {
            Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await.map(|o| o.map(secret_content))
        }
        Kind::ConfigMap => Api::<ConfigMap>::namespaced(client.clone(), namespace)
            .get_opt(name)
            .await
            .map(|o| o.map(config_map_content)),
    };
    match found {
        Ok(Some(content)) => Ok(Seen::Present(Arc::new(content))),
        Ok(None) => Ok(Seen::Absent),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Seen::Forbidden),
        Err(error) => Err(error),
    }
}

struct Publish {
    tx: watch::Sender<Seen>,
    dependants: Arc<Mutex<HashSet<Dependant>>>,
    wake: Wake,
}

impl Publish {
    fn say(&self, seen: Seen) {
        let changed = self.tx.send_if_modified(|old| {
            let changed = *old != seen;
            *old = seen;
            changed
        });
        if changed {
            for dependant in locked(&self.dependants).iter() {
                self.wake.wake(dependant);
            }
        }
    }
}

/// How long a watch that is refused takes to say so.
const WATCH_BEGINS: Duration = Duration::from_secs(2);

async fn follow<K>(api: Api<K>, config: watcher::Config, publish: Publish, content: fn(K) -> Content)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut events = streams::events(api, config).boxed();
    let (mut listed, mut was_forbidden, mut held) = (None, false, None);
    loop {
        // Who was forbidden may list and still not watch: what is listed counts when the watch has begun as well.
        let event = match held.take() {
            None => events.next().await,
            Some(seen) => match tokio::time::timeout(WATCH_BEGINS, events.next()).await {
                Ok(Some(Err(error))) if is_forbidden(&error) => Some(Err(error)),
                begun => {
                    was_forbidden = false;
                    publish.say(seen);
                    let Ok(event) = begun else { continue };
                    event
                }
            },
        };
        let Some(event) = event else { return };
        match event {
            Ok(Event::Init) => listed = None,
            Ok(Event::InitApply(object)) => listed = Some(object),
            Ok(Event::InitDone) => {
                let seen = listed.take().map_or(Seen::Absent, |o| Seen::Present(Arc::new(content(o))));
                if was_forbidden {
                    held = Some(seen);
                } else {
                    publish.say(seen);
                }
            }
            Ok(Event::Apply(object)) => publish.say(Seen::Present(Arc::new(content(object)))),
            Ok(Event::Delete(_)) => publish.say(Seen::Absent),
            Err(error) if is_forbidden(&error) => {
                was_forbidden = true;
                publish.say(Seen::Forbidden);
                tokio::time::sleep(FORBIDDEN_RETRY).await;
            }
            // What was seen last stays: an API server that is away says nothing about the object.
            Err(error) => tracing::debug!(%error, "the watch of a referenced object failed and is begun anew"),
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use kube::Error::Api;
    match error {
        watcher::Error::InitialListFailed(Api(status))
        | watcher::Error::WatchStartFailed(Api(status))
        | watcher::Error::WatchFailed(Api(status)) => status.is_forbidden(),
        watcher::Error::WatchError(status) => status.is_forbidden(),
        _ => false,
    }
}

fn secret_content(secret: Secret) -> Content {
    Content {
        labels: secret.labels().clone(),
        annotations: secret.annotations().clone(),
        data: secret.data.unwrap_or_default().into_iter().map(|(key, ByteString(value))| (key, value)).collect(),
    }
}

fn config_map_content(map: ConfigMap) -> Content {
    let (labels, annotations) = (map.labels().clone(), map.annotations().clone());
    let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, ByteString(value))| (key, value));
    Content { labels, annotations, data: text.chain(binary).collect() }
}
