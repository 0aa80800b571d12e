//! Who has to be reconciled because something it refers to has changed?

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{ClusterProviderObject, PolicyObject, ProviderObject};

/// An object that refers to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependant {
    /// A policy: namespace and name.
    Policy(String, String),
    /// An IdentityProvider: namespace and name.
    Provider(String, String),
    /// A ClusterIdentityProvider: name.
    ClusterProvider(String),
}

/// A queue of one controller, and the namespace it serves (`None`: all).
struct Queue<K: kube::Resource<DynamicType = ()> + 'static> {
    namespace: Option<String>,
    sender: UnboundedSender<ObjectRef<K>>,
}

impl<K: kube::Resource<DynamicType = ()> + 'static> Queue<K> {
    fn send(&self, object: ObjectRef<K>) {
        if self.namespace.is_none() || self.namespace == object.namespace {
            // A receiver that is gone means that the process is stopping: nothing is owed.
            let _ = self.sender.send(object);
        }
    }
}

#[derive(Default)]
struct Queues {
    policies: Vec<Queue<PolicyObject>>,
    providers: Vec<Queue<ProviderObject>>,
    cluster_providers: Vec<Queue<ClusterProviderObject>>,
}

/// Wakes objects of each kind; clones share the queues.
#[derive(Clone)]
pub struct Wake(Arc<Queues>);

/// Makes the queues before the controllers that empty them.
#[derive(Default)]
pub struct WakeBuilder(Queues);

fn queue<K>(queues: &mut Vec<Queue<K>>, namespace: Option<String>) -> BoxStream<'static, ObjectRef<K>>
where
    K: kube::Resource<DynamicType = ()> + 'static,
{
    let (sender, receiver) = unbounded_channel();
    queues.push(Queue { namespace, sender });
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
        .boxed()
}

impl WakeBuilder {
    /// The queue of a controller of policies.
    pub fn policies(&mut self, namespace: Option<String>) -> BoxStream<'static, ObjectRef<PolicyObject>> {
        queue(&mut self.0.policies, namespace)
    }

    /// The queue of a controller of IdentityProviders.
    pub fn providers(&mut self, namespace: Option<String>) -> BoxStream<'static, ObjectRef<ProviderObject>> {
        queue(&mut self.0.providers, namespace)
    }

    /// The queue of the controller of ClusterIdentityProviders.
    pub fn cluster_providers(&mut self) -> BoxStream<'static, ObjectRef<ClusterProviderObject>> {
        queue(&mut self.0.cluster_providers, None)
    }

    /// Whatever wakes.
    pub fn build(self) -> Wake {
        Wake(Arc::new(self.0))
    }
}

impl Wake {
    /// Has `dependant` reconciled soon.
    pub fn wake(&self, dependant: &Dependant) {
        match dependant {
            Dependant::Policy(namespace, name) => {
                self.0.policies.iter().for_each(|q| q.send(ObjectRef::new(name).within(namespace)));
            }
            Dependant::Provider(namespace, name) => {
                self.0.providers.iter().for_each(|q| q.send(ObjectRef::new(name).within(namespace)));
            }
            Dependant::ClusterProvider(name) => {
                self.0.cluster_providers.iter().for_each(|q| q.send(ObjectRef::new(name)));
            }
        }
    }
}
