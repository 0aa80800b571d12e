//! Which of several processes of this operator may act? Decided from the lease as it was read, our own name and a clock
//! that only goes forward.
//!
//! All times here are readings of such a clock of our own, as durations since some fixed moment. The times inside a
//! lease were written by the wall clock of another machine and are compared with nothing: a lease counts as renewed
//! when what is written in it changes, and as expired when it has not changed for as long as it says. So clocks may
//! differ by years; only their speed may not, and the lease is longer than the holder believes in it by the ratio of
//! [`Terms::lease`] to [`Terms::renew_deadline`].

use std::time::Duration;

#[cfg(test)]
mod tests;

/// The longest time that a lease can claim for itself: a mistyped number must not lock everybody out for years.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// How long a lease holds and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long others wait after the last renewal that they saw.
    pub lease: Duration,
    /// How long the holder acts after *sending* the last renewal that was accepted.
    pub renew_deadline: Duration,
    /// The pause between two renewals, and between two attempts after a failed one.
    pub retry: Duration,
}

impl Terms {
    /// Terms in seconds. *Errors*: a sentence for whoever set them, unless retry < renew deadline < lease.
    pub fn new(lease: u16, renew_deadline: u16, retry: u16) -> Result<Self, String> {
        if retry == 0 || retry >= renew_deadline || renew_deadline >= lease {
            return Err(format!(
                "the lease needs 0 < retry period < renew deadline < duration, and they are {retry}, {renew_deadline} and {lease} seconds"
            ));
        }
        let [lease, renew_deadline, retry] = [lease, renew_deadline, retry].map(|s| Duration::from_secs(s.into()));
        Ok(Self { lease, renew_deadline, retry })
    }

    /// Until when a holder acts whose renewal was sent at `sent` and accepted. When the answer came does not matter:
    /// others may have counted from the moment of sending.
    pub fn acts_until(&self, sent: Duration) -> Duration {
        sent + self.renew_deadline
    }

    /// How long one call may take, so that a second one still fits before the deadline.
    pub fn call(&self) -> Duration {
        self.renew_deadline / 2
    }
}

/// What is written in a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given up.
    pub holder: String,
    /// The time of the last renewal as its holder wrote it: a mark that changes, not a time to compare with.
    pub renewed: String,
    /// How often it has changed hands.
    pub transitions: i32,
    /// How long it holds, as its holder says, in seconds.
    pub seconds: i32,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Write our name into it: it is free, expired, or ours already.
    Take,
    /// It is held. It expires after this time, unless it changes.
    Wait(Duration),
}

/// One candidate's view of the lease.
#[derive(Debug)]
pub struct Election {
    me: String,
    terms: Terms,
    seen: Option<(Record, Duration)>,
}

impl Election {
    /// A candidate that has seen nothing yet. `me` is a name that no other process, and no earlier one, has.
    pub fn new(me: String, terms: Terms) -> Self {
        Self { me, terms, seen: None }
    }

    /// What to do about the lease that reads `record` (`None`: there is no lease) in an answer that came at `now`.
    pub fn judge(&mut self, record: Option<Record>, now: Duration) -> Move {
        let Some(record) = record else {
            self.seen = None;
            return Move::Take;
        };
        if record.holder.is_empty() || record.holder == self.me {
            return Move::Take;
        }
        let since = match &self.seen {
            Some((before, since)) if *before == record => *since,
            _ => now,
        };
        let claimed = Duration::from_secs(u64::try_from(record.seconds).unwrap_or_default()).min(LONGEST_LEASE);
        // A holder with longer terms than ours believes in them for longer.
        let expires = since + claimed.max(self.terms.lease);
        self.seen = Some((record, since));
        if expires <= now { Move::Take } else { Move::Wait(expires - now) }
    }

    /// The number of changes of hands to write when taking the lease that reads `record`.
    pub fn transitions(&self, record: Option<&Record>) -> i32 {
        record.map_or(0, |record| record.transitions.saturating_add(i32::from(record.holder != self.me)))
    }
}
