//! Which of the intents that a crash left open may be on the wire still?
//!
//! A batch is sent in the order of its keys, so many at a time. The process that died was therefore waiting for the
//! answers to a few at most, and they are those next after the last account that shows its write. Whoever comes after
//! these few was never sent to and is due at once; the few wait until a write would show. That holds only while the
//! process that opened the batch is known to be gone: one that lives may be sending it right now.
//!
//! An account whose mark went again before it was read, be it by an admin or by its owner, shows nothing either. It hides
//! how far the batch came only if it was the last that was answered, so as many again are left to wait: for a request
//! that is on the wire to be taken for one that was not sent, a whole row of accounts at just that place must have been
//! cleared between the crash and the first read.

use std::collections::{BTreeSet, HashSet};

use super::ledger::AccountKey;

/// Who opened a batch, and how many requests of it could be unanswered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The name of the host, which in a cluster is the pod's: a container that is started again keeps it.
    pub host: String,
    /// The process.
    pub process: u32,
    /// Requests that it had on the way at the same time, at most.
    pub at_once: usize,
}

impl Opener {
    /// As its `Display` wrote it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (host, process, at_once) = (parts.next()?, parts.next()?, parts.next()?);
        let opener = Self { host: host.to_owned(), process: process.parse().ok()?, at_once: at_once.parse().ok()? };
        (parts.next().is_none() && !host.is_empty()).then_some(opener)
    }

    /// Whether this process is gone for certain, seen from process `own` of `host`; `runs` says whether a process of that
    /// number runs there. The first process of a container has the same number each time: then it is the one that asks.
    pub fn is_gone(&self, host: &str, own: u32, runs: impl FnOnce(u32) -> bool) -> bool {
        self.host == host && (self.process == own || !runs(self.process))
    }
}

impl std::fmt::Display for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.host, self.process, self.at_once)
    }
}

/// The intents that were open when a ledger was loaded, as far as they can be told apart.
#[derive(Clone, Debug, Default)]
pub struct Doubt {
    at_once: usize,
    open: HashSet<AccountKey>,
    /// Those after `last_sent` that show nothing.
    showing_nothing: BTreeSet<AccountKey>,
    last_sent: Option<AccountKey>,
}

impl Doubt {
    /// The open intents of a process that is gone and had `at_once` requests on the way at most.
    pub fn new(open: impl IntoIterator<Item = AccountKey>, at_once: usize) -> Self {
        Self { at_once: at_once.max(1), open: open.into_iter().collect(), ..Self::default() }
    }

    /// Takes in that a read shows nothing of the write to this account. Returns whether that may clear others.
    pub fn shows_nothing(&mut self, key: AccountKey) -> bool {
        self.open.contains(&key) && Some(key) > self.last_sent && self.showing_nothing.insert(key)
    }

    /// Takes in that a read shows the write to this account, or anything else than its absence: the batch came as far as
    /// this.
    pub fn may_have_been_sent(&mut self, key: AccountKey) {
        if self.open.contains(&key) {
            let last = self.last_sent.map_or(key, |last| last.max(key));
            self.last_sent = Some(last);
            self.showing_nothing = self.showing_nothing.split_off(&last);
        }
    }

    /// Whether the write to this account was certainly never sent.
    pub fn was_not_sent(&self, key: &AccountKey) -> bool {
        let waiting = 2 * self.at_once;
        self.open.contains(key) && self.showing_nothing.range(..key).take(waiting).count() == waiting
    }

