//! What a policy remembers between two reconciles. All of it is safe to lose: the ledger and the providers hold the rest.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::time::Instant;

use super::ledger::CampaignLedger;
use super::pass::Pass;
use crate::api::identity_provider::Access;
use crate::controller::locked;
use crate::plan::desired::{Desired, SelectedKey};
use crate::plan::failure::{ProviderFault, Stop};
use crate::plan::suspension::Suspension;
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

/// What a pass was asked to do. Whatever changes in it begins a new pass at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is wanted.
    pub desired: Desired,
    /// Whom the tenant protects.
    pub protected: Option<Vec<SelectedKey>>,
    /// Whether the provider may be written to.
    pub access: Access,
    /// How often it is to be looked at: what was planned by another period is planned anew.
    pub observe_period_seconds: Option<i32>,
    /// What suspends the target.
    pub suspension: Option<Suspension>,
    /// The tenant: an object that was deleted and created anew may name another one.
    pub tenant: String,
    /// Whether a human has accepted that records are lost.
    pub accept_ledger_loss: bool,
}

/// A fault that the passes of one target meet.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Which.
    pub fault: ProviderFault,
    /// What the provider said, in our words.
    pub message: String,
    /// When it was met first.
    pub since: Timestamp,
    /// How often it was met in a row, with nothing that ended it in between.
    pub met: u32,
    /// What the last pass had found when it met it.
    pub found: Option<Tally>,
    /// Nothing is tried before, whoever wakes the policy.
    pub until: Instant,
}

impl Trouble {
    /// Whether it lasts until a pass is complete: of a right that is lacking or an answer that cannot be read, the answers
    /// before it say nothing. Any other fault would show in each of them.
    pub fn outlives_progress(&self) -> bool {
        matches!(self.fault, ProviderFault::PermissionDenied | ProviderFault::ResponseInvalid)
    }
}

/// One target of a run.
#[derive(Default)]
pub struct TargetRun {
    /// What the running or last pass was asked to do.
    pub asked: Option<Asked>,
    /// An earlier process has ended a pass at this generation: the first one of this process has time.
    pub settled_before: bool,
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
    /// Stops in a row that a human must end.
    pub stops: u32,
    /// The fingerprint of the connection that it was worked on with last: another credential is tried at once.
    pub connection: Option<u64>,
    /// Failed attempts in a row, for the pause before the next one.
    pub failures: u32,
    /// What keeps passes from going on although the tenant may look well to a probe.
    pub trouble: Option<Trouble>,
    /// Whether the provider refuses to end sessions; not asked again until an edit or a new token.
    pub sessions_refused: bool,
    /// Complete passes in a row that left accounts to causes that may pass.
    pub retries: u32,
    /// Whether a pass has ended since this run began or its token changed, or something that a human must correct
    /// keeps it from beginning.
    pub looked: bool,
}

impl TargetRun {
    /// Ends the running pass: closes its open batch and stores what is not stored. Where that fails, unsent intents are
    /// read again before anything is sent.
    pub async fn put_down(&mut self) {
        if let (Some(mut pass), Some(ledger)) = (self.pass.take(), &mut self.ledger)
            && let Err(error) = pass.close(ledger).await
        {
            tracing::warn!(%error, "a batch could not be closed; its accounts are read before anything is sent");
            self.ledger = None;
        }
    }

    /// Keeps the running pass for later, its open batch closed and everything stored. Where that fails, it is ended.
    pub async fn rest(&mut self) {
        if let (Some(pass), Some(ledger)) = (&mut self.pass, &mut self.ledger)
            && let Err(error) = pass.close(ledger).await
        {
            tracing::warn!(%error, "a batch could not be closed; its accounts are read before anything is sent");
            (self.pass, self.ledger) = (None, None);
        }
    }

    /// Begins a new pass at the next slice.
    pub fn restart(&mut self) {
        self.pass = None;
        self.next_look = None;
        self.stop = None;
        self.failures = 0;
        self.stops = 0;
        self.trouble = None;
        self.sessions_refused = false;
        self.retries = 0;
        self.looked = false;
    }
}

impl Run {
    /// The token that is obeyed: every target was looked at since it was given. Said any earlier, a restart in between
    /// would take it for done, and the look would be lost.
    pub fn obeyed(&self) -> Option<&str> {
        self.token.as_deref().filter(|_| self.targets.iter().all(|target| target.looked))
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

    /// Ends all passes, when the process stops: nobody may come back to their open batches for long.
    pub async fn put_down(&self) {
        let runs = std::mem::take(&mut *self.lock());
        for target in runs.into_values().flat_map(|run| run.targets) {
            { target }.put_down().await;
        }
    }

    /// Ends the passes of policies that `exists` does not know any more, and forgets these.
    pub async fn retain(&self, exists: impl Fn(&str, &str) -> bool) {
        let gone: Vec<Run> = {
            let mut runs = self.lock();
            runs.extract_if(|(namespace, name), _| !exists(namespace, name)).map(|(_, run)| run).collect()
        };
        for target in gone.into_iter().flat_map(|run| run.targets) {
            { target }.put_down().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Run>> {
        locked(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(looked: &[bool]) -> Run {
        let targets = looked.iter().map(|&looked| TargetRun { looked, ..TargetRun::default() }).collect();
        Run { token: Some("now".to_owned()), targets, ..Run::default() }
    }

    #[test]
    fn a_token_is_obeyed_once_every_target_was_looked_at() {
        assert_eq!(run(&[true, false]).obeyed(), None);
        assert_eq!(run(&[true, true]).obeyed(), Some("now"));
        assert_eq!(Run { token: None, ..run(&[true]) }.obeyed(), None);
    }

    #[test]
    fn a_new_pass_has_not_looked_yet() {
        let mut run = run(&[true]);
        run.targets.iter_mut().for_each(TargetRun::restart);
        assert_eq!(run.obeyed(), None);
    }
}
