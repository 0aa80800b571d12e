//! The policy kind: every reconcile is one bounded slice of a campaign, and one status patch where something new is said.
//!
//! | file | what it answers |
//! |---|---|
//! | [`dereference`] | what do the objects hold that the policy refers to |
//! | [`runs`] | what is remembered between two slices |
//! | [`slice`] | one slice of work on one target |
//! | [`pass`] | one pass over one target |
//! | [`native`] | one call for everybody, instead of one each |
//! | [`ledger`] | a campaign's records, and where they are stored |
//! | [`gate`], [`confirm`] | may a write still be sent, by the watches and by the API server itself |

pub mod confirm;
pub mod dereference;
pub mod gate;
pub mod ledger;
pub mod native;
pub mod pass;
pub mod runs;
pub mod slice;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use self::runs::{Run, TargetRun};
use self::slice::Policy;
use super::context::Context;
use super::run::Error;
use super::{PolicyObject, publish};
use crate::api::policy_status::PasswordResetPolicyStatus;
use crate::api::{ACCEPT_LEDGER_LOSS_ANNOTATION, PasswordResetPolicy, RECONCILE_ANNOTATION};
use crate::plan::schedule;
use crate::provider::http::Lane;
use crate::status::{self, Difference, PolicyOutcome};

/// How long one slice works at most, so that a suspend, an edit or a delete takes effect at once.
const SLICE: Duration = Duration::from_secs(8);

/// A reconcile token is kept in status up to so many bytes.
const MAX_TOKEN: usize = 1024;

/// Reconciles a policy: one slice.
pub async fn reconcile(object: Arc<PolicyObject>, context: Arc<Context>) -> Result<Action, Error> {
    let policy = match &object.0 {
        Ok(policy) => policy,
        Err(error) => {
            tracing::error!(name = object.name_any(), namespace = object.namespace(), %error, "the policy cannot be decoded and is left alone; check it against the installed CRDs");
            return Ok(Action::await_change());
        }
    };
    if policy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    context.providers_known().await;
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    let mut run = current_run(policy, &context, &namespace, &name).await;
    let worked = work(policy, &mut run, &context, &namespace, &name).await;
    context.runs.put(&namespace, &name, run);
    worked
}

async fn work(
    policy: &PasswordResetPolicy,
    run: &mut Run,
    context: &Arc<Context>,
    namespace: &str,
    name: &str,
) -> Result<Action, Error> {
    let previous = previous_status(policy, run);
    // A new generation is acknowledged before the work begins, which may take a slice or more.
    // What somebody else took out of status was said all the same.
    let said = [previous.as_ref(), run.written.as_ref()];
    let acknowledged = said.into_iter().flatten().any(|status| status.observed_generation == Some(run.generation));
    let settled: Vec<bool> = run.targets.iter().map(|t| t.pass.is_none() && t.complete.is_some()).collect();
    // Taken before anything is waited for: what changes after it closes the gates.
    let objects = context.provider_objects();
    let targets = dereference::dereference(policy, context, &objects, &settled).await;
    let uid = policy.uid().unwrap_or_default();
    let known = previous.clone();
    // Of another generation, status may speak of another tenant or cutoff, which have other records.
    let records_expected = move |target: &str| {
        acknowledged && known.as_ref().is_some_and(|known| status::speaks_of_records(known, target))
    };
    let described = Policy {
        namespace,
        name,
        uid: &uid,
        generation: run.generation,
        token: run.token.as_deref(),
        records_expected: &records_expected,
        accept_ledger_loss: policy.annotations().get(ACCEPT_LEDGER_LOSS_ANNOTATION).is_some_and(|t| !t.is_empty()),
    };
    let deadline = if acknowledged { Instant::now() + SLICE } else { Instant::now() };
    let slices = run.targets.iter_mut().zip(targets).map(|(target_run, mut target)| {
        let named = dereference::naming(&objects, target.tenant_id.as_deref());
        let (members, lists) = (target.members.take(), std::mem::take(&mut target.lists));
        let gate = gate::gate(context, policy, &named, members, lists);
        let described = &described;
        async move { slice::advance(target_run, target, described, context, &gate, deadline).await }
    });
    let lane = Lane::new(
        &format!("{namespace}/{name}"),
        schedule::weight(policy.spec.reason.as_ref().map(|reason| reason.type_)),
    );
    let slices = lane.scope(futures::future::join_all(slices)).await;
    let next = slices.iter().map(|slice| slice.next).min().unwrap_or(schedule::STALLED_RETRY);
    let outcome = PolicyOutcome {
        generation: run.generation,
        mode: policy.spec.mode,
        ready_when: policy.spec.ready_when,
        suspension: gate::policy_suspension(context, policy),
        targets: slices.into_iter().map(|slice| slice.outcome).collect(),
        handled_reconcile: run.obeyed().map(str::to_owned),
    };
    let next = say(policy, run, context, namespace, &outcome, previous.as_ref(), next).await?;
    Ok(Action::requeue(next))
}

