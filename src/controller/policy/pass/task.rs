//! Who is meant? The calls that find it out, as a list that is worked off in order: what protects comes first, since
//! nothing may be written before it is known.

use std::collections::{HashMap, HashSet, VecDeque};

use futures::StreamExt;
use tokio::time::Instant;

use super::counts::Origin;
use super::fuse::Fuse;
use super::rows::Row;
use super::{CONFIRMATIONS, Halt, Pass, Work, too_many};
use crate::api::FailureCategory;
use crate::controller::policy::dereference::Ready;
use crate::plan::capabilities::Paging;
use crate::plan::decide::Verdict;
use crate::plan::desired::{NamedSet, Place, SelectedKey};
use crate::plan::guard::{self, Unresolved};
use crate::plan::ledger::State;
use crate::plan::listing::{ListingCheck, ListingFault};
use crate::plan::observed::{Account, AccountId, Cursor, Listing, SetKind, UserKey};
use crate::plan::userlist::folded;
use crate::provider::{ErrorKind, ProviderError};

/// Pages of one listing at most; an honest one of a million users has 5,000 to 10,000.
const MAX_PAGES: u32 = 100_000;

/// What a key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its account is protected.
    Protect,
    /// Its account is excluded.
    Exclude,
    /// Its account is selected.
    Select,
}

/// A listing that is being read.
#[derive(Clone, Debug)]
pub struct Reading {
    listing: Listing,
    cursor: Option<Cursor>,
    check: ListingCheck,
    /// Pages with somebody on them, and how many people they showed.
    pages: u32,
    shown: usize,
    /// How often it was read before.
    round: u32,
    /// Whether this round has shown somebody whom those before it did not; the first one may always have missed somebody.
    shows_more: bool,
}

impl Reading {
    fn new(listing: Listing) -> Self {
        let check = ListingCheck::new(&listing, MAX_PAGES);
        Self { listing, cursor: None, check, pages: 0, shown: 0, round: 0, shows_more: true }
    }

    /// Whether rows may have moved between its pages of `size`, so that only reading it again tells that nobody was missed.
    fn may_have_missed(&self, paging: Paging, size: u64) -> bool {
        let fits = self.pages < 2 && (self.shown as u64) < size;
        paging == Paging::Offset && !fits && self.shows_more && self.round < CONFIRMATIONS
    }

    fn again(&self) -> Self {
        Self { round: self.round + 1, shows_more: false, ..Self::new(self.listing.clone()) }
    }
}

/// One thing to find out.
#[derive(Clone, Debug)]
pub enum Task {
    /// Whose key is this?
    Key(Purpose, SelectedKey),
    /// Which group or population has this name, and is it excluded or selected?
    Set(Purpose, SetKind, NamedSet),
    /// Who is in an excluded set, named at this place?
    ExcludeMembers(Place, Box<Reading>),
    /// Who has one of the keys that only a full listing tells?
    Search(Box<Reading>),
    /// Who is targeted?
    List(Box<Reading>),
}

impl Task {
    /// The same listing from its beginning.
    pub fn again(task: &Task) -> Task {
        match task {
            Task::List(reading) => Task::List(Box::new(Reading::new(reading.listing.clone()))),
            other => other.clone(),
        }
    }
}

/// Keys that one full listing looks for, because it is cheaper or because a search proves nothing.
#[derive(Default)]
pub struct Search {
    wanted: HashMap<UserKey, Vec<(Purpose, SelectedKey)>>,
    found: HashMap<UserKey, Vec<Row>>,
    protects: bool,
}

impl Search {
    /// Whether rows have to wait, since it is not known yet whom they must not touch.
    pub fn holds_rows(&self) -> bool {
        self.protects
    }

    fn want(&mut self, purpose: Purpose, key: SelectedKey) {
        self.protects |= purpose != Purpose::Select;
        self.wanted.entry(folded(&key.key)).or_default().push((purpose, key));
    }

