//! The seven rules, in their order.

use jiff::Timestamp;

use crate::api::FailureCategory;

use super::{Decision, Facts, Rules, SkipReason, Verdict};
use crate::plan::capabilities::Visibility;
use crate::plan::evidence::Sighting;
use crate::plan::ledger::{Baseline, Entry, State, seconds};
use crate::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};

/// Decides one account. `now` is the provider's clock.
pub fn decide(account: &Account, facts: &Facts, rules: &Rules, now: Timestamp) -> Decision {
    // Rule 1: protected accounts and the operator's own are left alone, whatever they show.
    if facts.protected || facts.own {
        return Verdict::Skip(SkipReason::Protected).into();
    }

    // Rule 2: who is excluded is not targeted. Without a password kept here there is nothing to change.
    if facts.excluded {
        return Verdict::NotTargeted.into();
    }
    if let Some(reason) = no_password_here(account) {
        return Verdict::Skip(reason).into();
    }

    // Rule 3: done is done for this cutoff, whatever the account shows now, so it costs no read. A cutoff that moves
    // along can pass a change: the account is then judged as if nothing were remembered.
    let entry = facts.entry.filter(|entry| !is_done(entry) || entry.since(rules.cutoff));
    match entry.map(|entry| entry.state) {
        Some(State::Changed) => return Verdict::Changed.into(),
        Some(State::Compliant) => return Verdict::Compliant.into(),
        _ => {}
    }
    if let Some(m) = facts.evidence.and_then(|evidence| evidence.changed).filter(|m| reaches(*m, rules.cutoff)) {
        // Another campaign saw a mark at or after this cutoff, and the owner change the password. Remembered here too,
        // since the other campaign's ledger may be deleted before this one's.
        let known = entry.unwrap_or(Entry::new(State::Changed, account.answered_at));
        return Decision { verdict: Verdict::Changed, record: Some(Entry { state: State::Changed, at: m, ..known }) };
    }

    // A lockout hides the mark: it still gates where it was seen before. An intent is not enough.
    if account.mark == Mark::Hidden && entry.is_some_and(|entry| is_marked(&entry) && !outdated(&entry, account, rules))
    {
        return Verdict::Enforced.into();
    }

    // Which states are targeted is looked at on every pass. What the answer does not give is settled in rule 7.
    let states = states(account);
    if states.disabled == Some(true) && !rules.states.disabled {
        return Verdict::Skip(SkipReason::Disabled).into();
    }
    if states.locked == Some(true) && !rules.states.locked {
        return Verdict::Skip(SkipReason::Locked).into();
    }
    if states.locked == Some(false) && states.disabled == Some(false) && !rules.states.active {
        return Verdict::Skip(SkipReason::Active).into();
    }

    judge(account, entry.as_ref(), facts, rules, now)
}

