use jiff::Timestamp;

use super::*;

const ALL: [Verdict; 11] = [
    Verdict::NotTargeted,
    Verdict::Skip(SkipReason::Protected),
    Verdict::Changed,
    Verdict::Compliant,
    Verdict::Enforced,
    Verdict::Cleared,
    Verdict::Require,
    Verdict::Wait(Timestamp::UNIX_EPOCH),
    Verdict::NeedsRead,
    Verdict::Unknown("the mark"),
    Verdict::Failed(FailureCategory::Rejected),
];

fn of(verdicts: &[Verdict]) -> Tally {
    let mut tally = Tally::default();
    verdicts.iter().for_each(|verdict| tally.add(*verdict));
    tally
}

#[test]
fn targeted_is_the_sum_of_the_rest_and_who_is_not_targeted_counts_nowhere() {
    let tally = of(&ALL);
    assert_eq!(tally.targeted(), 10);
    assert_eq!((tally.compliant, tally.enforced, tally.changed, tally.pending), (1, 1, 1, 3));
    assert_eq!((tally.cleared, tally.skipped_total(), tally.failed_total(), tally.unknown), (1, 1, 1, 1));
}

#[test]
fn what_is_taken_back_leaves_no_trace() {
    let mut tally = of(&ALL);
    ALL.iter().for_each(|verdict| tally.remove(*verdict));
    assert_eq!(tally, Tally::default());
}

#[test]
fn the_sum_of_two_parts_counts_every_verdict_of_both() {
    for verdict in ALL {
        let mut sum = of(&[verdict, verdict]);
        sum.merge(&of(&[verdict, verdict, verdict]));
        assert_eq!(sum, of(&[verdict; 5]), "{verdict:?}");
    }
}

#[test]
fn at_most_twenty_failures_are_sampled_and_all_are_counted() {
    let mut tally = Tally::default();
    for n in 0..30 {
        tally.add_failure(format!("id-{n}"), FailureCategory::NotFound);
    }
    let mut sum = Tally::default();
    sum.merge(&tally);
    sum.merge(&tally);
    assert_eq!((tally.samples.len(), tally.failed_total()), (20, 30));
    assert_eq!((sum.samples.len(), sum.failed_total()), (20, 60));
    assert_eq!(tally.samples[0], Sample { subject: "id-0".into(), category: FailureCategory::NotFound });
}

#[test]
fn the_next_pass_comes_soon_only_after_a_failure_that_may_pass() {
    for category in FailureCategory::ALL {
        let failed = of(&[Verdict::Enforced, Verdict::Failed(category)]);
        assert_eq!(failed.retries(), category == FailureCategory::Transient, "{category:?}");
    }
    assert!(!of(&ALL[..10]).retries());
}

#[test]
fn that_sessions_are_refused_or_kept_in_one_part_is_true_of_the_whole() {
    for (one, other) in [(true, false), (false, true)] {
        let mut whole = Tally { sessions_refused: one, sessions_kept: 2, ..Tally::default() };
        whole.merge(&Tally { sessions_refused: other, sessions_kept: 3, ..Tally::default() });
        assert!(whole.sessions_refused);
        assert_eq!(whole.sessions_kept, 5);
    }
}
