//! What a policy remembers between two reconciles. All of it is safe to lose: the ledger and the providers hold the rest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::ledger::CampaignLedger;
use super::pass::Pass;
use crate::api::identity_provider::Access;
use crate::plan::desired::{Desired, SelectedKey};
use crate::plan::failure::Stop;
use crate::plan::tally::Tally;

/// One policy at one generation.
#[derive(Default)]
pub struct Run {
    /// UID, so that a policy that was deleted and created anew starts afresh.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// The reconcile token that the latest passes obey.
    pub token: Option<String>,
    /// Each target, in the order of the spec.
    pub targets: Vec<TargetRun>,
    /// The resource version that the last status write gave, to tell an older object in the store.
    pub written_version: Option<u64>,
    /// What was written then.
    pub written: Option<crate::api::policy_status::PasswordResetPolicyStatus>,
    /// When that was, for the pace of counters.
    pub written_at: Option<Instant>,
}

/// One target of a run.
#[derive(Default)]
pub struct TargetRun {
    /// What the running or last pass was asked to do; a change begins a new one.
    pub desired: Option<Desired>,
    /// The same for what the provider objects of the tenant say: who is protected, and whether anything may be written.
    pub granted: Option<(Vec<SelectedKey>, Access)>,
    /// The pass that runs.
    pub pass: Option<Box<Pass>>,
    /// The campaign's ledger, once it was read.
    pub ledger: Option<CampaignLedger>,
    /// What the last complete pass found.
    pub complete: Option<Tally>,
    /// When the next pass is due; `None` means now.
    pub next_look: Option<Instant>,
    /// Why the last attempt stopped.
    pub stop: Option<Stop>,
    /// Failed attempts in a row, for the pause before the next one.
    pub failures: u32,
}

impl TargetRun {
    /// Begins a new pass at the next slice.
    pub fn restart(&mut self) {
        self.pass = None;
        self.next_look = None;
        self.stop = None;
        self.failures = 0;
    }
}

/// The runs of all policies, by namespace and name.
#[derive(Default)]
pub struct Runs(Mutex<HashMap<(String, String), Run>>);

impl Runs {
    /// Takes a policy's run out; one policy is never reconciled twice at once, so nobody else misses it.
    pub fn take(&self, namespace: &str, name: &str) -> Option<Run> {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()))
    }

    /// Puts it back.
    pub fn put(&self, namespace: &str, name: &str, run: Run) {
        self.lock().insert((namespace.to_owned(), name.to_owned()), run);
    }

    /// Forgets policies that `exists` does not know any more.
    pub fn retain(&self, exists: impl Fn(&str, &str) -> bool) {
        self.lock().retain(|(namespace, name), _| exists(namespace, name));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Run>> {
        // Each change is one insert or remove: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