    /// Whether there are keys that no account has shown yet.
    fn lacks_some(&self) -> bool {
        self.wanted.keys().any(|key| !self.found.contains_key(key))
    }

    /// Takes in one row. Whether it shows somebody whom no row has shown.
    fn offer(&mut self, account: &Account, received: Instant) -> bool {
        let mut is_new = false;
        let mut keys = vec![UserKey::Id(account.id.0.clone())];
        keys.extend(account.username.iter().map(|name| UserKey::Username(name.clone())));
        keys.extend(account.emails.iter().map(|email| UserKey::Email(email.clone())));
        let mut offered = HashSet::new();
        for key in keys.iter().map(folded).filter(|key| offered.insert(key.clone())) {
            if self.wanted.contains_key(&key) {
                let found = self.found.entry(key).or_default();
                if found.iter().all(|row| row.account.id != account.id) {
                    found.push(Row { account: account.clone(), received, origin: Origin::Key });
                    is_new = true;
                }
            }
        }
        is_new
    }
}

/// What has to be found out for a target, in order.
pub fn tasks(ready: &Ready) -> VecDeque<Task> {
    let desired = &ready.desired;
    let mut tasks = VecDeque::new();
    let sets = |purpose, kind, names: &[NamedSet]| -> Vec<Task> {
        names.iter().map(|name| Task::Set(purpose, kind, name.clone())).collect()
    };
    let keys = |purpose, keys: &[SelectedKey]| -> Vec<Task> {
        keys.iter().map(|key| Task::Key(purpose, key.clone())).collect()
    };
    tasks.extend(keys(Purpose::Protect, ready.protected.as_deref().unwrap_or_default()));
    tasks.extend(keys(Purpose::Exclude, &desired.excluded.keys));
    tasks.extend(sets(Purpose::Exclude, SetKind::Group, &desired.excluded.groups));
    tasks.extend(sets(Purpose::Exclude, SetKind::Population, &desired.excluded.populations));
    tasks.extend(sets(Purpose::Select, SetKind::Group, &desired.selection.groups));
    tasks.extend(sets(Purpose::Select, SetKind::Population, &desired.selection.populations));
    tasks.extend(keys(Purpose::Select, &desired.selection.keys));
    tasks.push_back(Task::Search(Box::new(Reading::new(Listing::Tenant))));
    if desired.selection.tenant {
        tasks.push_back(Task::List(Box::new(Reading::new(Listing::Tenant))));
    }
    tasks
}

impl Pass {
    /// Carries out the next task, or the next few that are alike.
    pub(super) async fn carry_out(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        match self.tasks.front() {
            Some(Task::Key(..)) => self.find_keys(work).await,
            Some(Task::Set(..)) => self.resolve_set(work).await,
            Some(Task::ExcludeMembers(..)) => self.read_page(work, Kind::Exclude).await,
            Some(Task::Search(_)) if self.search.wanted.is_empty() => {
                self.tasks.pop_front();
                Ok(())
            }
            Some(Task::Search(_)) => self.read_page(work, Kind::Search).await,
            Some(Task::List(_)) => self.read_page(work, Kind::List).await,
            None => Ok(()),
        }
    }

