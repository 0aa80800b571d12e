//! Whose keys are these? Each is asked for by itself, or all together are looked for in one listing.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use tokio::time::Instant;

use super::counts::Origin;
use super::fuse::Fuse;
use super::rows::Row;
use super::task::Task;
use super::{Halt, Pass, Work, too_many};
use crate::api::FailureCategory;
use crate::plan::capabilities::Paging;
use crate::plan::decide::Verdict;
use crate::plan::desired::SelectedKey;
use crate::plan::key_search::{Absence, Purpose, Unanswered, most_listed_for, unanswered};
use crate::plan::ledger::{AccountKey, State};
use crate::plan::observed::{Account, AccountId, UserKey};
use crate::plan::unresolved::{self, Unresolved};
use crate::plan::userlist::folded;
use crate::provider::ProviderError;

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

    /// Whether there is nobody to look for.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    fn want(&mut self, purpose: Purpose, key: SelectedKey) {
        self.protects |= purpose != Purpose::Select;
        self.wanted.entry(folded(&key.key)).or_default().push((purpose, key));
    }

    /// Whether there are keys that no account has shown yet.
    pub(super) fn lacks_some(&self) -> bool {
        self.wanted.keys().any(|key| !self.found.contains_key(key))
    }

    /// Forgets whom it has shown so far: what a part of a listing shows may hide that a key is ambiguous.
    pub(super) fn forget_found(&mut self) {
        self.found.clear();
    }

    /// Takes in one row. Whether it shows somebody whom no row has shown.
    pub(super) fn offer(&mut self, account: &Account, received: Instant) -> bool {
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

impl Pass {
    /// Looks for the next few keys of one purpose.
    pub(super) async fn find_keys(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let mut asked = Vec::new();
        while asked.len() < work.at_once() {
            let Some(Task::Key(purpose, key)) = self.tasks.front().cloned() else { break };
            // All of one purpose together, so that what protects is known before anything is selected.
            if asked.first().is_some_and(|(first, _)| *first != purpose) {
                break;
            }
            let search_all = purpose == Purpose::Select && self.searches_all(work).await?;
            self.tasks.pop_front();
            // Whom it protects, the search has still to tell: until then nothing is known of those who are selected, and since
            // everybody is listed for it, they cost no call more.
            let is_listed = purpose == Purpose::Select && self.search.holds_rows();
            if purpose == Purpose::Select && !is_listed && self.is_known(work, &key) {
                continue;
            }
            // A listing may show less than a search looks at, so that what protects is always asked for by itself.
            if is_listed || search_all {
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
        let proven = work.capabilities().keys.absence_is_proof;
        let mut halt = None;
        for ((purpose, key), (received, found)) in answers.into_iter().rev() {
            match found {
                None => self.tasks.push_front(Task::Key(purpose, key)),
                Some(Ok(accounts)) if accounts.is_empty() && !proven => self.search.want(purpose, key),
                Some(Ok(accounts)) => {
                    let row = |account| Row { account, received, origin: Origin::Key };
                    self.found(work, purpose, &key, accounts.into_iter().map(row).collect())?;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a look-up was not answered");
                    let own_trouble =
                        || fuse.blown().is_none() && too_many(&mut self.key_stumbles, work.entry_key(&key.key));
                    match unanswered(purpose, &key.place, error, proven, own_trouble) {
                        Unanswered::Listing => self.search.want(purpose, key),
                        Unanswered::Failed(category) => self.counts.failed(&key.place, category),
                        Unanswered::Stop(stop) => return Err(Halt::Stop(stop)),
                        Unanswered::Tenant(error) => {
                            self.tasks.push_front(Task::Key(purpose, key));
                            halt = Some(error);
                        }
                    }
                }
            }
        }
        halt.map_or(Ok(()), |error| Err(Halt::Tenant(error)))
    }

    /// Whether selected keys are looked for by one listing, which is decided once for all of them.
    async fn searches_all(&mut self, work: &Work<'_>) -> Result<bool, Halt> {
        if let Some(decided) = self.search_all {
            return Ok(decided);
        }
        let decided = self.listing_is_cheaper(work).await?;
        self.search_all = Some(decided);
        Ok(decided)
    }

    /// Whether one listing costs fewer calls than asking for each selected key, those aside that cost no call.
    async fn listing_is_cheaper(&self, work: &Work<'_>) -> Result<bool, Halt> {
        let asked = |task: &&Task| matches!(task, Task::Key(Purpose::Select, key) if self.known(work, key).is_none());
        let calls = self.tasks.iter().filter(asked).count() as u64;
        // Where rows may move between pages and a search proves nothing, one more round has to show that nobody is missed.
        let capabilities = work.capabilities();
        let confirms = capabilities.paging == Paging::Offset && !capabilities.keys.absence_is_proof;
        let most = most_listed_for(calls, work.page_size(), if confirms { 2 } else { 1 });
        let users = work.ready.entry.verified.as_ref().and_then(|(tenant, _)| tenant.users);
        Ok(match users {
            _ if most == 0 => false,
            Some(users) => users < most,
            None => match work.provider().has_more_than(most).await {
                Ok(more) => more.is_some_and(|more| !more),
                Err(error) if error.concerns_tenant() => return Err(Halt::Tenant(error)),
                Err(_) => false,
            },
        })
    }

    /// Whose key this is and what became of the account, where the records tell that it has changed.
    fn known(&self, work: &Work<'_>, key: &SelectedKey) -> Option<(AccountKey, Verdict)> {
        let account = work.ledger.ledger.account_of(&work.entry_key(&key.key))?;
        if self.protected.contains(&account) || self.excluded.contains(&account) || self.own == Some(account) {
            return None;
        }
        let entry = work.ledger.ledger.entry(&account).filter(|entry| entry.since(self.rules.cutoff))?;
        match entry.state {
            State::Changed => Some((account, Verdict::Changed)),
            State::Compliant => Some((account, Verdict::Compliant)),
            _ => None,
        }
    }

    /// Counts an entry whose account is known to have changed: it costs no call.
    fn is_known(&mut self, work: &Work<'_>, key: &SelectedKey) -> bool {
        let known = self.known(work, key);
        if let Some((account, verdict)) = known {
            self.counts.known(account, verdict);
        }
        known.is_some()
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
                return Err(Halt::Stop(unresolved::protected_unresolved(&key.place, how)));
            }
            (Purpose::Exclude, None, Some(_)) => {
                return Err(Halt::Stop(unresolved::exclusion_unresolved(&key.place, Unresolved::Several)));
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

    /// Takes in what the listing that looks for keys has shown.
    pub(super) fn end_search(&mut self, work: &mut Work<'_>, absence: Absence) -> Result<(), Halt> {
        let Search { wanted, found, .. } = std::mem::take(&mut self.search);
        let mut asked = Vec::new();
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
            match (rows.is_empty(), absence) {
                // A listing may show less than a search looks at.
                (true, _) if work.capabilities().keys.absence_is_proof => asked.push(Task::Key(purpose, key)),
                (true, Absence::ProvesNothing) => self.counts.failed(&key.place, FailureCategory::Transient),
                _ => self.found(work, purpose, &key, rows)?,
            }
        }
        if !asked.is_empty() {
            self.search_all = Some(false);
        }
        asked.into_iter().rev().for_each(|task| self.tasks.push_front(task));
        Ok(())
    }
}
