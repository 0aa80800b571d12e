//! How a list of conditions changes: transition times are kept while a status stays, and nothing is longer than it may be.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::text::cut;
use crate::api::{ConditionType, Reason};

/// The longest message of a condition, in bytes. The API allows 32768; a person reads a few lines.
const MAX_MESSAGE: usize = 4096;

/// The longest note of an event, in bytes (events.k8s.io/v1 refuses more).
const MAX_NOTE: usize = 1024;

/// True, False or Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    pub(super) const fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A list of conditions in the making.
pub(super) struct Conditions<'a> {
    previous: &'a [Condition],
    generation: i64,
    now: Time,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(previous: &'a [Condition], generation: i64, now: Timestamp) -> Self {
        Self { previous, generation, now: whole_seconds(now), list: Vec::new() }
    }

    /// Adds a condition. One that already had this status keeps its transition time.
    pub(super) fn set(&mut self, type_: ConditionType, truth: Truth, reason: Reason, message: &str) {
        let since = find(self.previous, type_)
            .filter(|before| before.status == truth.as_str())
            .map_or_else(|| self.now.clone(), |before| before.last_transition_time.clone());
        self.list.push(Condition {
            type_: type_.as_str().to_owned(),
            status: truth.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            message: bounded(message, MAX_MESSAGE),
            observed_generation: Some(self.generation),
            last_transition_time: since,
        });
    }

    /// Takes a condition over from the previous list, where it speaks about the same generation there; whether it does.
    pub(super) fn keep(&mut self, type_: ConditionType) -> bool {
        let kept = find(self.previous, type_).filter(|before| before.observed_generation == Some(self.generation));
        self.list.extend(kept.cloned());
        kept.is_some()
    }

    /// Takes a condition over from the previous list as one about the present generation.
    pub(super) fn carry(&mut self, type_: ConditionType) {
        let carried = find(self.previous, type_)
            .map(|before| Condition { observed_generation: Some(self.generation), ..before.clone() });
        self.list.extend(carried);
    }

    /// The message that the previous condition of this type has, where it says the same about the same generation.
    pub(super) fn said(&self, type_: ConditionType, truth: Truth, reason: Reason) -> Option<&'a str> {
        find(self.previous, type_)
            .filter(|before| before.status == truth.as_str() && before.reason == reason.as_str())
            .filter(|before| before.observed_generation == Some(self.generation))
            .map(|before| before.message.as_str())
    }

    pub(super) fn into_list(self) -> Vec<Condition> {
        self.list
    }
}

/// The condition of a type, where there is one.
pub(super) fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Whether two lists say the same: types, statuses and reasons, whatever their messages.
pub(super) fn same_words(left: &[Condition], right: &[Condition]) -> bool {
    left.len() == right.len()
        && left.iter().all(|condition| {
            right.iter().any(|other| {
                other.type_ == condition.type_
                    && other.status == condition.status
                    && other.reason == condition.reason
                    && other.observed_generation == condition.observed_generation
            })
        })
}

/// A note that an event may carry.
pub(super) fn note(text: &str) -> String {
    bounded(text, MAX_NOTE)
}

/// `text` in at most `max` bytes, cut at a character and marked as cut.
pub(super) fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mark = " …";
    format!("{}{mark}", cut(text, max - mark.len()))
}

/// A time as the API server keeps it.
pub(super) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000) as i64).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_over_only_where_the_same_was_said_about_the_same_generation() {
        let now = Timestamp::UNIX_EPOCH;
        let mut before = Conditions::new(&[], 1, now);
        before.set(ConditionType::Ready, Truth::True, Reason::Enforced, "5 enforced");
        let before = before.into_list();
        let said =
            |generation, type_, truth, reason| Conditions::new(&before, generation, now).said(type_, truth, reason);
        use ConditionType::{Changed, Ready};
        assert_eq!(said(1, Ready, Truth::True, Reason::Enforced), Some("5 enforced"));
        assert_eq!(said(2, Ready, Truth::True, Reason::Enforced), None);
        assert_eq!(said(1, Ready, Truth::False, Reason::Enforced), None);
        assert_eq!(said(1, Ready, Truth::True, Reason::Changed), None);
        assert_eq!(said(1, Changed, Truth::True, Reason::Enforced), None);
    }

    #[test]
    fn what_is_carried_over_is_said_about_the_present_generation() {
        let now = Timestamp::UNIX_EPOCH;
        let mut before = Conditions::new(&[], 1, now);
        before.set(ConditionType::Enforceable, Truth::True, Reason::Verified, "verified");
        let before = before.into_list();
        let mut after = Conditions::new(&before, 2, now);
        after.carry(ConditionType::Enforceable);
        let after = after.into_list();
        assert_eq!((after.len(), after[0].observed_generation, after[0].message.as_str()), (1, Some(2), "verified"));
    }

    #[test]
    fn lists_that_differ_in_one_word_of_one_condition_do_not_say_the_same() {
        let list = |type_, truth, reason, generation, message| {
            let mut list = Conditions::new(&[], generation, Timestamp::UNIX_EPOCH);
            list.set(ConditionType::Changed, Truth::False, Reason::AwaitingUsers, "5 of 9");
            list.set(type_, truth, reason, message);
            list.into_list()
        };
        use ConditionType::{Enforced, Ready};
        let one = list(Ready, Truth::True, Reason::Enforced, 1, "5 enforced");
        assert!(same_words(&one, &list(Ready, Truth::True, Reason::Enforced, 1, "9 enforced")));
        assert!(!same_words(&one, &list(Enforced, Truth::True, Reason::Enforced, 1, "5 enforced")));
        assert!(!same_words(&one, &list(Ready, Truth::False, Reason::Enforced, 1, "5 enforced")));
        assert!(!same_words(&one, &list(Ready, Truth::True, Reason::Changed, 1, "5 enforced")));
        assert!(!same_words(&one, &list(Ready, Truth::True, Reason::Enforced, 2, "5 enforced")));
        assert!(!same_words(&one, &one[..1]));
    }
}
