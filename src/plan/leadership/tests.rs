use super::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn terms() -> Terms {
    Terms::new(15, 10, 2).unwrap()
}

fn held_by(holder: &str, renewed: &str) -> Option<Record> {
    Some(Record { holder: holder.to_owned(), renewed: renewed.to_owned(), transitions: 3, seconds: 15 })
}

fn candidate() -> Election {
    Election::new("me".to_owned(), terms())
}

#[test]
fn a_lease_that_is_missing_given_up_or_ours_is_taken() {
    for record in [None, held_by("", "1"), held_by("me", "1")] {
        assert_eq!(candidate().judge(record, seconds(100)), Move::Take);
    }
}

#[test]
fn a_lease_is_left_alone_until_it_has_not_changed_for_its_whole_duration() {
    let mut election = candidate();
    assert_eq!(election.judge(held_by("other", "1"), seconds(100)), Move::Wait(seconds(15)));
    assert_eq!(election.judge(held_by("other", "1"), seconds(110)), Move::Wait(seconds(5)));
    assert_eq!(election.judge(held_by("other", "1"), seconds(115)), Move::Take);
}

#[test]
fn each_renewal_that_is_seen_starts_the_wait_anew() {
    let mut election = candidate();
    election.judge(held_by("other", "1"), seconds(100));
    assert_eq!(election.judge(held_by("other", "2"), seconds(114)), Move::Wait(seconds(15)));
    assert_eq!(election.judge(held_by("other", "2"), seconds(128)), Move::Wait(seconds(1)));
    assert_eq!(election.judge(held_by("third", "2"), seconds(129)), Move::Wait(seconds(15)), "another holder");
}

#[test]
fn the_times_that_a_holder_wrote_are_never_compared_with_a_clock() {
    for renewed in ["1970-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "not a time"] {
        let mut election = candidate();
        assert_eq!(election.judge(held_by("other", renewed), seconds(5)), Move::Wait(seconds(15)), "{renewed}");
        assert_eq!(election.judge(held_by("other", renewed), seconds(20)), Move::Take, "{renewed}");
    }
}

#[test]
fn a_holder_with_longer_terms_is_believed_and_an_absurd_one_for_an_hour() {
    for (claimed, expected) in [(60, 60), (i32::MAX, 3600), (1, 15), (0, 15), (-5, 15)] {
        let record = held_by("other", "1").map(|record| Record { seconds: claimed, ..record });
        assert_eq!(candidate().judge(record, seconds(0)), Move::Wait(seconds(expected)), "{claimed}");
    }
}

#[test]
fn a_holder_stops_before_anybody_who_saw_its_last_renewal_may_begin() {
    // However late the renewal was seen after it was sent, and whether or not its answer arrived.
    for seen_after in 0..40 {
        let sent = seconds(1000);
        let mut other = Election::new("other".to_owned(), terms());
        let seen = sent + seconds(seen_after);
        let Move::Wait(rest) = other.judge(held_by("me", "1"), seen) else { panic!("held") };
        assert!(terms().acts_until(sent) < seen + rest);
    }
}

#[test]
fn a_holder_acts_for_the_renew_deadline_and_has_time_for_two_calls() {
    assert_eq!(terms().acts_until(seconds(100)), seconds(110));
    assert_eq!(terms().call(), seconds(5));
}

#[test]
fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
    let election = candidate();
    assert_eq!(election.transitions(None), 0);
    assert_eq!(election.transitions(held_by("me", "1").as_ref()), 3);
    assert_eq!(election.transitions(held_by("other", "1").as_ref()), 4);
    assert_eq!(election.transitions(held_by("", "1").as_ref()), 4);
}

#[test]
fn terms_that_could_make_two_leaders_are_refused() {
    for (lease, renew, retry) in [(10, 10, 2), (15, 20, 2), (15, 10, 10), (15, 10, 0), (0, 0, 0)] {
        let refused = Terms::new(lease, renew, retry).expect_err("they are refused");
        assert!(refused.contains("retry period < renew deadline < duration"), "{refused}");
    }
    assert_eq!(terms().call(), seconds(5));
}