/// Rules 4 to 7, for an account that is targeted and not known to be done.
pub(super) fn judge(
    account: &Account,
    entry: Option<&Entry>,
    facts: &Facts,
    rules: &Rules,
    now: Timestamp,
) -> Decision {
    let incomplete = |what| if facts.complete { Verdict::Unknown(what) } else { Verdict::NeedsRead };

    // Rule 4: marked, by whomever and whatever the change time says: a temporary password or our own call may set both.
    match account.mark {
        Mark::Marked => return marked(account, entry, facts, rules),
        Mark::NotGiven => return incomplete("whether a change is required").into(),
        Mark::Unmarked | Mark::Hidden => {}
    }

    // Rule 5: unmarked and changed since the cutoff. A lockout hides the mark, but not that the password is new enough.
    let shows_changes = rules.visibility == Visibility::MarkAndChangeTime;
    if shows_changes && account.changed == ChangeTime::NotGiven && !facts.complete {
        return Verdict::NeedsRead.into();
    }
    let changed = match account.changed {
        ChangeTime::At(time) => Some(time).filter(|time| entry.is_none_or(|entry| is_later(*time, entry))),
        ChangeTime::NotGiven | ChangeTime::Absent => None,
    };
    if let Some(time) = changed.or(account.credential_created).filter(|time| *time >= rules.cutoff) {
        let required =
            entry.is_some_and(|entry| entry.writes > 0 || matches!(entry.state, State::Intended | State::Sent));
        let (verdict, state) =
            if required { (Verdict::Changed, State::Changed) } else { (Verdict::Compliant, State::Compliant) };
        let record = match entry {
            Some(entry) => Some(entry.with(state, time)),
            None => rules.remember_compliant.then(|| Entry::new(state, time)),
        };
        return Decision { verdict, record };
    }

    // Rule 6: a mark was seen at or after the cutoff, and it is gone.
    let entry = entry.filter(|entry| !outdated(entry, account, rules));
    if account.mark == Mark::Unmarked {
        if shows_changes {
            if let Some(entry) = entry.filter(|entry| is_counted_mark(entry, rules)) {
                return match account.changed {
                    ChangeTime::NotGiven => incomplete("the time of the last change").into(),
                    ChangeTime::Absent | ChangeTime::At(_) => cleared(entry, account, rules),
                };
            }
        } else if let Some((m, baseline)) = newest_mark(entry, facts).filter(|(m, _)| counts(*m, rules)) {
            match account.sign_in {
                SignIn::NotGiven => return incomplete("the last sign-in").into(),
                SignIn::At(time) if baseline.is_before(time) => {
                    // Inferred: nothing but a new password lets the owner sign in past the mark. Remembered with the
                    // time of the mark, which is all that is known about when.
                    let known = entry.copied().unwrap_or(Entry::new(State::Changed, account.answered_at));
                    let record = Entry { state: State::Changed, at: m, ..known };
                    return Decision { verdict: Verdict::Changed, record: Some(record) };
                }
                SignIn::At(_) if baseline == Baseline::Unknown => {
                    return Verdict::Unknown("the last sign-in at the time of the mark").into();
                }
                SignIn::At(_) | SignIn::Never => {}
            }
        }
        // Without a sign-in since, an admin took the mark away. Where only another campaign had seen it, it is that
        // campaign's to report, and here the account is due like any other.
        if let Some(entry) = entry.filter(|entry| !shows_changes && is_counted_mark(entry, rules)) {
            return cleared(entry, account, rules);
        }
    }
    // Sticky, also where the owner signs in later: only a newer mark of another campaign could tell more, above.
    if let Some(Entry { state: State::Cleared { .. }, .. }) = entry {
        return Verdict::Cleared.into();
    }

    // Rule 7: due, unless a write may still show, was refused, or had no effect.
    let not_sent = |entry: &Entry| facts.not_sent && entry.is_open();
    let sent = entry.filter(|entry| matches!(entry.state, State::Intended | State::Sent) && !not_sent(entry));
    if let Some(until) = sent.and_then(|entry| settles(entry, account, rules)) {
        return Verdict::Wait(until).into();
    }
    if account.credential == Credential::NotGiven {
        return incomplete("what kind of password it has").into();
    }
    let states = states(account);
    if states.locked.is_none() && rules.states.locked != rules.states.active {
        return incomplete("whether it is locked").into();
    }
    if states.disabled.is_none() && rules.states.disabled != rules.states.active {
        return incomplete("whether it is disabled").into();
    }
    match entry.map(|entry| (entry.state, entry)) {
        Some((State::Refused { refusal, tag }, _)) if tag == rules.refusal_tag => {
            return Verdict::Failed(refusal.into()).into();
        }
        Some((State::NotEffective, _)) => return Verdict::Failed(FailureCategory::WriteNotEffective).into(),
        Some((State::Intended | State::Sent, entry)) => {
            if account.mark == Mark::Hidden {
                return Verdict::Unknown("whether a change is required: a lockout hides it").into();
            }
            // An intent that was to repeat a write may have been sent before a crash: counted as if it was.
            let sent = entry.writes + u8::from(entry.is_open() && entry.writes > 0 && !not_sent(entry));
            let permitted = if rules.repeat_without_effect { 2 } else { 1 };
            if sent >= permitted {
                return Decision {
                    verdict: Verdict::Failed(FailureCategory::WriteNotEffective),
                    record: Some(entry.with(State::NotEffective, account.answered_at)),
                };
            }
        }
        _ => {}
    }
    // There is one, and it cannot be read: the password may be new enough.
    if shows_changes && account.changed == ChangeTime::NotGiven {
        return incomplete("the time of the last change").into();
    }
    if now < rules.cutoff {
        return Verdict::Wait(rules.cutoff).into();
    }
    Verdict::Require.into()
}

/// The mark is there: enforced, and remembered with what tells later whether the owner changed the password.
fn marked(account: &Account, entry: Option<&Entry>, facts: &Facts, rules: &Rules) -> Decision {
    let baseline = match (rules.visibility, account.changed, account.sign_in) {
        (Visibility::MarkAndChangeTime, ChangeTime::At(time), _) | (Visibility::MarkAndSignIn, _, SignIn::At(time)) => {
            Baseline::at(time)
        }
        (Visibility::MarkAndChangeTime, ChangeTime::Absent, _) | (Visibility::MarkAndSignIn, _, SignIn::Never) => {
            Baseline::Never
        }
        (Visibility::MarkAndChangeTime, ChangeTime::NotGiven, _) => Baseline::Unknown,
        (Visibility::MarkAndSignIn, _, SignIn::NotGiven) => {
            let known = matches!(entry, Some(Entry { state: State::Marked { baseline }, .. }) if *baseline != Baseline::Unknown);
            if !known && !facts.complete {
                return Verdict::NeedsRead.into();
            }
            Baseline::Unknown
        }
    };
    let m = account.answered_at;
    let record = match entry {
        None => Some(Entry::new(State::Marked { baseline }, m)),
        Some(entry) => match entry.state {
            State::Marked { baseline: old } => {
                let moved = rules.visibility == Visibility::MarkAndSignIn
                    && baseline != Baseline::Unknown
                    && (old == Baseline::Unknown || old < baseline);
                let reached = !entry.since(rules.cutoff) && m >= rules.cutoff;
                let baseline = if moved { baseline } else { old };
                let newer = Entry { at: entry.at.max(seconds(m)), state: State::Marked { baseline }, ..*entry };
                (moved || reached).then_some(newer)
            }
            // Back again. The change that the read-back of our own write showed still does not count.
            State::Cleared { baseline: old } => {
                let own = rules.visibility == Visibility::MarkAndChangeTime && entry.writes > 0;
                Some(entry.with(State::Marked { baseline: if own { old } else { baseline } }, m))
            }
            // After a crash or an unclear answer this is the first that is seen of our write.
            State::Intended => Some(Entry { writes: entry.writes.max(1), ..entry.with(State::Marked { baseline }, m) }),
            _ => Some(entry.with(State::Marked { baseline }, m)),
        },
    };
    Decision { verdict: Verdict::Enforced, record: record.filter(|record| Some(record) != entry) }
}

