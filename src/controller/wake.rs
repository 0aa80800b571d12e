//! Who has to be reconciled because something it refers to has changed?

use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

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

impl Dependant {
    /// The namespace it lives in; `None` for cluster-scoped objects.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Dependant::Policy(namespace, _) | Dependant::Provider(namespace, _) => Some(namespace),
            Dependant::ClusterProvider(_) => None,
        }
    }
}

/// Wakes objects of each kind; clones share the queues.
#[derive(Clone)]
pub struct Wake {
    policies: UnboundedSender<ObjectRef<PolicyObject>>,
    providers: UnboundedSender<ObjectRef<ProviderObject>>,
    cluster_providers: UnboundedSender<ObjectRef<ClusterProviderObject>>,
}

/// The receiving ends, one for each controller.
pub struct Woken {
    /// Policies to look at.
    pub policies: UnboundedReceiver<ObjectRef<PolicyObject>>,
    /// IdentityProviders to look at.
    pub providers: UnboundedReceiver<ObjectRef<ProviderObject>>,
    /// ClusterIdentityProviders to look at.
    pub cluster_providers: UnboundedReceiver<ObjectRef<ClusterProviderObject>>,
}

impl Wake {
    /// The queues and their receiving ends.
    pub fn queues() -> (Self, Woken) {
        let (policies, woken_policies) = unbounded_channel();
        let (providers, woken_providers) = unbounded_channel();
        let (cluster_providers, woken_cluster_providers) = unbounded_channel();
        (
            Self { policies, providers, cluster_providers },
            Woken {
                policies: woken_policies,
                providers: woken_providers,
                cluster_providers: woken_cluster_providers,
            },
        )
    }

    /// Has `dependant` reconciled soon. A receiver that is gone means that the process is stopping: nothing is owed.
    pub fn wake(&self, dependant: &Dependant) {
        match dependant {
            Dependant::Policy(namespace, name) => {
                let _ = self.policies.send(ObjectRef::new(name).within(namespace));
            }
            Dependant::Provider(namespace, name) => {
                let _ = self.providers.send(ObjectRef::new(name).within(namespace));
            }
            Dependant::ClusterProvider(name) => {
                let _ = self.cluster_providers.send(ObjectRef::new(name));
            }
        }
    }
}

/// A receiver as the stream that a controller takes.
pub fn stream<T: Send + 'static>(receiver: UnboundedReceiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
