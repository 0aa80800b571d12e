//! Which chapters are there, whom do they apply to, and which sentences are in them?
//!
//! A statement that is in no list here is dead code, which the compiler reports.

use password_reset_operator::plan::capabilities::{Capabilities, Visibility};

/// What is run for one provider.
#[derive(Clone, Copy)]
pub struct Run {
    /// Its capabilities.
    pub capabilities: &'static Capabilities,
    /// Whether it fetches tokens.
    pub tokens: bool,
    /// The conditional chapters that are run.
    pub chapters: &'static [&'static str],
}

/// A chapter that applies to some providers only.
pub struct Chapter {
    /// Its name.
    pub name: &'static str,
    /// Whether it applies to a provider with these capabilities that fetches tokens or not.
    pub applies: fn(&Capabilities, bool) -> bool,
    /// Why it does not, as the rest of a sentence.
    pub otherwise: &'static str,
}

/// All of them.
pub const CONDITIONAL: &[Chapter] = &[
    Chapter { name: "user_names", applies: |can, _| can.keys.username, otherwise: "has no user names" },
    Chapter { name: "groups", applies: |can, _| can.groups, otherwise: "has no groups" },
    Chapter { name: "populations", applies: |can, _| can.populations, otherwise: "has no populations" },
    Chapter { name: "sessions", applies: |can, _| can.revoke_sessions, otherwise: "cannot end sessions" },
    Chapter {
        name: "everybody",
        applies: |can, _| can.tenant_native,
        otherwise: "has no call that requires a change of everybody",
    },
    Chapter {
        name: "change_time",
        applies: |can, _| can.visibility == Visibility::MarkAndChangeTime,
        otherwise: "does not show when a password was changed",
    },
    Chapter {
        name: "sign_in",
        applies: |can, _| can.visibility == Visibility::MarkAndSignIn,
        otherwise: "shows the change itself, so that nothing is inferred from sign-ins",
    },
    Chapter { name: "tokens", applies: |_, tokens| tokens, otherwise: "sends a fixed key" },
];

/// All tests of one provider, in a module of its name: the chapters for everybody, and those named.
macro_rules! provider {
    ($name:ident: $subject:ty => $($chapter:ident)*) => {
        mod $name {
            pub const RUN: crate::suite::Run = crate::suite::Run {
                capabilities: <$subject as crate::subject::Subject>::CAPABILITIES,
                tokens: <$subject as crate::subject::Subject>::TOKENS,
                chapters: &[$(stringify!($chapter)),*],
            };
            chapter!($subject, verifying);
            chapter!($subject, listing);
            chapter!($subject, finding);
            chapter!($subject, completing);
            chapter!($subject, requiring);
            chapter!($subject, stopping);
            chapter!($subject, clearing);
            chapter!($subject, reading);
            chapter!($subject, credentials);
            chapter!($subject, answers);
            chapter!($subject, writes_in_doubt);
            chapter!($subject, pressure);
            chapter!($subject, addresses);
            $(chapter!($subject, $chapter);)*
        }
    };
}

/// The tests of one chapter.
macro_rules! sentences {
    ($subject:ty, $chapter:ident: $($sentence:ident)*) => {
        mod $chapter {
            $(#[tokio::test]
            async fn $sentence() {
                crate::statements::$chapter::$sentence::<$subject>().await;
            })*
        }
    };
}

