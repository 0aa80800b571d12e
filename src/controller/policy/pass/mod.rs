//! One pass over one target: who is meant, how does each stand, who has to be required, and did it take effect?
//!
//! A pass is a list of things to do ([`task::Task`]), rows that were read and not judged yet, a batch that is being
//! gathered or sent, and accounts that are waited for. [`Pass::advance`] works through them until a deadline and goes on
//! there the next time. It carries out; every judgement is a function of `plan`.
//!
//! | file | what it answers |
//! |---|---|
//! | [`task`] | who is meant: what has to be found out, in order; groups and populations |
//! | [`keys`] | whose keys are these |
//! | `pages` | what do listings show |
//! | [`rows`] | how does each row stand |
//! | [`batch`] | require a change of those that are due: the intent, the writes, and what became of them |
//! | `require` | how is one account written to and read back |
//! | [`waiting`] | who does not show yet, and how do they stand now |
//! | `sessions` | whose sessions are ended |
//! | [`counts`] | how many are what |
//! | `fuse` | when do calls that were begun together stop |

pub mod batch;
pub mod counts;
mod fuse;
pub mod keys;
mod pages;
mod require;
pub mod rows;
mod sessions;
pub mod task;
pub mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use self::batch::{Batch, Due};
use self::counts::Counts;
use self::keys::Search;
use self::rows::Row;
use self::task::Task;
use self::waiting::Waiting;
use super::confirm::Confirm;
use super::dereference::{self, Ready};
use super::ledger::CampaignLedger;
use super::native::Roster;
use crate::api::FailureCategory;
use crate::controller::ledger_store::WriteError;
use crate::plan::capabilities::{Capabilities, Paging};
use crate::plan::decide::{Facts, Rules, SkipReason, Verdict};
use crate::plan::desired::KeyIndex;
use crate::plan::evidence::Evidence;
use crate::plan::failure::Stop;
use crate::plan::ledger::{AccountKey, EntryKey, Refusal};
use crate::plan::observed::{Account, AccountId};
use crate::plan::tally::Tally;
use crate::plan::tenant_native::arrived;
use crate::provider::{ErrorKind, Gate, Provider, ProviderError};
use crate::telemetry::metrics::{Metrics, WriteLabels};

/// How often a listing that is paged by offset is repeated at most, to find rows that moved while it was read.
const CONFIRMATIONS: u32 = 3;
/// Failed calls about one account, or look-ups of one key, that are the tenant's trouble still.
const STUMBLES: u8 = 2;

/// What a pass works with during one slice.
pub struct Work<'a> {
    /// The target.
    pub ready: &'a Ready,
    /// Its campaign's records.
    pub ledger: &'a mut CampaignLedger,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// Asked before each write.
    pub gate: Gate,
    /// Asked before each batch.
    pub confirm: Confirm<'a>,
    /// Whether anything may be written.
    pub may_write: bool,
    /// When the slice ends: no call is begun after it.
    pub deadline: Instant,
}

impl Work<'_> {
    /// *Errors*: what is to be sent is not wanted any more, or nobody can tell.
    pub(in crate::controller::policy) async fn confirm(&self) -> Result<(), Halt> {
        if self.confirm.holds().await.map_err(Halt::Ledger)? { Ok(()) } else { Err(Halt::Stale) }
    }

    pub(in crate::controller::policy) fn provider(&self) -> &dyn Provider {
        self.ready.connection.provider.as_ref()
    }

    fn capabilities(&self) -> &'static Capabilities {
        self.provider().capabilities()
    }

    /// Counts a write for metrics.
    pub(in crate::controller::policy) fn count_write(&self, step: &'static str, outcome: &'static str) {
        let labels = WriteLabels { provider: self.capabilities().name, step, outcome };
        self.metrics.provider_writes.get_or_create(&labels).inc();
    }

    fn account_key(&self, id: &AccountId) -> AccountKey {
        AccountKey::new(&self.ready.connection.tenant.id, id)
    }

    fn entry_key(&self, key: &crate::plan::observed::UserKey) -> EntryKey {
        EntryKey::new(&self.ready.connection.tenant.id, key)
    }

    /// How many accounts a page is asked for.
    fn page_size(&self) -> u64 {
        let asked = self.ready.spec.page_size.and_then(|size| u64::try_from(size).ok());
        asked.unwrap_or(self.capabilities().page_size.into()).max(1)
    }

    /// What time it is: the provider's clock, else ours.
    pub(in crate::controller::policy) fn now(&self) -> Timestamp {
        dereference::clocks(self.ready, Timestamp::now()).working()
    }

    /// How many calls fit into about two seconds at the pace that this policy may expect: what is begun together, so that
    /// a slice can end in between.
    fn at_once(&self) -> usize {
        ((self.ready.connection.tenant.limiter.pace() * 2.0) as usize).clamp(1, 200)
    }

    /// Calls that may be on the way at the same time.
    fn concurrency(&self) -> usize {
        self.ready.connection.tenant.limiter.limits().max_concurrent_requests.max(1) as usize
    }
}