/// The mark is gone, unless the answer is older than the mark: a provider may show a write late, be it its own answer that
/// showed it at once.
fn cleared(entry: &Entry, account: &Account, rules: &Rules) -> Decision {
    let State::Marked { baseline } = entry.state else { return Verdict::Cleared.into() };
    if let Some(until) = settles(entry, account, rules) {
        return Verdict::Wait(until).into();
    }
    let record = entry.with(State::Cleared { baseline }, account.answered_at);
    Decision { verdict: Verdict::Cleared, record: Some(record) }
}

/// Rule 2: why there is no password to change, as far as the answer tells.
pub(super) fn no_password_here(account: &Account) -> Option<SkipReason> {
    match account.credential {
        Credential::NoPassword => Some(SkipReason::NoPassword),
        Credential::Federated => Some(SkipReason::Federated),
        Credential::Service => Some(SkipReason::Service),
        Credential::Local | Credential::NotGiven => None,
    }
}

struct ShownStates {
    locked: Option<bool>,
    disabled: Option<bool>,
}

/// What the answer tells about the account's state. What hides the mark is a lockout.
fn states(account: &Account) -> ShownStates {
    let locked = if account.mark == Mark::Hidden { Some(true) } else { account.locked };
    ShownStates { locked, disabled: account.disabled }
}

fn is_done(entry: &Entry) -> bool {
    matches!(entry.state, State::Changed | State::Compliant)
}

fn is_marked(entry: &Entry) -> bool {
    matches!(entry.state, State::Marked { .. })
}

fn reaches(at: u32, cutoff: Timestamp) -> bool {
    i64::from(at) >= cutoff.as_second()
}

/// Whether a mark seen at `m` counts for this policy: only one at or after its cutoff says that nobody goes on with an
/// older password. A cutoff that moves along was behind every mark when it was seen.
fn counts(m: u32, rules: &Rules) -> bool {
    rules.rolling || reaches(m, rules.cutoff)
}

fn is_counted_mark(entry: &Entry, rules: &Rules) -> bool {
    is_marked(entry) && counts(entry.at, rules)
}

/// Whether a change at `time` is one that came after our own write: one that its read-back showed already may be the
/// write's doing. Where nothing was read back, any change counts.
fn is_later(time: Timestamp, entry: &Entry) -> bool {
    match entry.state {
        State::Marked { baseline: baseline @ Baseline::At(_) }
        | State::Cleared { baseline: baseline @ Baseline::At(_) } => entry.writes == 0 || baseline.is_before(time),
        _ => true,
    }
}

/// Whether the owner changed the password after the mark was seen, but not since the cutoff: the mark went by a change,
/// not by an admin, and what was remembered belongs to an older requirement.
fn outdated(entry: &Entry, account: &Account, rules: &Rules) -> bool {
    let ChangeTime::At(time) = account.changed else { return false };
    matches!(entry.state, State::Marked { .. } | State::Cleared { .. })
        && time.as_second() > i64::from(entry.at)
        && time < rules.cutoff
}

/// The newest mark that this campaign or another one saw, unless something newer was seen: that it had gone without a
/// sign-in, or that this campaign found the account due and set out to write.
fn newest_mark(entry: Option<&Entry>, facts: &Facts) -> Option<(u32, Baseline)> {
    let other = facts.evidence.and_then(|evidence| evidence.newest);
    let own = entry.and_then(|entry| match entry.state {
        State::Marked { baseline } => Some((entry.at, Sighting::Marked(baseline))),
        State::Cleared { .. } | State::Intended | State::Sent => Some((entry.at, Sighting::Cleared)),
        _ => None,
    });
    match own.max(other)? {
        (m, Sighting::Marked(baseline)) => Some((m, baseline)),
        (_, Sighting::Cleared) => None,
    }
}

/// When to read again, where a write that was sent (or perhaps was) may not show yet: three reads over the settle time.
fn settles(entry: &Entry, account: &Account, rules: &Rules) -> Option<Timestamp> {
    let read = account.answered_at.as_second();
    let sent = i64::from(entry.at);
    let last = sent + i64::from(rules.settle_seconds);
    let middle = sent + i64::from(rules.settle_seconds / 2);
    let next = if read < middle { middle } else { last };
    (read < last).then(|| Timestamp::from_second(next).unwrap_or(Timestamp::MAX))
}