/// Reports, writes what is new at the pace it deserves, and returns when to go on.
#[allow(clippy::too_many_arguments)] // one call site; a struct would only repeat the names
async fn say(
    policy: &PasswordResetPolicy,
    run: &mut Run,
    context: &Context,
    namespace: &str,
    outcome: &PolicyOutcome,
    previous: Option<&PasswordResetPolicyStatus>,
    next: Duration,
) -> Result<Duration, Error> {
    let now = Timestamp::now();
    let mut report = status::report(outcome, previous, now);
    let pace = run.written_at.map_or(Duration::ZERO, |at| schedule::COUNTERS_EVERY.saturating_sub(at.elapsed()));
    // Somebody else has changed what we said. It is said again, at the pace of counters and without an event, or two
    // controllers that disagree would go round as fast as the API server lets them.
    let written = run.written.as_ref().filter(|_| report.difference != Difference::None);
    let said_before = written
        .map(|written| status::report(outcome, Some(written), now))
        .filter(|again| again.difference == Difference::None);
    let undone = said_before.is_some();
    if let Some(before) = said_before {
        report.status = before.status;
    }
    let due = match report.difference {
        Difference::None => false,
        Difference::Words => !undone || pace.is_zero(),
        Difference::Counters => pace.is_zero(),
    };
    let mut next = next.min(report.speaks_again.unwrap_or(Duration::MAX));
    if due {
        let api = publish::namespaced::<PasswordResetPolicy>(&context.client, namespace);
        let Some(version) = publish::status(&api, policy, &report.status).await? else { return Ok(next) };
        run.written_version = version.parse().ok();
        run.written = Some(report.status);
        run.written_at = Some(Instant::now());
        if !undone {
            publish::events(context, "PasswordResetPolicy", policy, &report.events).await;
        }
    } else if report.difference != Difference::None {
        next = next.min(pace);
    }
    Ok(next)
}

/// The run of this policy at this generation and token, begun anew where one of them changed.
async fn current_run(policy: &PasswordResetPolicy, context: &Context, namespace: &str, name: &str) -> Run {
    let (uid, generation) = (policy.uid().unwrap_or_default(), policy.metadata.generation.unwrap_or_default());
    let token = policy.annotations().get(RECONCILE_ANNOTATION).map(|token| status::cut(token, MAX_TOKEN).to_owned());
    let before = context.runs.take(namespace, name);
    let mut run = match before {
        Some(run) if run.uid == uid && run.generation == generation => run,
        before => {
            let mut before = before;
            for target in before.iter_mut().flat_map(|run| &mut run.targets) {
                target.put_down().await;
            }
            // What was written last is still true of the object, whatever the store shows.
            let same = before.filter(|run| run.uid == uid);
            let first = same.is_none();
            let mut run = Run {
                written_version: same.as_ref().and_then(|run| run.written_version),
                written: same.and_then(|run| run.written),
                uid,
                generation,
                token: token.clone(),
                ..Run::default()
            };
            run.targets = policy.spec.targets.iter().map(|_| TargetRun::default()).collect();
            // Those that had a complete pass are looked at after a random part of their period, so that a restart is no
            // wave of calls.
            if let (true, Some(status)) = (first, &policy.status) {
                let settled = status::settled_before(&policy.spec, status, generation, run.token.as_deref());
                for (target, settled) in run.targets.iter_mut().zip(settled) {
                    target.settled_before = settled;
                }
            }
            run
        }
    };
    if run.token != token {
        run.token = token;
        for target in &mut run.targets {
            target.put_down().await;
            target.restart();
        }
    }
    run
}

/// The status that the next report is compared with: what was written last, where the store still shows an older object.
fn previous_status(policy: &PasswordResetPolicy, run: &Run) -> Option<PasswordResetPolicyStatus> {
    let stored = policy.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    match (stored, run.written_version) {
        (Some(stored), Some(written)) if stored < written => run.written.clone(),
        _ => policy.status.clone(),
    }
}