/// How far a slice came.
pub enum Progress {
    /// The deadline came first.
    More,
    /// Nothing can be done before then.
    Wait(Instant),
    /// Everybody was looked at.
    Complete,
    /// The listing kept changing; the next pass begins anew.
    Moved,
}

/// Why a slice ended early.
pub enum Halt {
    /// Writing was stopped: suspended, edited or deleted.
    Stopped,
    /// The tenant as a whole does not work.
    Tenant(ProviderError),
    /// The API server says something else than the watches have brought.
    Stale,
    /// Somebody else wrote the ledger.
    Fenced,
    /// The API server did not take the ledger.
    Ledger(kube::Error),
    /// A human has to act.
    Stop(Stop),
}

impl Halt {
    /// Why the rest is not sent after a write that was not.
    fn of_write(error: ProviderError) -> Self {
        if error.kind == ErrorKind::Stopped { Halt::Stopped } else { Halt::Tenant(error) }
    }
}

impl From<WriteError> for Halt {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fenced => Halt::Fenced,
            WriteError::Api(error) => Halt::Ledger(error),
        }
    }
}

/// A pass over one target.
pub struct Pass {
    /// What holds for all accounts.
    pub rules: Rules,
    /// Whether everybody was looked at before the one call for everybody, and nobody was due.
    pub surveyed: bool,
    /// The listing of everybody that is being read for that call.
    pub roster: Option<Roster>,
    /// Whether that call was answered well and nobody has looked yet at what it did.
    pub call_answered: bool,
    own: Option<AccountKey>,
    protected: HashSet<AccountKey>,
    excluded: HashSet<AccountKey>,
    /// What protects and excludes by key, compared with each row too: a provider's search may be stricter about case.
    protected_keys: KeyIndex,
    excluded_keys: KeyIndex,
    /// How many pages a listing may have.
    pub max_pages: u32,
    tasks: VecDeque<Task>,
    /// The listings of a round, to be read again where that is needed.
    listings: Vec<Task>,
    search: Search,
    /// Whether keys are looked for by one listing, as soon as that is decided.
    search_all: Option<bool>,
    rows: VecDeque<Row>,
    due: Vec<Due>,
    batch: Option<Batch>,
    waiting: Vec<Waiting>,
    sessions: VecDeque<AccountId>,
    /// Whether the provider refuses to end sessions, by its plan or for want of a right.
    pub sessions_refused: bool,
    sessions_ended: bool,
    /// Accounts whose sessions could not be ended.
    sessions_kept: HashSet<AccountKey>,
    counts: Counts,
    /// What a read showed of accounts whose listing shows too little and that the ledger does not keep.
    read_verdicts: HashMap<AccountKey, Verdict>,
    suspects: Vec<(Due, Refusal)>,
    /// Accounts that a call did not find: a listing that shows one of them later is at odds with that call.
    vanished: HashSet<AccountKey>,
    /// Whether a read of an account was answered well.
    has_read: bool,
    /// Calls about one account that failed while the tenant answered others.
    stumbles: HashMap<AccountKey, u8>,
    /// The same for look-ups of keys.
    key_stumbles: HashMap<EntryKey, u8>,
    accepted: bool,
    /// Why a listing ended before its end. Whoever it has shown is asked first.
    cut_short: Option<ProviderError>,
    /// How many reads are begun together next; the first time as many as may be on the way.
    reads_at_once: usize,
    round: u32,
    due_in_round: bool,
}

