//! One stream of objects of a kind over all namespaces that are served.
//!
//! Each watch has its own pace: one that fails rests longer each time, and holds up nobody but itself.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use kube::core::{ClusterResourceScope, DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::calls;
use super::pulse::Pulses;

/// The longest rest of a watch that fails, so that it is back soon after whatever was wrong is mended.
const LONGEST_REST: Duration = Duration::from_secs(20);
/// Seconds that a watch lasts where nothing else is asked for (kube 5.0).
const LONGEST_WATCH: u32 = 290;
/// Objects per page of a list.
const PAGE: u32 = 200;
/// How often a watch goes on from where the one before it ended until everything is listed anew. An event that was lost is
/// told by no later watch, and by no look at an object that nobody knows of.
const WATCHES_PER_LIST: u32 = 12;

/// An object that may not decode: one bad object never stops the others.
pub type Guarded<K> = DeserializeGuard<K>;

/// What every watch needs.
#[derive(Clone)]
pub struct Watching {
    /// The API server.
    pub client: Client,
    /// Seconds after which the API server ends a watch and it is begun anew: at most so long, and 5 s, a connection can
    /// be dead without being noticed.
    pub seconds: u32,
    /// Where answers are noted.
    pub pulses: Pulses,
}

/// The rests of a watch that fails: kube's own, which grow and differ by chance, but none longer than [`LONGEST_REST`].
#[derive(Default)]
struct Rests(watcher::DefaultBackoff);

impl Iterator for Rests {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|rest| rest.min(LONGEST_REST))
    }
}

impl Backoff for Rests {
    /// Nothing: it is called for every event, and a watcher (kube 5.0) says that a list begins before the list fails, so
    /// that the rests would never grow. They start anew by themselves after two minutes without a failure.
    fn reset(&mut self) {}
}

/// One watch of a kind: the stream of what has changed, and the store that polling it fills.
pub struct Part<K: Resource<DynamicType = ()> + 'static> {
    /// The namespace that is watched; `None` for all, and for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// What is there.
    pub store: reflector::Store<Guarded<K>>,
    /// Whether the first list is in the store.
    listed: watch::Receiver<bool>,
    /// What has changed; the store shows it by then. What a new list has not and the one before had counts: nobody else
    /// tells that it was deleted. A list that follows a failure counts as a change of everything.
    pub changed: BoxStream<'static, ObjectRef<Guarded<K>>>,
}

/// The objects of one kind, whichever watch they came by.
pub struct Stores<K: Resource<DynamicType = ()> + 'static>(Vec<Watched<K>>);

/// A store, and whether it holds the first list.
type Watched<K> = (reflector::Store<Guarded<K>>, watch::Receiver<bool>);

impl<K: Resource<DynamicType = ()> + Clone + 'static> Clone for Stores<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Stores<K> {
    /// The object with this name, if it is there.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<Guarded<K>>> {
        let mut key = reflector::ObjectRef::<Guarded<K>>::new(name);
        if let Some(namespace) = namespace {
            key = key.within(namespace);
        }
        self.0.iter().find_map(|(store, _)| store.get(&key))
    }

    /// Every object, also one that does not decode.
    pub fn all(&self) -> impl Iterator<Item = Arc<Guarded<K>>> {
        self.0.iter().flat_map(|(store, _)| store.state())
    }

    /// Waits for the first list of every watch.
    ///
    /// Not by `Store::wait_until_ready`: of several waiters it wakes the last one only (kube 5.0), and each controller
    /// waits for its own store.
    pub async fn ready(&self) {
        for (_, listed) in &self.0 {
            // The sender is gone only when the process is stopping.
            let _ = listed.clone().wait_for(|listed| *listed).await;
        }
    }
}

/// Watches a namespaced kind, with one watch for each of `namespaces`; an empty list means one watch over all.
///
/// Each watch has its own store, since the list of one namespace must not remove the objects of another.
pub fn namespaced<K>(watching: &Watching, namespaces: &[String]) -> (Stores<K>, Vec<Part<K>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let parts = if namespaces.is_empty() {
        vec![part(watching, Api::all, None)]
    } else {
        namespaces.iter().map(|n| part(watching, |client| Api::namespaced(client, n), Some(n.clone()))).collect()
    };
    (Stores(parts.iter().map(Part::watched).collect()), parts)
}

/// Watches a cluster-scoped kind.
pub fn cluster<K>(watching: &Watching) -> (Stores<K>, Part<K>)
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let part = part(watching, Api::all, None);
    (Stores(vec![part.watched()]), part)
}