macro_rules! chapter {
    ($subject:ty, verifying) => { sentences!($subject, verifying:
        it_names_the_tenant_and_says_whether_a_requirement_bites
        two_tenants_have_two_identities
        it_takes_at_most_six_calls
        the_clock_is_unknown_before_the_first_answer
    ); };
    ($subject:ty, listing) => { sentences!($subject, listing:
        everybody_comes_exactly_once_over_several_pages
        pages_smaller_than_asked_for_are_not_the_end
        a_total_is_true_where_it_is_announced
        who_was_hired_is_in_it_and_who_was_deleted_is_not
        a_place_that_cannot_be_read_is_an_error_and_nothing_is_sent
    ); };
    ($subject:ty, finding) => { sentences!($subject, finding:
        an_id_and_an_address_find_exactly_their_account
        an_address_ignores_case_and_an_id_in_another_case_is_nobody_elses
        a_key_costs_one_call
        a_key_that_nobody_has_finds_nobody
        a_key_is_data_and_never_syntax
        what_does_not_exist_there_is_unsupported_and_nothing_is_sent
    ); };
    ($subject:ty, user_names) => { sentences!($subject, user_names:
        a_user_name_finds_exactly_its_account_whatever_its_case
        a_user_name_that_nobody_has_finds_nobody
    ); };
    ($subject:ty, completing) => { sentences!($subject, completing:
        a_row_costs_a_call_only_for_what_it_lacks
        mark_change_time_and_credential_are_there_afterwards
        a_completed_row_says_the_same_as_a_read
    ); };
    ($subject:ty, requiring) => { sentences!($subject, requiring:
        exactly_that_account_is_marked_and_everybody_else_is_as_before
        it_is_confirmed_by_its_answer_or_by_reading_back
        it_takes_as_many_calls_as_the_capabilities_say
        a_listing_shows_exactly_who_was_marked
        who_is_gone_is_refused_and_reads_say_not_found
    ); };
    ($subject:ty, stopping) => { sentences!($subject, stopping:
        a_closed_gate_lets_no_write_out
        the_gate_is_asked_once_for_each_write
    ); };
    ($subject:ty, clearing) => { sentences!($subject, clearing:
        a_mark_set_by_an_admin_is_shown
        a_mark_cleared_by_an_admin_leaves_no_sign_of_a_change
    ); };
    ($subject:ty, change_time) => { sentences!($subject, change_time:
        complying_takes_the_mark_away_and_moves_the_change_time
        signing_in_moves_no_change_time
    ); };
    ($subject:ty, sign_in) => { sentences!($subject, sign_in:
        complying_takes_the_mark_away_and_moves_the_last_sign_in
        a_change_time_is_never_given
    ); };
    ($subject:ty, reading) => { sentences!($subject, reading:
        reading_everything_changes_nothing
    ); };
    ($subject:ty, credentials) => { sentences!($subject, credentials:
        a_refused_credential_is_an_authentication_failure_whatever_is_asked
        a_refused_credential_costs_at_most_one_request_a_call
    ); };
    ($subject:ty, tokens) => { sentences!($subject, tokens:
        a_token_is_used_until_a_fresh_one_is_asked_for
        a_refused_credential_is_remembered_until_a_fresh_token_is_asked_for
        a_refused_token_is_replaced_and_the_write_takes_effect_once
        a_token_refused_twice_is_not_replaced_again
        a_token_answer_that_cannot_be_read_sends_nothing_further
        a_token_address_that_redirects_is_refused
    ); };
    ($subject:ty, answers) => { sentences!($subject, answers:
        an_unreadable_answer_is_never_taken_for_an_empty_page
        an_unreadable_answer_is_never_taken_for_nobody
        an_answer_about_somebody_else_is_never_believed
        a_redirect_is_refused_and_nothing_is_sent_there
        an_error_shows_nothing_of_an_answer
    ); };
    ($subject:ty, writes_in_doubt) => { sentences!($subject, writes_in_doubt:
        an_answer_lost_after_the_write_leaves_its_effect_unknown
        an_answer_lost_before_the_write_leaves_its_effect_unknown
        a_server_that_fails_after_the_write_leaves_its_effect_unknown
        an_unreadable_answer_is_taken_for_neither_done_nor_failed
        a_success_that_tells_of_somebody_else_is_not_seen
    ); };
    ($subject:ty, pressure) => { sentences!($subject, pressure:
        too_many_requests_is_throttled_with_the_pause_asked_for
        a_throttled_write_is_not_in_doubt
        a_failing_server_is_unreachable
    ); };
    ($subject:ty, addresses) => { sentences!($subject, addresses:
        an_id_stays_one_segment_of_the_path
    ); };
    ($subject:ty, groups) => { sentences!($subject, groups:
        a_name_and_an_id_find_one_and_nothing_else_does
        members_are_direct_members_exactly_once
        one_without_members_lists_nobody
    ); };
    ($subject:ty, populations) => { sentences!($subject, populations:
        a_name_and_an_id_find_one_and_nothing_else_does
        members_are_direct_members_exactly_once
    ); };
    ($subject:ty, sessions) => { sentences!($subject, sessions:
        exactly_that_persons_sessions_end
        a_closed_gate_leaves_them_open
        who_is_gone_is_refused
    ); };
    ($subject:ty, everybody) => { sentences!($subject, everybody:
        one_call_marks_everybody_who_has_a_password
        a_closed_gate_lets_it_not_out
        an_answer_lost_leaves_its_effect_unknown
    ); };
}
