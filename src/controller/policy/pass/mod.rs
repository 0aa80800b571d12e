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
//! | `rounds` | has everybody been listed, where rows may move meanwhile |
//! | [`work`] | what does it work with |
//! | [`halt`] | how far did a slice come, or why did it end early |
//! | `fuse` | when do calls that were begun together stop |

pub mod batch;
pub mod counts;
mod fuse;
pub mod halt;
pub mod keys;
mod pages;
mod require;
mod rounds;
pub mod rows;
mod sessions;
pub mod task;
pub mod waiting;
pub mod work;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

pub use self::halt::{Halt, Progress};
pub use self::work::Work;

use self::batch::{Batch, Due};
use self::counts::Counts;
use self::keys::Search;
use self::rows::Row;
use self::task::Task;
use self::waiting::Waiting;
use super::dereference::Ready;
use super::ledger::CampaignLedger;
use super::native::Roster;
use crate::api::FailureCategory;
use crate::controller::ledger_store::WriteError;
use crate::plan::decide::{Facts, Rules, SkipReason, Verdict};
use crate::plan::desired::KeyIndex;
use crate::plan::evidence::Evidence;
use crate::plan::ledger::{AccountKey, EntryKey, Refusal};
use crate::plan::observed::{Account, AccountId};
use crate::plan::tally::Tally;
use crate::plan::tenant_native::arrived;
use crate::provider::ProviderError;

/// Failed calls about one account, or look-ups of one key, that are the tenant's trouble still.
const STUMBLES: u8 = 2;

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