/// The events of one watch, each failure followed by a rest.
///
/// A watcher (kube 5.0) lists anew when it is told in an event that its version has expired, and goes on asking for the
/// same version when it is told so by the answer's status. Here both begin with a new list, and so does a watch that was
/// forbidden: a grant raises no event, so that only a list tells that what was said to be forbidden is there. After
/// [`WATCHES_PER_LIST`] watches it begins with a new list in any case.
pub fn events<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let period = Duration::from_secs(config.timeout.unwrap_or(LONGEST_WATCH).into()) * WATCHES_PER_LIST;
    let begin = move || (watcher(api.clone(), config.clone()).boxed(), Instant::now() + period);
    futures::stream::unfold((begin(), begin), move |((mut events, mut list_at), begin)| async move {
        let event = loop {
            // The time is compared first: a watch that always has an event at hand is never too late for `timeout_at`.
            let next = if Instant::now() < list_at { timeout_at(list_at, events.next()).await.ok() } else { None };
            match next {
                Some(event) => break event?,
                None => (events, list_at) = begin(),
            }
        };
        // A list has all the time that it needs.
        if let Ok(Event::Init | Event::InitApply(_)) = &event {
            list_at = Instant::now() + period;
        }
        if let Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) = &event
            && (status.code == 410 || status.is_forbidden())
        {
            (events, list_at) = begin();
        }
        Some((event, ((events, list_at), begin)))
    })
    .boxed()
    .backoff(Rests::default())
}

fn part<K>(watching: &Watching, api: impl Fn(Client) -> Api<Guarded<K>>, namespace: Option<String>) -> Part<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&());
    let pulse = watching.pulses.begin(match kind {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "objects",
    });
    let api = api(calls::noted(&watching.client, &pulse));
    let config = watcher::Config::default().timeout(watching.seconds).page_size(PAGE);
    let (store, writer) = reflector::store();
    let events = events(api, config).map_ok(|event| match event {
        Event::Apply(object) => Event::Apply(pruned(object)),
        Event::InitApply(object) => Event::InitApply(pruned(object)),
        other => other,
    });
    let (listing, listed) = watch::channel(false);
    // What comes out of the reflector is in the store already, and of a new list when the list has ended.
    let stored = reflector::reflector(writer, events);
    let (there, mut differing, mut has_failed) = (store.clone(), HashSet::new(), false);
    let changed = stored
        .filter_map(move |event| {
            ready(match event {
                Ok(Event::Init) => {
                    differing = there.state().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
                    None
                }
                // Until a list has ended, the store holds the one before it.
                Ok(Event::InitApply(object)) => {
                    let key = ObjectRef::from_obj(&object);
                    if !has_failed && there.get(&key).is_some_and(|before| is_same_version(&before, &object)) {
                        differing.remove(&key);
                    } else {
                        differing.insert(key);
                    }
                    None
                }
                Ok(Event::InitDone) => {
                    has_failed = false;
                    listing.send_replace(true);
                    Some(std::mem::take(&mut differing))
                }
                Ok(Event::Apply(object) | Event::Delete(object)) => Some([ObjectRef::from_obj(&object)].into()),
                Err(error) => {
                    has_failed = true;
                    tracing::debug!(kind = K::kind(&()).as_ref(), %error, "a watch failed and is begun anew");
                    None
                }
            })
        })
        .flat_map(futures::stream::iter)
        .boxed();
    // The pulse ends with the client of the watch, which the stream holds.
    Part { namespace, store, listed, changed }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Part<K> {
    fn watched(&self) -> Watched<K> {
        (self.store.clone(), self.listed.clone())
    }
}

/// Whether two readings of an object show the same version of the same object.
fn is_same_version<K: Resource<DynamicType = ()>>(before: &Guarded<K>, now: &Guarded<K>) -> bool {
    now.resource_version().is_some() && before.resource_version() == now.resource_version() && before.uid() == now.uid()
}

/// Managed fields are half of an object's memory and nobody here reads them.
fn pruned<K: Resource<DynamicType = ()>>(mut object: Guarded<K>) -> Guarded<K> {
    object.managed_fields_mut().clear();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_keeps_failing_rests_longer_and_never_too_long() {
        let mut rests = Rests::default();
        let taken: Vec<Duration> = (0..12)
            .map(|_| {
                rests.reset();
                rests.next().expect("it is never given up")
            })
            .collect();
        assert!(taken[0] < Duration::from_secs(2), "{taken:?}");
        assert!(taken[6..].iter().all(|rest| *rest == LONGEST_REST), "{taken:?}");
    }
}