impl Pass {
    /// A pass over what `ready` wants, by these rules. `sessions_refused`: the provider has refused to end sessions before.
    /// `max_pages`: how many pages a listing may have.
    pub fn new(ready: &Ready, rules: Rules, sessions_refused: bool, max_pages: u32) -> Self {
        let own = ready.entry.verified.as_ref().and_then(|(tenant, _)| tenant.own_account.as_ref());
        let tenant = &ready.connection.tenant.id;
        Self {
            rules,
            surveyed: false,
            roster: None,
            call_answered: false,
            own: own.map(|id| AccountKey::new(tenant, id)),
            protected: HashSet::new(),
            excluded: HashSet::new(),
            protected_keys: KeyIndex::new(ready.protected.as_deref().unwrap_or_default()),
            excluded_keys: KeyIndex::new(&ready.desired.excluded.keys),
            max_pages,
            tasks: task::tasks(ready, max_pages),
            listings: Vec::new(),
            search: Search::default(),
            search_all: None,
            rows: VecDeque::new(),
            due: Vec::new(),
            batch: None,
            waiting: Vec::new(),
            sessions: VecDeque::new(),
            sessions_refused,
            sessions_ended: false,
            sessions_kept: HashSet::new(),
            counts: Counts::new(ready.desired.missing_users, &ready.desired.selection.malformed),
            read_verdicts: HashMap::new(),
            suspects: Vec::new(),
            vanished: HashSet::new(),
            has_read: false,
            stumbles: HashMap::new(),
            key_stumbles: HashMap::new(),
            accepted: false,
            cut_short: None,
            reads_at_once: 0,
            round: 0,
            due_in_round: false,
        }
    }

    /// What was found so far.
    pub fn tally(&self) -> Tally {
        let (sessions_refused, sessions_kept) = (self.sessions_refused, self.sessions_kept.len() as u64);
        Tally { sessions_refused, sessions_kept, ..self.counts.tally() }
    }

    /// Works until the slice ends.
    pub async fn advance(&mut self, work: &mut Work<'_>) -> Result<Progress, Halt> {
        let deadline = work.deadline;
        loop {
            if Instant::now() >= deadline {
                return Ok(Progress::More);
            }
            if work.may_write && !(work.gate)() {
                return Err(Halt::Stopped);
            }
            let now = Instant::now();
            if self.batch.is_some() {
                self.send(work).await?;
            } else if self.waiting.iter().any(|w| w.at <= now) {
                self.settle(work).await?;
            } else if self.must_send(work) {
                self.open_batch(work).await?;
            } else if !self.sessions.is_empty() && work.may_write {
                self.end_sessions(work).await?;
            } else if !self.rows.is_empty() && !self.search.holds_rows() {
                self.judge(work).await?;
            } else if !self.tasks.is_empty() {
                self.carry_out(work).await?;
            } else if !self.due.is_empty() {
                self.open_batch(work).await?;
            } else if let Some(next) = self.waiting.iter().map(|w| w.at).min() {
                if next > deadline {
                    return Ok(Progress::Wait(next));
                }
                tokio::time::sleep_until(next).await;
            } else if !self.suspects.is_empty() {
                self.accept_refusals(work);
            } else if let Some(error) = self.cut_short.clone() {
                return Err(Halt::Tenant(error));
            } else if self.next_round(work) {
                continue;
            } else {
                self.count_gone(work);
                work.ledger.save().await?;
                return Ok(if self.is_confirmed(work) { Progress::Complete } else { Progress::Moved });
            }
        }
    }

    /// Takes intents back that were not sent and keeps the rest: whoever stops here may not come back for long.
    pub async fn close(&mut self, ledger: &mut CampaignLedger) -> Result<(), WriteError> {
        if let Some(batch) = self.batch.take() {
            let unsent: Vec<AccountKey> = batch.unsent().map(|due| due.key).collect();
            ledger.ledger.close_unsent(&unsent);
            self.due.extend(batch.into_unsent());
        }
        let suspects: Vec<AccountKey> = self.suspects.iter().map(|(due, _)| due.key).collect();
        ledger.ledger.close_unsent(&suspects);
        self.due.extend(self.suspects.drain(..).map(|(due, _)| due));
        ledger.save().await
    }