    /// Takes in that these intents are recorded anew: from now on they are ours. That they showed nothing stays true of
    /// the time before.
    pub fn reopened(&mut self, keys: &[AccountKey]) {
        for key in keys {
            self.open.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: impl IntoIterator<Item = u64>) -> Vec<AccountKey> {
        numbers.into_iter().map(AccountKey).collect()
    }

    fn not_sent(doubt: &Doubt, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
        numbers.into_iter().filter(|number| doubt.was_not_sent(&AccountKey(*number))).collect()
    }

    #[test]
    fn whoever_comes_after_twice_as_many_as_were_on_the_way_was_not_sent_to() {
        let mut doubt = Doubt::new(keys(1..=9), 2);
        doubt.may_have_been_sent(AccountKey(1));
        doubt.may_have_been_sent(AccountKey(2));
        for number in 3..=9 {
            assert!(doubt.shows_nothing(AccountKey(number)));
        }
        assert_eq!(not_sent(&doubt, 1..=9), [7, 8, 9]);
    }

    #[test]
    fn whoever_was_cleared_before_the_last_that_shows_its_mark_is_not_taken_for_one_on_the_way() {
        for order in [[1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1]] {
            let mut doubt = Doubt::new(keys(1..=9), 2);
            for number in order {
                // 1 to 6 were sent; an admin cleared 1 to 4.
                if number == 5 || number == 6 {
                    doubt.may_have_been_sent(AccountKey(number));
                } else {
                    doubt.shows_nothing(AccountKey(number));
                }
            }
            assert!(not_sent(&doubt, 1..=9).is_empty(), "only three come after the last that was sent");
        }
    }

    #[test]
    fn one_that_was_cleared_at_the_very_end_lets_nobody_on_the_way_be_written_again() {
        let mut doubt = Doubt::new(keys(1..=9), 2);
        doubt.may_have_been_sent(AccountKey(1));
        assert!(!doubt.shows_nothing(AccountKey(1)), "once seen, it was sent, whoever clears it now");
        // 2 and 3 were answered and cleared, 4 and 5 are on the wire.
        for number in 2..=9 {
            doubt.shows_nothing(AccountKey(number));
        }
        assert_eq!(not_sent(&doubt, 1..=9), [6, 7, 8, 9]);
    }

    #[test]
    fn what_was_not_looked_at_yet_proves_nothing() {
        let mut doubt = Doubt::new(keys(1..=6), 1);
        doubt.shows_nothing(AccountKey(5));
        assert!(!doubt.was_not_sent(&AccountKey(6)), "1 to 4 may all be marked");
        assert!(!doubt.shows_nothing(AccountKey(5)), "no news");
        assert!(!doubt.shows_nothing(AccountKey(9)), "never intended");
        doubt.may_have_been_sent(AccountKey(9));
        assert!(doubt.shows_nothing(AccountKey(4)), "what was never intended says nothing of the batch");
        assert_eq!(not_sent(&doubt, 1..=9), [6]);
    }

    #[test]
    fn an_intent_that_is_recorded_anew_is_in_doubt_no_more_and_proves_what_it_did() {
        let mut doubt = Doubt::new(keys(1..=4), 1);
        for key in keys(1..=4) {
            doubt.shows_nothing(key);
        }
        assert_eq!(not_sent(&doubt, 1..=4), [3, 4]);
        doubt.reopened(&keys([1, 3]));
        doubt.may_have_been_sent(AccountKey(3));
        assert_eq!(not_sent(&doubt, 1..=4), [4], "3 may have been sent by now, by us");
    }

    #[test]
    fn an_opener_is_written_and_read_back_and_nothing_else_is_read() {
        let opener = Opener { host: "operator-0".to_owned(), process: 1, at_once: 8 };
        assert_eq!(Opener::parse(&opener.to_string()), Some(opener));
        for odd in ["", "host", "host 1", "host 1 x", "host -1 4", "host 1 4 5", " 1 4"] {
            assert_eq!(Opener::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn only_a_process_of_the_same_host_is_known_to_be_gone() {
        let opener = Opener { host: "a".to_owned(), process: 7, at_once: 4 };
        assert!(opener.is_gone("a", 8, |_| false));
        assert!(opener.is_gone("a", 7, |_| true), "its number is ours: it was the first of the same container");
        assert!(!opener.is_gone("a", 8, |process| process == 7));
        assert!(!opener.is_gone("b", 7, |_| false), "another host cannot be asked");
    }
}