    async fn find_keys(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let search_all = self.listing_is_cheaper(work);
        let mut asked = Vec::new();
        while asked.len() < work.at_once() {
            let Some(Task::Key(purpose, key)) = self.tasks.front().cloned() else { break };
            // All of one purpose together, so that what protects is known before anything is selected.
            if asked.first().is_some_and(|(first, _)| *first != purpose) {
                break;
            }
            self.tasks.pop_front();
            if purpose == Purpose::Select && self.is_known(work, &key) {
                continue;
            }
            if purpose == Purpose::Select && search_all {
                self.search.want(purpose, key);
            } else {
                asked.push((purpose, key));
            }
        }
        type Found = (Instant, Option<Result<Vec<Account>, ProviderError>>);
        let (provider, fuse) = (work.provider(), &Fuse::until(work.deadline));
        let answers: Vec<((Purpose, SelectedKey), Found)> = futures::stream::iter(asked)
            .map(|(purpose, key)| async move {
                let found = fuse.call(async || provider.find(&key.key).await).await;
                ((purpose, key), (Instant::now(), found))
            })
            .buffered(work.concurrency())
            .collect()
            .await;
        let mut halt = None;
        for ((purpose, key), (received, found)) in answers.into_iter().rev() {
            let Some(found) = found else {
                self.tasks.push_front(Task::Key(purpose, key));
                continue;
            };
            match found {
                Ok(accounts) if accounts.is_empty() && !work.capabilities().keys.absence_is_proof => {
                    self.search.want(purpose, key);
                }
                Ok(accounts) => {
                    let row = |account| Row { account, received, origin: Origin::Key };
                    self.found(work, purpose, &key, accounts.into_iter().map(row).collect())?;
                }
                Err(error) if needs_listing(&error, work.capabilities().keys.absence_is_proof) => {
                    tracing::debug!(%error, "the provider does not search for such a key; a listing tells whom it names");
                    self.search.want(purpose, key);
                }
                Err(error) if is_refused(&error) => match purpose {
                    Purpose::Select if error.kind == ErrorKind::Rejected => {
                        self.counts.failed(&key.place, FailureCategory::Rejected);
                    }
                    Purpose::Select => self.counts.failed(&key.place, FailureCategory::Forbidden),
                    Purpose::Exclude => {
                        return Err(Halt::Stop(guard::exclusion_unresolved(&key.place, Unresolved::Refused)));
                    }
                    Purpose::Protect => {
                        return Err(Halt::Stop(guard::protected_unresolved(&key.place, Unresolved::Refused)));
                    }
                },
                // Nobody knows whom it names. Everybody else is asked, and it is tried again soon.
                Err(error) if purpose == Purpose::Select && error.kind == ErrorKind::ResponseInvalid => {
                    tracing::debug!(%error, "the answer to a look-up cannot be read");
                    self.counts.failed(&key.place, FailureCategory::Transient);
                }
                Err(error)
                    if purpose == Purpose::Select
                        && fuse.blown().is_none()
                        && too_many(&mut self.key_stumbles, work.entry_key(&key.key)) =>
                {
                    tracing::debug!(%error, "one entry cannot be looked up; the next pass tries again");
                    self.counts.failed(&key.place, FailureCategory::Transient);
                }
                Err(error) => {
                    self.tasks.push_front(Task::Key(purpose, key));
                    halt = Some(error);
                }
            }
        }
        halt.map_or(Ok(()), |error| Err(Halt::Tenant(error)))
    }

    /// Whether one listing costs fewer calls than asking for each selected key.
    fn listing_is_cheaper(&self, work: &Work<'_>) -> bool {
        let users = work.ready.entry.verified.as_ref().and_then(|(tenant, _)| tenant.users);
        let size = work.page_size();
        let keys = work.ready.desired.selection.keys.len() as u64;
        users.is_some_and(|users| users / size + 2 < keys)
    }

    /// Counts an entry whose account is known to have changed: it costs no call.
    fn is_known(&mut self, work: &Work<'_>, key: &SelectedKey) -> bool {
        let Some(account) = work.ledger.ledger.account_of(&work.entry_key(&key.key)) else { return false };
        if self.protected.contains(&account) || self.excluded.contains(&account) || self.own == Some(account) {
            return false;
        }
        let Some(entry) = work.ledger.ledger.entry(&account).filter(|e| e.since(self.rules.cutoff)) else {
            return false;
        };
        match entry.state {
            State::Changed => self.counts.known(account, Verdict::Changed),
            State::Compliant => self.counts.known(account, Verdict::Compliant),
            _ => return false,
        }
        true
    }