    /// Begins another round of the listings where they are paged by offset, so that rows which moved while they were
    /// read are found. Returns whether there is one.
    fn next_round(&mut self, work: &Work<'_>) -> bool {
        let moves = work.capabilities().paging == Paging::Offset && !self.listings.is_empty();
        if !moves || self.round > CONFIRMATIONS || (self.round > 0 && self.is_confirmed(work)) {
            return false;
        }
        self.round += 1;
        self.due_in_round = false;
        self.counts.next_round(!work.may_write);
        self.tasks.extend(self.listings.iter().map(Task::again));
        true
    }

    /// Counts accounts that the ledger remembers and that a complete listing of the tenant does not show any more.
    fn count_gone(&mut self, work: &Work<'_>) {
        if work.ready.desired.selection.tenant && self.is_confirmed(work) {
            let mut gone = 0;
            work.ledger.ledger.for_each(|key, _| gone += u64::from(!self.counts.has_seen(key)));
            self.counts.gone(gone);
        }
    }

    /// Whether the last round of the listings found nothing that the one before should have shown.
    fn is_confirmed(&self, work: &Work<'_>) -> bool {
        let moves = work.capabilities().paging == Paging::Offset && !self.listings.is_empty();
        !moves || (self.round > 0 && if work.may_write { !self.due_in_round } else { self.counts.nobody_new() })
    }

    /// Takes in that an account has a key which protects or excludes it, whatever the search for that key has said.
    fn shield(&mut self, key: AccountKey, account: &Account) {
        if self.protected_keys.names(account) {
            self.protected.insert(key);
        }
        if self.excluded_keys.names(account) {
            self.excluded.insert(key);
        }
    }

    /// Counts a failed call about one account while the tenant answers others. Whether it is the account's own trouble by
    /// now, so that the pass goes on without it.
    fn stumbles_again(&mut self, key: AccountKey) -> bool {
        too_many(&mut self.stumbles, key)
    }

    /// Whether the pass goes on without this account: a later round of the listings does not take it up again.
    fn is_left_out(&self, key: &AccountKey) -> bool {
        self.vanished.contains(key) || self.stumbles.get(key).is_some_and(|stumbles| *stumbles > STUMBLES)
    }

    /// Takes in that a call did not find an account. A provider that has not shown one account by a read may not serve
    /// reads at this address at all, so that nothing is said of the account until it has.
    fn gone(&mut self, key: AccountKey) -> Verdict {
        self.vanished.insert(key);
        if self.has_read { Verdict::Skip(SkipReason::Gone) } else { Verdict::Failed(FailureCategory::Transient) }
    }

    /// What is known of an account besides its row.
    pub(in crate::controller::policy) fn facts(&self, work: &Work<'_>, key: AccountKey, complete: bool) -> Facts {
        Facts {
            entry: work.ledger.ledger.entry(&key),
            evidence: Evidence::join(
                work.ledger.evidence.as_ref().and_then(|evidence| evidence.get(&key)),
                arrived(work.ledger.ledger.everybody()),
            ),
            protected: self.protected.contains(&key),
            own: self.own == Some(key),
            excluded: self.excluded.contains(&key),
            not_sent: work.ledger.doubt.was_not_sent(&key),
            complete,
        }
    }
}

/// The word in metrics for how a write ended.
pub(in crate::controller::policy) fn outcome<T>(ended: &Result<T, ProviderError>) -> &'static str {
    match ended {
        Ok(_) => "accepted",
        Err(error) if error.effect_unknown => "unclear",
        Err(error) if error.is_refusal() => "refused",
        Err(_) => "not_sent",
    }
}

/// Counts one more failed call in `stumbles`. Whether `key` has had more of them than the tenant can be blamed for.
fn too_many<K: Eq + Hash>(stumbles: &mut HashMap<K, u8>, key: K) -> bool {
    let failed = stumbles.entry(key).or_default();
    *failed = failed.saturating_add(1);
    *failed > STUMBLES
}

/// How old a row is by our own monotonic clock.
fn age(row: &Row) -> Duration {
    row.received.elapsed()
}
