//! One bounded slice of work on one target: begin or go on with a pass, and say how it stands.

mod ended;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::confirm::Confirm;
use super::dereference::{self, Ready, State, Target};
use super::ledger::{CampaignLedger, LoadError};
use super::native;
use super::pass::{Halt, Pass, Progress, Work};
use super::runs::{Asked, TargetRun, Trouble};
use crate::api::Reason;
use crate::api::password_reset_policy::Strategy;
use crate::controller::context::Context;
use crate::plan::clocks::effective_cutoff;
use crate::plan::decide::Rules;
use crate::plan::desired::Requirement;
use crate::plan::failure::{Health, ProviderFault, Stop};
use crate::plan::guard::{self, Permission, Situation};
use crate::plan::ledger::{CampaignKey, refusal_tag};
use crate::plan::observed::{Enforceable, Tenant};
use crate::plan::schedule;
use crate::plan::suspension::Suspension;
use crate::provider::Gate;
use crate::status::TargetOutcome;

/// A verification that is younger serves a pass as well as a new one.
const VERIFIED_RECENTLY: Duration = Duration::from_secs(60);
/// How long a pass is kept while the tenant does not answer. Whoever is protected or excluded is asked for at its
/// beginning, so after a long outage a new one begins.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The rest where something has changed under a slice that the next reconcile knows.
const UNKNOWN_REST: Duration = Duration::from_secs(1);

/// What a slice needs to know about its policy.
pub struct Policy<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Its generation.
    pub generation: i64,
    /// Its reconcile token.
    pub token: Option<&'a str>,
    /// Whether status speaks of accounts that were required, by target name.
    pub records_expected: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a human has accepted that records are lost.
    pub accept_ledger_loss: bool,
}

/// How a target stands after a slice, and when to go on.
pub struct Slice {
    /// For the report.
    pub outcome: TargetOutcome,
    /// When there is something to do again; zero means at once.
    pub next: Duration,
}

/// Works on one target until `deadline`.
pub async fn advance(
    run: &mut TargetRun,
    target: Target,
    policy: &Policy<'_>,
    context: &Arc<Context>,
    gate: &Gate,
    deadline: Instant,
) -> Slice {
    let Target { name, provider, tenant_id: _, health, suspension, lists: _, members: _, state } = target;
    let mut outcome = TargetOutcome { name, provider, health, suspension, stop: None, running: None, complete: None };
    let next = match state {
        State::NotYet => {
            run.put_down().await;
            run.looked |= waits_for_a_human(&outcome.health);
            Duration::from_secs(60)
        }
        State::Stop(stop) => {
            run.put_down().await;
            run.looked = true;
            // As soon as it is corrected there is something to look at, whatever an earlier process had settled.
            run.settled_before = false;
            outcome.stop = Some(stop);
            schedule::STALLED_RETRY
        }
        State::Ready(ready) => {
            let asked = Asked {
                desired: ready.desired.clone(),
                protected: ready.protected.clone(),
                access: ready.spec.access,
                observe_period_seconds: ready.spec.observe_period_seconds,
                suspension: outcome.suspension.clone(),
                tenant: ready.connection.tenant.id.clone(),
                accept_ledger_loss: policy.accept_ledger_loss,
            };
            if run.asked.as_ref() != Some(&asked) {
                run.put_down().await;
                run.restart();
                run.asked = Some(asked);
            }
            let driver = Driver { ready: &ready, policy, context, gate };
            let next = driver.drive(run, &outcome, deadline).await;
            outcome.stop = run.stop.clone();
            if let Some(entry) = context.registry.get(&ready.id) {
                outcome.health = entry.health;
            }
            // A probe asks less than a pass: that it is answered well ends no trouble that each pass meets.
            if let (Health::Ready, Some(trouble)) = (&outcome.health, &run.trouble) {
                let Trouble { fault, message, since, .. } = trouble.clone();
                outcome.health = Health::NotReady { fault, message, since };
            }
            next
        }
    };
    let found_before = || run.trouble.as_ref()?.found.clone();
    outcome.running = run.pass.as_ref().map(|pass| pass.tally()).or_else(found_before);
    outcome.complete = run.complete.clone();
    Slice { outcome, next }
}

/// Whether nothing can be looked at until a human has mended the provider object or its tenant.
fn waits_for_a_human(health: &Health) -> bool {
    matches!(health, Health::NotReady { fault, .. } if !fault.passes())
}

struct Driver<'a> {
    ready: &'a Ready,
    policy: &'a Policy<'a>,
    context: &'a Arc<Context>,
    gate: &'a Gate,
}