    /// Takes in whom a key names.
    fn found(
        &mut self,
        work: &mut Work<'_>,
        purpose: Purpose,
        key: &SelectedKey,
        mut rows: Vec<Row>,
    ) -> Result<(), Halt> {
        let account = (rows.len() == 1).then(|| work.account_key(&rows[0].account.id));
        match (purpose, account, rows.pop()) {
            (Purpose::Protect, Some(account), _) => {
                self.protected.insert(account);
            }
            (Purpose::Exclude, Some(account), _) => {
                self.excluded.insert(account);
            }
            // A well-formed exclusion without a match protects nobody who is there.
            (Purpose::Exclude, None, None) => {}
            (Purpose::Protect, None, other) => {
                let how = if other.is_some() { Unresolved::Several } else { Unresolved::Nothing };
                return Err(Halt::Stop(guard::protected_unresolved(&key.place, how)));
            }
            (Purpose::Exclude, None, Some(_)) => {
                return Err(Halt::Stop(guard::exclusion_unresolved(&key.place, Unresolved::Several)));
            }
            (Purpose::Select, Some(account), Some(row)) => {
                work.ledger.ledger.link(work.entry_key(&key.key), account);
                self.rows.push_back(row);
            }
            (Purpose::Select, _, None) => {
                let known_before = work.ledger.ledger.account_of(&work.entry_key(&key.key)).is_some();
                self.counts.nobody(&key.place, known_before);
            }
            (Purpose::Select, None, Some(_)) => self.counts.failed(&key.place, FailureCategory::Ambiguous),
        }
        Ok(())
    }

    async fn resolve_set(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let Some(Task::Set(purpose, kind, set)) = self.tasks.front().cloned() else { return Ok(()) };
        let unresolved = |how| {
            Halt::Stop(match purpose {
                Purpose::Select => guard::selection_unresolved(&set.place, how),
                Purpose::Exclude | Purpose::Protect => guard::exclusion_unresolved(&set.place, how),
            })
        };
        let mut ids = match work.provider().sets(kind, &set.name).await {
            Ok(ids) => ids,
            Err(error) if is_refused(&error) => {
                tracing::info!(%error, "a group or population cannot be looked for");
                return Err(unresolved(Unresolved::Refused));
            }
            Err(error) => return Err(Halt::Tenant(error)),
        };
        let (Some(id), true) = (ids.pop(), ids.is_empty()) else {
            return Err(unresolved(if ids.is_empty() { Unresolved::Nothing } else { Unresolved::Several }));
        };
        self.tasks.pop_front();
        let listing = match kind {
            SetKind::Group => Listing::Group(id),
            SetKind::Population => Listing::Population(id),
        };
        let reading = Box::new(Reading::new(listing));
        match purpose {
            Purpose::Select => self.tasks.push_back(Task::List(reading)),
            Purpose::Exclude | Purpose::Protect => self.tasks.push_front(Task::ExcludeMembers(set.place, reading)),
        }
        Ok(())
    }

