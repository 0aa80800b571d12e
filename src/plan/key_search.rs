//! What do the answers about a key mean, and is a listing cheaper than asking for each?

use super::desired::Place;
use super::failure::Stop;
use super::provider_error::{ErrorKind, ProviderError};
use super::unresolved::{self, Unresolved};
use crate::api::FailureCategory;

/// What a key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its account is protected.
    Protect,
    /// Its account is excluded.
    Exclude,
    /// Its account is selected.
    Select,
}

/// What it means that a listing has not shown a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It has shown everybody: nobody has it.
    Proven,
    /// It ended before its end.
    ProvesNothing,
}

/// What a look-up without an answer means for its key.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// A listing tells whom it names.
    Listing,
    /// It counts as failed, and everybody else is asked.
    Failed(FailureCategory),
    /// Whoever it protects may not be named by the provider, so nothing may be written.
    Stop(Stop),
    /// The tenant is in trouble, and the key waits.
    Tenant(ProviderError),
}

/// What `error` means for a key that was looked for at `place`. `proven`: where a search finds nobody, nobody is there.
/// `own_trouble` tells, and is asked only where it matters, whether the key has failed by itself so often that the tenant
/// is not to blame.
pub fn unanswered(
    purpose: Purpose,
    place: &Place,
    error: ProviderError,
    proven: bool,
    own_trouble: impl FnOnce() -> bool,
) -> Unanswered {
    if needs_listing(&error, proven) {
        return Unanswered::Listing;
    }
    match (purpose, error.kind) {
        (Purpose::Select, ErrorKind::Rejected) if error.is_refusal() => Unanswered::Failed(FailureCategory::Rejected),
        (Purpose::Select, _) if error.is_refusal() => Unanswered::Failed(FailureCategory::Forbidden),
        (Purpose::Exclude, _) if error.is_refusal() => {
            Unanswered::Stop(unresolved::exclusion_unresolved(place, Unresolved::Refused))
        }
        (Purpose::Protect, _) if error.is_refusal() => {
            Unanswered::Stop(unresolved::protected_unresolved(place, Unresolved::Refused))
        }
        // Nobody knows whom it names. Everybody else is asked, and it is tried again soon.
        (Purpose::Select, _) if error.is_unreadable() => Unanswered::Failed(FailureCategory::Transient),
        (Purpose::Select, _) if own_trouble() => Unanswered::Failed(FailureCategory::Transient),
        _ => Unanswered::Tenant(error),
    }
}

/// Up to how many accounts, in pages of `size` that are read `rounds` times, a listing costs less than `calls`.
pub fn most_listed_for(calls: u64, size: u64, rounds: u64) -> u64 {
    (calls / rounds).saturating_sub(2).saturating_mul(size)
}

/// Whether a search that failed says no more than one that found nobody: what the provider looks at is not documented.
fn needs_listing(error: &ProviderError, absence_is_proof: bool) -> bool {
    let is_invalid = error.is_refusal() && error.kind == ErrorKind::Rejected;
    !absence_is_proof && (is_invalid || error.is_unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    const PURPOSES: [Purpose; 3] = [Purpose::Protect, Purpose::Exclude, Purpose::Select];

    fn place() -> Place {
        Place::Entry { field: "spec.targets[0].users".into(), index: 3 }
    }

    /// What an answer of this kind means where a search proves that nobody is there.
    fn means(purpose: Purpose, kind: ErrorKind) -> Unanswered {
        unanswered(purpose, &place(), ProviderError::new(kind, "find", "x"), true, || false)
    }

    #[test]
    fn a_look_up_that_is_refused_stops_whoever_it_protects_and_fails_whom_it_selects() {
        for kind in [ErrorKind::Forbidden, ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::Rejected] {
            let stop = |purpose| match means(purpose, kind) {
                Unanswered::Stop(stop) => stop.reason,
                other => panic!("{kind:?}: {other:?}"),
            };
            assert_eq!(stop(Purpose::Protect), Reason::ProtectedUserUnresolved);
            assert_eq!(stop(Purpose::Exclude), Reason::ExclusionUnresolved);
        }
        let failed = |kind| means(Purpose::Select, kind);
        assert_eq!(failed(ErrorKind::Rejected), Unanswered::Failed(FailureCategory::Rejected));
        assert_eq!(failed(ErrorKind::PermissionDenied), Unanswered::Failed(FailureCategory::Forbidden));
    }

    #[test]
    fn an_answer_that_cannot_be_read_fails_whom_it_selects_for_now_and_nothing_is_written_without_what_protects() {
        let kind = ErrorKind::ResponseInvalid;
        assert_eq!(means(Purpose::Select, kind), Unanswered::Failed(FailureCategory::Transient));
        for purpose in [Purpose::Protect, Purpose::Exclude] {
            assert!(matches!(means(purpose, kind), Unanswered::Tenant(_)), "{purpose:?}");
        }
    }

    #[test]
    fn where_a_search_proves_nothing_a_listing_tells_what_an_odd_answer_does_not() {
        for purpose in PURPOSES {
            for kind in [ErrorKind::Rejected, ErrorKind::ResponseInvalid] {
                let error = ProviderError::new(kind, "find", "x");
                let means = unanswered(purpose, &place(), error, false, || panic!("it does not matter"));
                assert_eq!(means, Unanswered::Listing, "{purpose:?}, {kind:?}");
            }
        }
    }

    #[test]
    fn a_tenant_in_trouble_is_never_the_keys_fault_until_it_has_failed_by_itself_too_often() {
        let silent = || ProviderError::new(ErrorKind::Unreachable, "find", "x");
        for purpose in PURPOSES {
            assert_eq!(means(purpose, ErrorKind::Unreachable), Unanswered::Tenant(silent()), "{purpose:?}");
        }
        let own = unanswered(Purpose::Select, &place(), silent(), true, || true);
        assert_eq!(own, Unanswered::Failed(FailureCategory::Transient));
        let protects = unanswered(Purpose::Protect, &place(), silent(), true, || true);
        assert_eq!(protects, Unanswered::Tenant(silent()), "what protects is waited for");
    }

    #[test]
    fn a_listing_is_worth_its_pages_in_each_round_and_two_calls_more() {
        assert_eq!(most_listed_for(10, 100, 1), 800);
        assert_eq!(most_listed_for(10, 100, 2), 300);
        assert_eq!(most_listed_for(5, 100, 2), 0);
        assert_eq!(most_listed_for(0, 100, 1), 0);
        assert_eq!(most_listed_for(u64::MAX, 100, 1), u64::MAX);
    }
}
