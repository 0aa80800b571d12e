//! When is what done, and what does Kubernetes say? One folder per kind, and what the kinds share.
//!
//! | file | what it answers |
//! |---|---|
//! | [`api_server`] | where the API server is, and how it is asked |
//! | [`prepare`], [`run`](mod@run) | starting: what has to be there first; and stopping |
//! | [`leader`] | which process acts, when several run |
//! | [`calls`], [`pulse`] | how calls to the API server are bounded, and whether the watches still hear from it |
//! | [`context`] | what every reconcile can reach |
//! | [`streams`], [`wake`] | which objects are there, and who is looked at again because something else changed |
//! | [`references`] | what the Secrets and ConfigMaps hold that objects refer to |
//! | [`registry`], [`tenant`] | which tenants are connected, and what their objects share |
//! | [`ledger_store`], [`retention`] | where ledgers are kept, and for how long |
//! | [`publish`] | writing status and events |
//! | [`process`] | which process this is, and whether another one still runs |
//! | [`provider`] | the two provider kinds: connect, verify, probe |
//! | [`policy`] | the policy kind: one bounded slice of a campaign for each reconcile |

pub mod api_server;
pub mod calls;
pub mod context;
pub mod credentials;
pub mod leader;
pub mod ledger_store;
pub mod policy;
pub mod prepare;
pub mod process;
pub mod provider;
pub mod publish;
pub mod pulse;
pub mod references;
pub mod registry;
pub mod retention;
pub mod run;
pub mod streams;
pub mod tenant;
pub mod wake;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use streams::Guarded;

pub use run::run;

/// A policy that may not decode.
pub type PolicyObject = Guarded<PasswordResetPolicy>;
/// An IdentityProvider that may not decode.
pub type ProviderObject = Guarded<IdentityProvider>;
/// A ClusterIdentityProvider that may not decode.
pub type ClusterProviderObject = Guarded<ClusterIdentityProvider>;

/// The lock of state that many tasks share. A panic elsewhere has left no half change behind: each change under such a
/// lock is one insert, one removal or one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
