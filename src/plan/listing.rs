//! Has a listing shown everybody? A listing that is cut short, repeats itself or loops is never "everybody".

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::observed::{Listing, Page};

/// Why a listing cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingFault {
    /// The same cursor came twice.
    #[error("the listing loops: the same position came twice")]
    Loops,
    /// A page had rows and none was new, and nobody who came meanwhile explains it.
    #[error("the listing repeats itself: a page of {rows} rows had none that is new")]
    Repeats {
        /// Rows of that page.
        rows: usize,
    },
    /// More pages than any honest listing has.
    #[error("the listing does not end: {pages} pages were read")]
    Endless {
        /// Pages read.
        pages: u32,
    },
    /// A listing of the tenant ended without one account.
    #[error("the listing of the tenant ended without one account")]
    Nobody,
    /// Fewer distinct accounts than announced.
    #[error("{distinct} distinct accounts were listed, {announced} were announced")]
    Short {
        /// Accounts that were told apart.
        distinct: u64,
        /// The least that the provider announced.
        announced: u64,
    },
}

/// How many empty pages in a row are followed. Providers that filter after paging have some; an endless listing has
/// nothing else.
const EMPTY_PAGES: u32 = 16;

/// Follows one listing from its first page to its end, in memory that does not grow with the number of accounts: kept
/// are the rows of the last page, those that share the last row's sort key, and one number per page.
///
/// An offset into a changing set shows rows again that moved to the next page, and a sort key that many rows share lets
/// them come in any order; both would make a short listing look complete if rows were merely counted.
#[derive(Clone, Debug)]
pub struct ListingCheck {
    whole_tenant: bool,
    max_pages: u32,
    cursors: HashSet<u64>,
    pages: u32,
    /// Pages with somebody on them, and how many rows they had.
    filled: u32,
    rows: u64,
    empty: u32,
    /// Rows of the fullest page.
    fullest: usize,
    /// Whether the last page with somebody on it had nobody new.
    repeated: bool,
    recent: HashSet<u64>,
    last_key: Option<u64>,
    same_key: HashSet<u64>,
    distinct: u64,
    announced: Option<u64>,
}

impl ListingCheck {
    /// A listing that has not begun, of at most `max_pages` pages.
    pub fn new(listing: &Listing, max_pages: u32) -> Self {
        Self {
            whole_tenant: *listing == Listing::Tenant,
            max_pages,
            cursors: HashSet::new(),
            pages: 0,
            filled: 0,
            rows: 0,
            empty: 0,
            fullest: 0,
            repeated: false,
            recent: HashSet::new(),
            last_key: None,
            same_key: HashSet::new(),
            distinct: 0,
            announced: None,
        }
    }

    /// Takes in the next page. Where it is the last one (`next` is `None`), the listing has shown everybody.
    ///
    /// *Errors*: it loops, repeats itself, does not end, or is cut short. The listing is then to be given up.
    pub fn take(&mut self, page: &Page) -> Result<(), ListingFault> {
        self.page(page)?;
        if page.next.is_some() { Ok(()) } else { self.end() }
    }

    /// Whether all rows so far came on one page of fewer than `size`, so that none can have moved between pages.
    pub fn fits(&self, size: u64) -> bool {
        self.filled < 2 && self.rows < size
    }

    /// How many accounts of the next page are new.
    fn page(&mut self, page: &Page) -> Result<usize, ListingFault> {
        self.pages += 1;
        self.filled += u32::from(!page.accounts.is_empty());
        self.rows += page.accounts.len() as u64;
        // Whoever came or went while the pages were read is in some totals only; those in all of them must be shown.
        self.announced = [self.announced, page.total].into_iter().flatten().min();
        let new = self.count(page);
        if let Some(next) = &page.next {
            if !self.cursors.insert(hash(next)) {
                return Err(ListingFault::Loops);
            }
            self.empty = if page.accounts.is_empty() { self.empty + 1 } else { 0 };
            if self.pages >= self.max_pages || self.empty > EMPTY_PAGES {
                return Err(ListingFault::Endless { pages: self.pages });
            }
        }
        let rows = page.accounts.len();
        if rows > 0 {
            // Whoever comes while an offset is read pushes rows to a page behind the last one: once, and no full page.
            if new == 0 && (self.repeated || rows >= self.fullest) {
                return Err(ListingFault::Repeats { rows });
            }
            self.repeated = new == 0;
        }
        self.fullest = self.fullest.max(rows);
        Ok(new)
    }

    fn count(&mut self, page: &Page) -> usize {
        let mut seen = HashSet::with_capacity(page.accounts.len());
        let mut new = 0;
        for account in &page.accounts {
            let (id, key) = (hash(&account.id), hash(&account.sort_key));
            if self.last_key != Some(key) {
                self.last_key = Some(key);
                self.same_key.clear();
            }
            let same_key = !self.same_key.insert(id);
            let on_page = !seen.insert(id);
            if !(same_key || on_page || self.recent.contains(&id)) {
                new += 1;
            }
        }
        if !page.accounts.is_empty() {
            self.recent = seen;
        }
        self.distinct += new as u64;
        new
    }

    /// Whether the listing that has just ended has shown everybody.
    fn end(&self) -> Result<(), ListingFault> {
        let distinct = self.distinct;
        if self.whole_tenant && distinct == 0 {
            return Err(ListingFault::Nobody);
        }
        match self.announced.filter(|announced| distinct < *announced) {
            Some(announced) => Err(ListingFault::Short { distinct, announced }),
            None => Ok(()),
        }
    }
}

/// Rows are told apart by 64 bits: two of a million are taken for one with a probability of 1 in 37 million, and then
/// the listing counts as short, never as complete.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
