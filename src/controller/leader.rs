//! Which process of this operator acts, when several run: the lease in the operator's namespace.
//!
//! The decisions are in [`crate::plan::leadership`]; here are the calls. What is promised:
//!
//! - Nothing is sent, to a provider or to the API server, later than the renew deadline after the last renewal that was
//!   accepted was *sent*. [`Leadership::holds`] is asked right before each send and reads a clock that goes on while the
//!   process is stopped or the machine sleeps.
//! - The lease has a client of its own, with short deadlines, so that nothing else can hold a renewal up.
//! - On SIGTERM the lease is given up, and a standby, which watches it, takes over at once.
//! - Who has lost the lease ends; the kubelet starts a fresh process, which stands by. That is the simplest way to be
//!   sure that nothing remembered from before is acted on.
//!
//! A lease alone cannot keep requests apart that were on the wire when their sender was stopped. The ledger, whose writes
//! carry the version that was read, does that for everything after them.
//!
//! It is our own, since no library keeps these promises on kube 5: kube has no election; kube-leader-election 0.44
//! compares wall clocks and has no deadline for the holder, kubert and kube-coordinate are for kube 1 and 2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config, ResourceExt};
use rustix::time::{ClockId, clock_gettime};

use super::process;
use crate::plan::leadership::{Election, Move, Record, Terms};

/// The name of the lease; the Role of the chart names it too.
pub const LEASE: &str = "password-reset-operator";
/// Seconds after which a standby begins its watch of the lease anew.
const WATCH_SECONDS: u32 = 45;

/// Whether this process may act. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<AtomicU64>);

impl Leadership {
    /// For a process that is the only one: it always holds.
    pub fn always() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// For a candidate: it holds after [`Self::hold_until`].
    pub fn none() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// Whether anything may still be sent. Cheap enough to be asked before each send.
    pub fn holds(&self) -> bool {
        let until = self.0.load(Ordering::Acquire);
        until == u64::MAX || nanoseconds(since_boot()) < until
    }

    fn hold_until(&self, until: Duration) {
        self.0.store(nanoseconds(until), Ordering::Release);
    }

    fn end(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn remaining(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Acquire)).saturating_sub(since_boot())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// A clock that nobody can set and that goes on while the machine sleeps, unlike the one behind `Instant`.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Why an attempt at the lease did not come to an end.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("no answer in time")]
    Silence(#[from] tokio::time::error::Elapsed),
}

/// One candidate, and later holder, of the lease.
pub struct Elector {
    api: Api<Lease>,
    me: String,
    terms: Terms,
    election: Election,
    leadership: Leadership,
    /// The lease as it was read or written last.
    lease: Option<Lease>,
}

impl Elector {
    /// A candidate for the lease in `namespace`, with a client of its own by `config`. *Errors*: the configuration cannot
    /// be used.
    pub fn new(config: &Config, namespace: &str, terms: Terms, leadership: Leadership) -> Result<Self, kube::Error> {
        let mut config = config.clone();
        config.connect_timeout = Some(terms.call());
        config.write_timeout = Some(terms.call());
        let api = Api::namespaced(Client::try_from(config)?, namespace);
        // A pod's host name is its own, and a process that is started again in the same pod must not take itself for the
        // one that was killed: what that one sent may still be on its way.
        let me = format!("{}_{}_{}", process::host(), std::process::id(), since_boot().as_nanos());
        Ok(Self { api, election: Election::new(me.clone(), terms), me, terms, leadership, lease: None })
    }

    /// Stands by until the lease is ours.
    pub async fn acquire(&mut self) {
        tracing::info!(me = self.me, "standing by for the lease {LEASE}");
        loop {
            match self.attempt().await {
                Ok(None) => break,
                Ok(Some(rest)) => self.watch(rest).await,
                Err(error) => {
                    tracing::warn!(%error, "the lease cannot be read or written; tried again");
                    tokio::time::sleep(self.terms.retry).await;
                }
            }
        }
        tracing::info!(me = self.me, "this process holds the lease and begins to work");
    }

