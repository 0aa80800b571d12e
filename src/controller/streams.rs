//! One stream of objects of a kind over all namespaces that are served.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::core::{ClusterResourceScope, DeserializeGuard, NamespaceResourceScope};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Seconds after which the API server ends a watch, so that a dead connection is noticed within a minute.
const WATCH_SECONDS: u32 = 45;
/// Objects per page of a list.
const PAGE: u32 = 200;

/// An object that may not decode: one bad object never stops the others.
pub type Guarded<K> = DeserializeGuard<K>;

/// One watch of a kind: the stream of what has been touched, and the store that polling it fills.
pub struct Part<K: Resource<DynamicType = ()> + 'static> {
    /// The namespace that is watched; `None` for all, and for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// What is there.
    pub store: reflector::Store<Guarded<K>>,
    /// Whether the first list is in the store.
    listed: watch::Receiver<bool>,
    /// What has been touched.
    pub touched: BoxStream<'static, Result<Guarded<K>, watcher::Error>>,
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
    /// The object with this name, if it is there and decodes.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<std::sync::Arc<Guarded<K>>> {
        let mut key = reflector::ObjectRef::<Guarded<K>>::new(name);
        if let Some(namespace) = namespace {
            key = key.within(namespace);
        }
        self.0.iter().find_map(|(store, _)| store.get(&key))
    }

    /// Every object that decodes.
    pub fn all(&self) -> Vec<K> {
        self.0.iter().flat_map(|(store, _)| store.state()).filter_map(|o| o.0.as_ref().ok().cloned()).collect()
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
pub fn namespaced<K>(client: &Client, namespaces: &[String]) -> (Stores<K>, Vec<Part<K>>)
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
        vec![part(Api::all(client.clone()), None)]
    } else {
        namespaces.iter().map(|n| part(Api::namespaced(client.clone(), n), Some(n.clone()))).collect()
    };
    (Stores(parts.iter().map(Part::watched).collect()), parts)
}

/// Watches a cluster-scoped kind.
pub fn cluster<K>(client: &Client) -> (Stores<K>, Part<K>)
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let part = part(Api::all(client.clone()), None);
    (Stores(vec![part.watched()]), part)
}

fn part<K>(api: Api<Guarded<K>>, namespace: Option<String>) -> Part<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let (store, writer) = reflector::store();
    let events = watcher(api, config).map_ok(|event| match event {
        Event::Apply(object) => Event::Apply(pruned(object)),
        Event::InitApply(object) => Event::InitApply(pruned(object)),
        other => other,
    });
    let (listing, listed) = watch::channel(false);
    // What comes out of the reflector is in the store already.
    let stored = reflector::reflector(writer, events).inspect_ok(move |event| {
        if matches!(event, Event::InitDone) {
            listing.send_replace(true);
        }
    });
    let touched = stored.default_backoff().touched_objects().boxed();
    Part { namespace, store, listed, touched }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Part<K> {
    fn watched(&self) -> Watched<K> {
        (self.store.clone(), self.listed.clone())
    }
}

/// Managed fields are half of an object's memory and nobody here reads them.
fn pruned<K: Resource<DynamicType = ()>>(mut object: Guarded<K>) -> Guarded<K> {
    object.managed_fields_mut().clear();
    object
}