impl Driver<'_> {
    async fn drive(&self, run: &mut TargetRun, outcome: &TargetOutcome, deadline: Instant) -> Duration {
        if std::mem::take(&mut run.settled_before) {
            let period = self.observe_period();
            let at = schedule::first_look(period, self.policy.uid, self.context.registry.acts_since(Timestamp::now()));
            run.next_look = Some(Instant::now() + schedule::until(at, Timestamp::now()));
        }
        // Another credential may have the right that was lacking.
        let connection = self.ready.entry.fingerprint;
        if run.connection.replace(connection).is_some_and(|before| before != connection) {
            if run.stop.is_some() {
                (run.next_look, run.stops) = (None, 0);
            }
            if run.trouble.take().is_some() {
                run.failures = 0;
            }
        }
        if run.pass.is_none()
            && let Some(next) = run.next_look
            && next > Instant::now()
        {
            return next - Instant::now();
        }
        // What stops reads as well is asked before any call, so that a suspended tenant has its rest.
        if outcome.suspension.as_ref().is_some_and(Suspension::stops_reads) {
            run.put_down().await;
            // It cannot be looked at; it is, as soon as that ends.
            run.looked = true;
            return schedule::STALLED_RETRY;
        }
        // A tenant that is throttled still answers, and its limiter keeps the pause; any other fault is probed first. The
        // first verification is the object's own: until then whom it protects does not count.
        match &outcome.health {
            Health::Ready => {}
            Health::NotReady { fault: ProviderFault::Throttled, .. } if self.ready.entry.verified_once => {}
            health @ (Health::Unverified | Health::NotReady { .. }) => {
                let is_brief = matches!(health, Health::NotReady { fault, since, .. }
                    if fault.passes() && Timestamp::now().duration_since(*since) < KEPT_FOR);
                if is_brief {
                    run.rest().await;
                } else {
                    run.put_down().await;
                }
                // A tenant that a human has to mend cannot be looked at; it is, as soon as it is mended.
                run.looked |= waits_for_a_human(health);
                return schedule::STALLED_RETRY;
            }
        }
        if self.ready.protected.is_none() {
            run.put_down().await;
            return Duration::from_secs(1);
        }
        if let Some(rest) = run.trouble.as_ref().and_then(|t| t.until.checked_duration_since(Instant::now())) {
            return rest;
        }
        // Nothing is begun without time: what is known is said first.
        if run.pass.is_none() && Instant::now() >= deadline {
            return Duration::ZERO;
        }
        match self.work(run, outcome, deadline).await {
            Ok(progress) => {
                let is_over = matches!(progress, Progress::Complete);
                // A slice that has only waited for a pause to end has heard nothing.
                let limiter = &self.ready.connection.tenant.limiter;
                let has_heard = limiter.blocked_for().is_none() && limiter.absent_for().is_none();
                if is_over || has_heard && !run.trouble.as_ref().is_some_and(Trouble::outlives_progress) {
                    (run.failures, run.trouble) = (0, None);
                }
                (run.stop, run.stops) = (None, 0);
                if is_over || has_heard {
                    self.answered();
                }
                self.go_on(run, progress)
            }
            Err(halt) => self.halted(run, halt).await,
        }
    }

    async fn work(&self, run: &mut TargetRun, outcome: &TargetOutcome, deadline: Instant) -> Result<Progress, Halt> {
        if run.pass.is_none() {
            self.verify().await?;
        }
        let now = Timestamp::now();
        let clocks = dereference::clocks(self.ready, now);
        let cutoff = match &run.pass {
            Some(pass) => pass.rules.cutoff,
            None => effective_cutoff(self.ready.desired.requirement, clocks),
        };
        let entry = self.context.registry.get(&self.ready.id).unwrap_or_else(|| self.ready.entry.clone());
        let Some((tenant, _)) = &entry.verified else { return Ok(Progress::Wait(Instant::now() + UNKNOWN_REST)) };
        let permission = guard::permission(&Situation {
            index: self.ready.desired.index,
            mode: self.ready.desired.mode,
            provider: &outcome.provider,
            access: self.ready.spec.access,
            enforceable: &tenant.enforceable,
            cutoff,
            clocks,
            suspension: outcome.suspension.as_ref(),
        });
        let may_write = match permission {
            Permission::Write => true,
            Permission::Look => false,
            Permission::Rest => return Ok(Progress::Wait(Instant::now() + UNKNOWN_REST)),
            Permission::Stop(stop) => return Err(Halt::Stop(stop)),
        };
        let ready = Ready { entry: entry.clone(), ..self.ready.clone() };
        let ledger = match &mut run.ledger {
            Some(ledger) if *ledger.ledger.key() == self.campaign() => ledger,
            slot => slot.insert(self.load(tenant.users).await?),
        };
        if run.pass.is_none() {
            ledger.refresh_evidence().await.map_err(Halt::Ledger)?;
        }
        let (sessions_refused, max_pages) = (run.sessions_refused, self.context.settings.max_listing_pages);
        let new = || Box::new(Pass::new(&ready, self.rules(cutoff), sessions_refused, max_pages));
        let pass = run.pass.get_or_insert_with(new);
        let mut work = Work {
            ready: &ready,
            ledger,
            metrics: &self.context.metrics,
            gate: self.gate.clone(),
            confirm: Confirm {
                context: self.context,
                policy: (self.policy.namespace, self.policy.name),
                version: (self.policy.uid, self.policy.generation),
                provider: &ready.id,
            },
            may_write,
            deadline,
        };
        let worked = if ready.desired.strategy == Strategy::TenantNative && may_write {
            native::advance(pass, &mut work, tenant).await
        } else {
            pass.advance(&mut work).await
        };
        run.sessions_refused = pass.sessions_refused;
        match worked {
            Err(halt @ (Halt::Stopped | Halt::Stale | Halt::Tenant(_))) => {
                pass.close(work.ledger).await?;
                Err(halt)
            }
            Ok(progress) => {
                work.ledger.save_first_evidence().await?;
                Ok(progress)
            }
            other => other,
        }
    }

    async fn load(&self, users: Option<u64>) -> Result<CampaignLedger, Halt> {
        let expected = (self.policy.records_expected)(&self.ready.desired.name);
        let capabilities = self.ready.connection.provider.capabilities();
        let accept = self.policy.accept_ledger_loss;
        CampaignLedger::load(&self.context.ledgers, self.campaign(), capabilities, users, expected, accept)
            .await
            .map_err(|error| match error {
                LoadError::Api(error) => Halt::Ledger(error),
                LoadError::Lost(why) => Halt::Stop(Stop::stalled(
                    Reason::LedgerLost,
                    format!("spec.targets[{}]", self.ready.desired.index),
                    format!(
                        "the records of who was required are lost ({why}), and the provider does not show who has changed, \
                         so going on would ask people twice. Restore the ConfigMaps with the label passwordreset.dev/ledger-campaign, or accept that by the \
                         annotation {} on this policy (any value), and remove it afterwards: it accepts later losses too",
                        crate::api::ACCEPT_LEDGER_LOSS_ANNOTATION
                    ),
                )),
            })
    }

    /// Verifies the tenant, unless that was done a moment ago and speaks for going on: what speaks against it may have
    /// been corrected since.
    async fn verify(&self) -> Result<(), Halt> {
        let believable = dereference::clocks(self.ready, Timestamp::now()).believable();
        let good = |tenant: &Tenant| believable && !matches!(tenant.enforceable, Enforceable::No(_));
        let verified = self.ready.entry.verified.as_ref();
        if verified.is_some_and(|(tenant, at)| at.elapsed() < VERIFIED_RECENTLY && good(tenant)) {
            return Ok(());
        }
        let tenant = self.ready.connection.provider.verify(false).await.map_err(Halt::Tenant)?;
        // What has changed is told by the provider's own object.
        if verified.is_some_and(|(before, _)| before.enforceable != tenant.enforceable) {
            self.context.wake_provider(&self.ready.id);
        }
        self.context.registry.verified(&self.ready.id, &self.ready.connection, tenant);
        Ok(())
    }

    fn observe_period(&self) -> Duration {
        let capabilities = self.ready.connection.provider.capabilities();
        schedule::observe_period(self.ready.spec.observe_period_seconds, capabilities)
    }

    fn campaign(&self) -> CampaignKey {
        CampaignKey {
            tenant: self.ready.connection.tenant.id.clone(),
            namespace: self.policy.namespace.to_owned(),
            policy: self.policy.name.to_owned(),
            epoch: self.ready.desired.requirement.epoch(),
        }
    }

    fn rules(&self, cutoff: Timestamp) -> Rules {
        Rules::new(
            self.ready.connection.provider.capabilities(),
            cutoff,
            matches!(self.ready.desired.requirement, Requirement::MaxAgeDays(_)),
            self.ready.desired.account_states,
            self.context.settings.settle_seconds,
            refusal_tag(self.policy.generation, self.policy.token),
        )
    }
}