    /// Renews the lease until it is lost. Nobody may act any more when this returns, and [`Leadership::holds`] has said
    /// so no later.
    pub async fn keep(&mut self) {
        loop {
            tokio::time::sleep(self.terms.retry.min(self.leadership.remaining())).await;
            if !self.leadership.holds() {
                tracing::error!("the lease could not be renewed in time");
                break;
            }
            match self.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("another process holds the lease");
                    break;
                }
                Err(error) => tracing::warn!(%error, "the lease could not be renewed; tried again"),
            }
        }
        self.leadership.end();
    }

    /// Gives the lease up, so that a standby need not wait until it expires. Nothing may be at work any more.
    pub async fn release(&mut self) {
        self.leadership.end();
        for _ in 0..2 {
            match self.give_up().await {
                Ok(true) => return tracing::info!("the lease is given up"),
                // A renewal that was on its way has arrived in between.
                Ok(false) => {}
                Err(error) => return tracing::warn!(%error, "the lease could not be given up; it expires"),
            }
        }
    }

    /// Reads the lease and takes it if that is right. Returns how long to wait; `None` when it is ours.
    async fn attempt(&mut self) -> Result<Option<Duration>, Trouble> {
        self.lease = tokio::time::timeout(self.terms.call(), self.api.get_opt(LEASE)).await??;
        match self.election.judge(self.lease.as_ref().map(record), since_boot()) {
            Move::Wait(rest) => Ok(Some(rest)),
            Move::Take if self.write().await? => Ok(None),
            Move::Take => Ok(Some(self.terms.retry)),
        }
    }

    /// Renews the lease as it was written last. Returns whether it is still ours.
    async fn renew(&mut self) -> Result<bool, Trouble> {
        // Somebody else has written it; it may have been a renewal of ours whose answer was lost.
        Ok(self.write().await? || self.attempt().await?.is_none())
    }

    /// Writes our name and the time into the lease at exactly the version that was read. Returns whether that was
    /// accepted.
    async fn write(&mut self) -> Result<bool, Trouble> {
        let sent = since_boot();
        let lease = self.with_our_name();
        let params = PostParams::default();
        let written = async {
            match &self.lease {
                None => self.api.create(&params, &lease).await,
                Some(_) => self.api.replace(LEASE, &params, &lease).await,
            }
        };
        match tokio::time::timeout(self.terms.call(), written).await? {
            Ok(lease) => {
                self.lease = Some(lease);
                self.leadership.hold_until(self.terms.acts_until(sent));
                Ok(true)
            }
            Err(error) if is_other_version(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn give_up(&mut self) -> Result<bool, Trouble> {
        let lease = tokio::time::timeout(self.terms.call(), self.api.get_opt(LEASE)).await??;
        let Some(mut lease) = lease.filter(|lease| record(lease).holder == self.me) else { return Ok(true) };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        match tokio::time::timeout(self.terms.call(), self.api.replace(LEASE, &PostParams::default(), &lease)).await? {
            Ok(_) => Ok(true),
            Err(error) if is_other_version(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Watches the lease until it can be taken, or for `rest`, after which it is read again.
    async fn watch(&mut self, rest: Duration) {
        let params = WatchParams::default().fields(&format!("metadata.name={LEASE}")).timeout(WATCH_SECONDS);
        let version = self.lease.as_ref().and_then(Lease::resource_version).unwrap_or_default();
        let Ok(Ok(events)) = tokio::time::timeout(self.terms.call(), self.api.watch(&params, &version)).await else {
            return tokio::time::sleep(self.terms.retry).await;
        };
        let mut events = std::pin::pin!(events);
        let mut until = tokio::time::Instant::now() + rest;
        loop {
            match tokio::time::timeout_at(until, events.next()).await {
                Ok(Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)))) => {
                    match self.election.judge(Some(record(&lease)), since_boot()) {
                        Move::Take => return,
                        Move::Wait(rest) => until = tokio::time::Instant::now() + rest,
                    }
                }
                Ok(Some(Ok(WatchEvent::Bookmark(_)))) => {}
                Ok(Some(Ok(WatchEvent::Deleted(_)))) | Err(_) => return,
                Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None) => {
                    return tokio::time::sleep(self.terms.retry).await;
                }
            }
        }
    }

    fn with_our_name(&self) -> Lease {
        let before = self.lease.as_ref();
        let mut lease = before.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        // For people who look at it, and so that a renewal is a change; nobody compares them with a clock.
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.take().unwrap_or_default();
        let same = spec.holder_identity.as_deref() == Some(&self.me);
        lease.spec = Some(LeaseSpec {
            acquire_time: if same { spec.acquire_time } else { Some(now.clone()) },
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(self.terms.lease.as_secs()).ok(),
            lease_transitions: Some(self.election.transitions(before.map(record).as_ref())),
            renew_time: Some(now),
            preferred_holder: None,
            strategy: None,
        });
        lease
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        seconds: spec.lease_duration_seconds.unwrap_or_default(),
    }
}

/// Whether a write was refused because the lease is not the one that was read.
fn is_other_version(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.is_conflict() || status.is_already_exists() || status.is_not_found()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_may_not_act_a_holder_may_and_only_until_its_deadline() {
        let leadership = Leadership::none();
        assert!(!leadership.holds());
        leadership.hold_until(since_boot() + Duration::from_secs(60));
        assert!(leadership.holds() && leadership.remaining() > Duration::from_secs(50));
        leadership.hold_until(since_boot().saturating_sub(Duration::from_nanos(1)));
        assert!(!leadership.holds() && leadership.remaining().is_zero());
        leadership.hold_until(since_boot() + Duration::from_secs(60));
        leadership.end();
        assert!(!leadership.holds());
    }

    #[test]
    fn the_only_process_may_always_act() {
        assert!(Leadership::always().holds());
    }
}