    /// Reads the next page of the listing that is the next task.
    async fn read_page(&mut self, work: &mut Work<'_>, kind: Kind) -> Result<(), Halt> {
        let (Some(Task::ExcludeMembers(_, reading)) | Some(Task::Search(reading)) | Some(Task::List(reading))) =
            self.tasks.front_mut()
        else {
            return Ok(());
        };
        let page = match work.provider().list(&reading.listing, reading.cursor.as_ref()).await {
            Ok(page) => page,
            Err(error) if kind == Kind::List && error.kind == ErrorKind::ResponseInvalid => {
                self.cut_short(error);
                return Ok(());
            }
            Err(error) if kind == Kind::Exclude && is_refused(&error) => return Err(self.exclusion_cut_short(error)),
            Err(error) => return Err(Halt::Tenant(error)),
        };
        let received = Instant::now();
        let mut incomplete = None;
        if let Err(fault) = reading.check.take(&page) {
            let error = ProviderError::new(ErrorKind::ResponseInvalid, "list users", fault.to_string());
            match (kind, fault) {
                (Kind::List, ListingFault::Short { .. }) => incomplete = Some(error),
                (Kind::List, _) => {
                    self.cut_short(error);
                    return Ok(());
                }
                (Kind::Exclude, _) => return Err(self.exclusion_cut_short(error)),
                (Kind::Search, _) => return Err(Halt::Tenant(error)),
            }
        }
        reading.cursor = page.next;
        reading.pages += u32::from(!page.accounts.is_empty());
        reading.shown += page.accounts.len();
        let ended = reading.cursor.is_none();
        let (paging, size) = (work.capabilities().paging, work.page_size());
        match kind {
            Kind::Exclude => {
                for account in &page.accounts {
                    reading.shows_more |= self.excluded.insert(work.account_key(&account.id));
                }
                if ended && reading.may_have_missed(paging, size) {
                    **reading = reading.again();
                    return Ok(());
                }
            }
            Kind::Search => {
                for account in &page.accounts {
                    reading.shows_more |= self.search.offer(account, received);
                }
                if ended && self.search.lacks_some() && reading.may_have_missed(paging, size) {
                    **reading = reading.again();
                    return Ok(());
                }
            }
            Kind::List => self.rows.extend(page.accounts.into_iter().map(|account| Row {
                account,
                received,
                origin: Origin::Listing,
            })),
        }
        if let Some(error) = incomplete {
            self.cut_short(error);
        } else if ended {
            match (kind, self.tasks.pop_front()) {
                (Kind::Search, _) => self.end_search(work)?,
                (Kind::List, Some(task)) if self.round == 0 => self.listings.push(task),
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends a listing that does not come to its end, so that this pass cannot be complete any more. Rows that came before
    /// are as good as ever.
    fn cut_short(&mut self, error: ProviderError) {
        self.tasks.pop_front();
        self.cut_short.get_or_insert(error);
    }

    /// What an exclusion means whose members cannot be listed completely.
    fn exclusion_cut_short(&self, error: ProviderError) -> Halt {
        let Some(Task::ExcludeMembers(place, _)) = self.tasks.front() else { return Halt::Tenant(error) };
        tracing::warn!(%error, "the members of an exclusion cannot be listed completely");
        Halt::Stop(guard::exclusion_unresolved(place, Unresolved::CutShort))
    }

    fn end_search(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let Search { wanted, found, .. } = std::mem::take(&mut self.search);
        let mut wanted: Vec<_> =
            wanted.into_iter().flat_map(|(key, wants)| wants.into_iter().map(move |w| (key.clone(), w))).collect();
        // In the order of the spec, so that samples are the same each time.
        wanted.sort_by(|(_, (_, a)), (_, (_, b))| a.place.cmp(&b.place));
        for (folded, (purpose, key)) in wanted {
            let rows = match &key.key {
                // An id is compared exactly, and `folded` keeps it as it is.
                UserKey::Id(id) => {
                    let id = AccountId(id.clone());
                    found.get(&folded).into_iter().flatten().filter(|row| row.account.id == id).cloned().collect()
                }
                _ => found.get(&folded).cloned().unwrap_or_default(),
            };
            self.found(work, purpose, &key, rows)?;
        }
        Ok(())
    }
}

/// Whether the provider understands and refuses: one thing of the tenant may not be looked for, whatever else may.
fn is_refused(error: &ProviderError) -> bool {
    !error.held_back
        && matches!(
            error.kind,
            ErrorKind::Forbidden | ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::Rejected
        )
}

/// Whether a search that failed says no more than one that found nobody: what the provider looks at is not documented.
fn needs_listing(error: &ProviderError, absence_is_proof: bool) -> bool {
    !absence_is_proof && !error.held_back && matches!(error.kind, ErrorKind::ResponseInvalid | ErrorKind::Rejected)
}

/// What the pages of a listing are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exclude,
    Search,
    List,
}
