//! What time is it for this policy: by whose clock, and has the cutoff come?
//!
//! Passwords are dated by the provider's clock, so the cutoff is compared with that one where an answer has told it.

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;

use super::desired::Requirement;
use super::failure::Stop;

/// A cutoff this far ahead is waited for: people write "now" on a bad night, and clocks differ.
pub const WAIT_FOR_CUTOFF: SignedDuration = SignedDuration::from_mins(10);

/// A provider's clock that differs by more from ours is not believed.
pub const BELIEVABLE: SignedDuration = SignedDuration::from_hours(24);

/// Two readings of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Our clock.
    pub ours: Timestamp,
    /// What the provider's clock shows at that instant, where an answer has told.
    pub theirs: Option<Timestamp>,
}

impl Clocks {
    /// Whether the two are near enough for either to be believed.
    pub fn believable(self) -> bool {
        self.theirs.is_none_or(|theirs| theirs.duration_since(self.ours).abs() <= BELIEVABLE)
    }

    /// The clock that the cutoff is compared with: the provider's, else ours.
    pub fn deciding(&self) -> Timestamp {
        self.theirs.unwrap_or(self.ours)
    }

    /// The clock that work in progress goes by. One that is not believed is answered by a stop when the next slice begins;
    /// until then it moves nothing.
    pub fn working(&self) -> Timestamp {
        if self.believable() { self.deciding() } else { self.ours }
    }

    /// The earlier of both, from which an age is counted: nobody becomes due before either clock says so.
    pub fn earlier(&self) -> Timestamp {
        self.theirs.map_or(self.ours, |theirs| theirs.min(self.ours))
    }
}

/// The cutoff that holds for one pass, in whole seconds, as providers compare them. For an age it is fixed when the pass
/// starts, from the earlier of both clocks.
pub fn effective_cutoff(requirement: Requirement, clocks: Clocks) -> Timestamp {
    match requirement {
        Requirement::ChangedAfter(cutoff) => whole_seconds(cutoff),
        Requirement::MaxAgeDays(days) => {
            let age = SignedDuration::from_hours(24 * i64::from(days));
            whole_seconds(clocks.earlier().checked_sub(age).unwrap_or(Timestamp::MIN))
        }
    }
}

/// Rounds down to a whole second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000) as i64).unwrap_or(time)
}

/// Whether the provider's clock can be believed and has reached the cutoff.
///
/// # Errors
/// `ProviderResponseInvalid`, `WaitingForCutoff` (class Waiting, until the cutoff) or `CutoffInFuture` (class Stalled, until
/// it becomes `WaitingForCutoff` by itself).
pub fn cutoff_reached(cutoff: Timestamp, clocks: Clocks) -> Result<(), Stop> {
    if let Some(theirs) = clocks.theirs
        && !clocks.believable()
    {
        let message = format!(
            "the provider's clock says {} and ours says {}, more than a day apart, so neither is believed and nothing is \
             written: correct the clock that is wrong, or the proxy that changes the Date of answers",
            whole_seconds(theirs),
            whole_seconds(clocks.ours)
        );
        return Err(Stop::stalled(Reason::ProviderResponseInvalid, "", message));
    }
    let clock = clocks.deciding();
    let ahead = cutoff.duration_since(clock);
    if ahead <= SignedDuration::ZERO {
        return Ok(());
    }
    let path = "spec.requirement.passwordChangedAfter";
    let on_our_clock = |ahead| clocks.ours.checked_add(ahead).unwrap_or(Timestamp::MAX);
    let whose = if clocks.theirs.is_some() { "the provider's clock" } else { "the clock" };
    // The provider's clock is not named here: it moves, and a message that moves is a write a second.
    if ahead <= WAIT_FOR_CUTOFF {
        return Err(Stop::waiting(
            Reason::WaitingForCutoff,
            on_our_clock(ahead),
            path,
            format!(
                "the cutoff {} has not come yet by {whose}. Work begins when it has. Passwords changed before it do not count",
                whole_seconds(cutoff)
            ),
        ));
    }
    let begins = cutoff.checked_sub(WAIT_FOR_CUTOFF).unwrap_or(cutoff);
    let message = format!(
        "the cutoff {} is more than 10 minutes ahead of {whose}, which said {}. Check the date and its time zone. If it \
         is wrong, delete the policy and create one with the right date: it cannot be changed. If it is meant, wait: from {} \
         on it is waited for, and work begins by itself. Passwords changed before the cutoff do not count",
        whole_seconds(cutoff),
        whole_seconds(clock),
        whole_seconds(begins)
    );
    let until = Some(on_our_clock(ahead - WAIT_FOR_CUTOFF));
    Err(Stop { until, ..Stop::stalled(Reason::CutoffInFuture, path, message) })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    pub(crate) fn clocks(ours: i64, theirs: i64) -> Clocks {
        Clocks { ours: at(ours), theirs: Some(at(theirs)) }
    }

    #[test]
    fn a_clock_that_is_not_believed_moves_no_work_in_progress() {
        assert_eq!(clocks(0, 600).working(), at(600));
        for theirs in [i64::from(u32::MAX), -1_000_000_000] {
            assert_eq!(clocks(0, theirs).working(), at(0));
        }
    }

    #[test]
    fn an_age_is_counted_from_the_earlier_clock() {
        let age = Requirement::MaxAgeDays(2);
        assert_eq!(effective_cutoff(age, clocks(0, 90)), at(-172_800));
        assert_eq!(effective_cutoff(age, clocks(0, -90)), at(-172_890));
        assert_eq!(effective_cutoff(age, Clocks { ours: at(5), theirs: None }), at(-172_795));
    }

    proptest! {
        #[test]
        fn a_stop_with_a_time_is_another_at_that_time(ahead in 1_i64..50_000, skew in -80_000_i64..80_000) {
            let look = |now: i64| cutoff_reached(at(ahead), clocks(now + skew, now));
            let stop = look(0).unwrap_err();
            let then = stop.until.unwrap().duration_since(at(skew)).as_secs();
            prop_assert_ne!(look(then).err().map(|later| later.reason), Some(stop.reason));
            prop_assert_eq!(look(then - 1).err().map(|before| before.reason), Some(stop.reason));
        }
    }
}
