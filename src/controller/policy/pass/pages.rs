//! What do listings show? Page by page, whatever they are read for.

use tokio::time::Instant;

use super::counts::Origin;
use super::rounds::CONFIRMATIONS;
use super::rows::Row;
use super::task::Task;
use super::{Halt, Pass, Work};
use crate::plan::capabilities::Paging;
use crate::plan::key_search::Absence;
use crate::plan::listing::{ListingCheck, ListingFault};
use crate::plan::observed::{Cursor, Listing};
use crate::plan::unresolved::{self, Unresolved};
use crate::provider::{ErrorKind, ProviderError};

/// What the pages of a listing are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Exclude,
    Search,
    List,
}

/// A listing that is being read.
#[derive(Clone, Debug)]
pub struct Reading {
    listing: Listing,
    max_pages: u32,
    cursor: Option<Cursor>,
    check: ListingCheck,
    /// How often it was read before.
    round: u32,
    /// Whether this round has shown somebody whom those before it did not; the first one may always have missed somebody.
    shows_more: bool,
}

impl Reading {
    /// A listing that has not begun, of `max_pages` pages at most.
    pub(super) fn new(listing: Listing, max_pages: u32) -> Self {
        let check = ListingCheck::new(&listing, max_pages);
        Self { listing, max_pages, cursor: None, check, round: 0, shows_more: true }
    }

    /// The same listing, as if it had never been read.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.listing.clone(), self.max_pages)
    }

    /// Whether rows may have moved between its pages of `size`, so that only reading it again tells that nobody was missed.
    fn may_have_missed(&self, paging: Paging, size: u64) -> bool {
        paging == Paging::Offset && !self.check.fits(size) && self.shows_more && self.round < CONFIRMATIONS
    }

    /// The same listing from its beginning, after one more round.
    fn again(&self) -> Self {
        Self { round: self.round + 1, shows_more: false, ..self.anew() }
    }
}

impl Pass {
    /// Reads the next page of the listing that is the next task.
    pub(super) async fn read_page(&mut self, work: &mut Work<'_>, aim: Aim) -> Result<(), Halt> {
        let (Some(Task::ExcludeMembers(_, reading)) | Some(Task::Search(reading)) | Some(Task::List(_, reading))) =
            self.tasks.front_mut()
        else {
            return Ok(());
        };
        let page = match work.provider().list(&reading.listing, reading.cursor.as_ref()).await {
            Ok(page) => page,
            Err(error) if aim == Aim::List && error.is_unreadable() => {
                self.cut_short(error);
                return Ok(());
            }
            Err(error) if aim == Aim::Search && error.is_unreadable() && !self.search.holds_rows() => {
                return self.search_cut_short(work, error);
            }
            Err(error) if error.is_refusal() => return Err(self.listing_refused(error)),
            Err(error) => return Err(Halt::Tenant(error)),
        };
        let received = Instant::now();
        let mut incomplete = None;
        if let Err(fault) = reading.check.take(&page) {
            let error = ProviderError::new(ErrorKind::ResponseInvalid, "list users", fault.to_string());
            match (aim, fault) {
                (Aim::List, ListingFault::Short { .. }) => incomplete = Some(error),
                (Aim::Search, ListingFault::Short { .. }) if !self.search.holds_rows() => incomplete = Some(error),
                (Aim::List, _) => {
                    self.cut_short(error);
                    return Ok(());
                }
                (Aim::Exclude, _) => return Err(self.exclusion_cut_short(error)),
                (Aim::Search, _) if !self.search.holds_rows() => return self.search_cut_short(work, error),
                (Aim::Search, _) => return Err(Halt::Tenant(error)),
            }
        }
        reading.cursor = page.next;
        let ended = reading.cursor.is_none();
        let (paging, size) = (work.capabilities().paging, work.page_size());
        match aim {
            Aim::Exclude => {
                for account in &page.accounts {
                    reading.shows_more |= self.excluded.insert(work.account_key(&account.id));
                }
                if ended && reading.may_have_missed(paging, size) {
                    **reading = reading.again();
                    return Ok(());
                }
            }
            Aim::Search => {
                for account in &page.accounts {
                    reading.shows_more |= self.search.offer(account, received);
                }
                // Where a search is the authority, it is asked for whom the listing does not show.
                let confirms = incomplete.is_none() && !work.capabilities().keys.absence_is_proof;
                if ended && confirms && self.search.lacks_some() && reading.may_have_missed(paging, size) {
                    **reading = reading.again();
                    return Ok(());
                }
            }
            Aim::List => self.rows.extend(page.accounts.into_iter().map(|account| Row {
                account,
                received,
                origin: Origin::Listing,
            })),
        }
        if let Some(error) = incomplete {
            match aim {
                Aim::Search => self.search_cut_short(work, error)?,
                Aim::List | Aim::Exclude => self.cut_short(error),
            }
        } else if ended {
            match (aim, self.tasks.pop_front()) {
                (Aim::Search, _) => self.end_search(work, Absence::Proven)?,
                (Aim::List, Some(task)) if self.round == 0 => self.listings.push(task),
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

    /// Ends a listing that looks for keys and does not come to its end. Where a search for one tells whether somebody has it,
    /// each is asked for by itself; else whom it has shown is asked, and of the rest nobody knows whether they are there.
    fn search_cut_short(&mut self, work: &mut Work<'_>, error: ProviderError) -> Result<(), Halt> {
        if work.capabilities().keys.absence_is_proof {
            tracing::info!(%error, "a listing that looks for keys broke off: each is asked for by itself");
            self.tasks.pop_front();
            self.search.forget_found();
        } else {
            self.cut_short(error);
        }
        self.end_search(work, Absence::ProvesNothing)
    }

    /// What a refused listing means: of the members of a set it stops this target, of the tenant everything.
    fn listing_refused(&self, error: ProviderError) -> Halt {
        // It was there when its name was looked for.
        let how = if error.is_not_found() { Unresolved::Nothing } else { Unresolved::Refused };
        let unresolved = match self.tasks.front() {
            Some(Task::ExcludeMembers(place, _)) => unresolved::exclusion_unresolved(place, how),
            Some(Task::List(Some(place), _)) => unresolved::selection_unresolved(place, how),
            _ => return Halt::Tenant(error),
        };
        tracing::info!(%error, "the members of a group or population cannot be listed");
        Halt::Stop(unresolved)
    }

    /// What an exclusion means whose members cannot be listed completely.
    fn exclusion_cut_short(&self, error: ProviderError) -> Halt {
        let Some(Task::ExcludeMembers(place, _)) = self.tasks.front() else { return Halt::Tenant(error) };
        tracing::warn!(%error, "the members of an exclusion cannot be listed completely");
        Halt::Stop(unresolved::exclusion_unresolved(place, Unresolved::CutShort))
    }
}
