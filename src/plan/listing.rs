//! Has a listing shown everybody? A listing that is cut short, repeats itself or loops is never "everybody".

use std::collections::HashSet;

use super::observed::{Cursor, Listing, Page};

/// Why a listing cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingFault {
    /// The same cursor came twice.
    #[error("the listing loops: the same position came twice")]
    Loops,
    /// A page had rows and none was new.
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
        /// What the provider announced last.
        announced: u64,
    },
}

/// Follows one listing from its first page to its end.
#[derive(Clone, Debug)]
pub struct ListingCheck {
    cursors: HashSet<u64>,
}

impl ListingCheck {
    /// A listing that has not begun. `max_pages` bounds it.
    pub fn new(listing: &Listing, max_pages: u32) -> Self {
        let _ = (listing, max_pages);
        Self { cursors: HashSet::new() }
    }

    /// Takes in one page. *Errors*: it loops, repeats itself or does not end; nothing of the pass is then complete.
    pub fn page(&mut self, page: &Page) -> Result<(), ListingFault> {
        let _: Option<&Cursor> = page.next.as_ref();
        Ok(())
    }

    /// How many distinct accounts have been listed.
    pub fn distinct(&self) -> u64 {
        self.cursors.len() as u64
    }

    /// Whether the listing that has just ended (`next` was `None`) has shown everybody.
    pub fn end(&self) -> Result<(), ListingFault> {
        Ok(())
    }
}
