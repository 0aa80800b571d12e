//! The sentences that people read. No name or address of a person, and no number that moves while work goes on: counters
//! have fields of their own.

use crate::api::Reason;
use crate::api::password_reset_policy::Mode;

use super::findings::Findings;

/// The longest start of `text` that has at most `max` bytes and ends between characters.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn in_progress(mode: Mode) -> String {
    match mode {
        Mode::Enforce => "accounts are looked at, and a change is required of those that are due; see counts".into(),
        Mode::Observe => "accounts are looked at; mode Observe writes nothing".into(),
    }
}

pub(super) fn provider_not_ready(provider: &str, reason: Reason, message: &str) -> String {
    format!("{provider} is not Ready ({reason}): {message}")
}

pub(super) fn provider_unverified(provider: &str) -> String {
    format!("{provider} has not been verified yet")
}

pub(super) fn observed(found: &Findings) -> String {
    let counts = &found.counts;
    let due = match counts.pending {
        0 => "nobody is due".to_owned(),
        1 => "mode Enforce would require a change of 1 account".to_owned(),
        many => format!("mode Enforce would require a change of {many} accounts"),
    };
    format!("{due}: {}", summary(found))
}

pub(super) fn partially_failed(found: &Findings) -> String {
    let counts = &found.counts;
    if found.all_may_pass() {
        let (failed, targeted) = (counts.failed, counts.targeted);
        return format!(
            "{failed} of {targeted} accounts failed for causes that may pass (samples are in status.failures) and are tried \
             again soon: {}",
            summary(found)
        );
    }
    let mut parts = Vec::new();
    if counts.failed > 0 {
        parts.push(format!("{} failed (samples are in status.failures)", counts.failed));
    }
    if counts.unknown > 0 {
        parts.push(format!("of {} the provider does not say enough", counts.unknown));
    }
    format!(
        "of {} accounts {}. Correct the entry or the account, or exclude it; all are looked at again with every pass, and one \
         that was refused is asked again after an edit or a new value of the annotation passwordreset.dev/reconcile: {}",
        counts.targeted,
        parts.join(" and "),
        summary(found)
    )
}

pub(super) fn cleared(found: &Findings) -> String {
    format!(
        "{}. Set it by hand at the provider, exclude the accounts, or write a new policy: {}",
        drift(found.counts.cleared),
        summary(found)
    )
}

pub(super) fn drift(cleared: i64) -> String {
    format!("somebody else took the requirement from {} before the password was changed", accounts(cleared))
}

pub(super) fn changed(found: &Findings) -> String {
    format!("everybody has a new password: {}", summary(found))
}

pub(super) fn enforced(found: &Findings) -> String {
    format!("nobody can go on without a new password; {}: {}", still(found), summary(found))
}

pub(super) fn awaiting(found: &Findings) -> String {
    format!("{}: {}", still(found), summary(found))
}

pub(super) fn pending(found: &Findings) -> String {
    format!("nothing was required of {} yet: {}", accounts(found.counts.pending), summary(found))
}

fn still(found: &Findings) -> String {
    match found.counts.enforced {
        1 => "1 account has still to change it".into(),
        many => format!("{many} accounts have still to change it"),
    }
}

fn accounts(number: i64) -> String {
    if number == 1 { "1 account".into() } else { format!("{number} accounts") }
}

/// The counts in one line, the zero ones left out.
pub(super) fn summary(found: &Findings) -> String {
    let counts = &found.counts;
    let parts: Vec<String> = [
        (counts.compliant, "compliant", &[][..]),
        (counts.enforced, "enforced", &[]),
        (counts.changed, "changed", &[]),
        (counts.pending, "pending", &[]),
        (counts.cleared, "cleared", &[]),
        (counts.failed, "failed", &found.failed),
        (counts.unknown, "unknown", &[]),
        (counts.skipped, "skipped", &found.skipped),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, word, by_reason)| {
        let by_reason: Vec<String> =
            by_reason.iter().filter(|(_, count)| *count > 0).map(|(why, count)| format!("{why} {count}")).collect();
        match by_reason.is_empty() {
            true => format!("{count} {word}"),
            false => format!("{count} {word} ({})", by_reason.join(", ")),
        }
    })
    .collect();
    let sum = if parts.is_empty() { "no accounts".into() } else { parts.join(", ") };
    if found.sessions_refused {
        return format!(
            "{sum}. Sessions are not ended, which the provider refuses: grant the credential the right, or see whether the \
             plan covers it, and set a new value of the annotation passwordreset.dev/reconcile"
        );
    }
    if found.sessions_kept > 0 {
        return format!(
            "{sum}. The sessions of {} could not be ended: the provider refuses that, and it is tried again with each look",
            accounts(found.sessions_kept)
        );
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::policy_status::Counts;

    #[test]
    fn what_failed_and_what_is_not_told_are_said_with_their_numbers_and_nothing_else_is() {
        let said = |failed, unknown| {
            let counts = Counts { targeted: 9, failed, unknown, ..Counts::default() };
            partially_failed(&Findings { counts, ..Findings::default() })
        };
        let (failed, unknown) = ("2 failed (samples are in status.failures)", "of 3 the provider does not say enough");
        assert!(said(2, 3).starts_with(&format!("of 9 accounts {failed} and {unknown}. Correct")), "{}", said(2, 3));
        assert!(said(2, 0).starts_with(&format!("of 9 accounts {failed}. Correct")), "{}", said(2, 0));
        assert!(said(0, 3).starts_with(&format!("of 9 accounts {unknown}. Correct")), "{}", said(0, 3));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("aäb", 3), "aä");
        assert_eq!(cut("abc", 10), "abc");
    }

    #[test]
    fn each_sentence_says_what_and_of_how_many() {
        let found = |counts: Counts| Findings { counts, ..Findings::default() };
        let two = || found(Counts { targeted: 3, enforced: 2, pending: 1, ..Counts::default() });
        let one = || found(Counts { targeted: 1, enforced: 1, ..Counts::default() });
        let many = found(Counts { targeted: 7, pending: 7, ..Counts::default() });
        let sentences = [
            (
                provider_not_ready("IdentityProvider/p1", Reason::Unreachable, "no answer"),
                "IdentityProvider/p1 is not Ready (Unreachable): no answer",
            ),
            (provider_unverified("IdentityProvider/p1"), "IdentityProvider/p1 has not been verified yet"),
            (
                enforced(&two()),
                "nobody can go on without a new password; 2 accounts have still to change it: 2 enforced, 1 pending",
            ),
            (observed(&two()), "mode Enforce would require a change of 1 account: 2 enforced, 1 pending"),
            (observed(&one()), "nobody is due: 1 enforced"),
            (awaiting(&one()), "1 account has still to change it: 1 enforced"),
            (pending(&two()), "nothing was required of 1 account yet: 2 enforced, 1 pending"),
            (pending(&many), "nothing was required of 7 accounts yet: 7 pending"),
            (drift(1), "somebody else took the requirement from 1 account before the password was changed"),
            (summary(&Findings::default()), "no accounts"),
            (
                summary(&Findings {
                    counts: Counts { targeted: 2, skipped: 2, ..Counts::default() },
                    skipped: vec![("Disabled", 2), ("Locked", 0)],
                    ..Findings::default()
                }),
                "2 skipped (Disabled 2)",
            ),
        ];
        for (said, wanted) in sentences {
            assert_eq!(said, wanted);
        }
    }
}
