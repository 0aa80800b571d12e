//! May anything be written on this target now?
//!
//! Every rule that keeps the operator from writing, over plain data: what [`super::suspension`] and [`super::clocks`] say,
//! `access: ReadOnly`, and a provider that would not enforce. The engine asks [`permission`] before each slice of work; the
//! function that sends a write asks again. What is desired is resolved in [`super::desired`]; what is said is decided in
//! `status`.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::identity_provider::Access;
use crate::api::password_reset_policy::Mode;

use super::clocks::{Clocks, cutoff_reached};
use super::failure::Stop;
use super::observed::Enforceable;
use super::suspension::Suspension;
use super::tenant_native::Refused;

/// Everything that decides whether a target may be written to.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The position of the target in `spec.targets`.
    pub index: usize,
    /// The policy's mode.
    pub mode: Mode,
    /// The provider object as `Kind/name`.
    pub provider: &'a str,
    /// The provider object's `access`.
    pub access: Access,
    /// What the last verification said.
    pub enforceable: &'a Enforceable,
    /// The cutoff of this pass.
    pub cutoff: Timestamp,
    /// Both clocks, now.
    pub clocks: Clocks,
    /// The strongest suspension.
    pub suspension: Option<&'a Suspension>,
}

/// What may be done on a target now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read and write.
    Write,
    /// Read only: mode Observe, or the policy is suspended.
    Look,
    /// Neither, but for probes of the provider: the provider or the operator is suspended.
    Rest,
    /// Neither, because of this.
    Stop(Stop),
}

/// What may be done on a target now. A suspension comes first, since it is meant; the rest is in the order in which a
/// human would correct it.
pub fn permission(situation: &Situation<'_>) -> Permission {
    let Situation { index, mode, provider, access, enforceable, cutoff, clocks, suspension } = *situation;
    if suspension.is_some_and(Suspension::stops_reads) {
        return Permission::Rest;
    }
    if mode == Mode::Enforce && access == Access::ReadOnly {
        return Permission::Stop(Stop::stalled(
            Reason::ReadOnly,
            format!("spec.targets[{index}].providerRef"),
            format!("{provider} has access: ReadOnly: set access: ReadWrite there, or mode: Observe here"),
        ));
    }
    if let (Mode::Enforce, Enforceable::No(why)) = (mode, enforceable) {
        return Permission::Stop(Stop::stalled(
            Reason::NotEnforceable,
            format!("spec.targets[{index}].providerRef"),
            format!("{provider} would record the requirement without enforcing it: {why}"),
        ));
    }
    if let Err(stop) = cutoff_reached(cutoff, clocks) {
        return Permission::Stop(stop);
    }
    if suspension.is_some() || mode == Mode::Observe { Permission::Look } else { Permission::Write }
}

/// The stop for a target whose one call for everybody is refused; `None` where nothing speaks against it.
pub fn tenant_native_refused(reasons: &[Refused]) -> Option<Stop> {
    let first = reasons.first()?;
    let also = reasons[1..].iter().map(|other| format!(". {}: {}", other.path, other.message));
    let message = also.fold(first.message.clone(), |message, other| message + &other);
    Some(Stop::stalled(Reason::InvalidSpec, first.path.clone(), message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::clocks::tests::{at, clocks};
    use crate::plan::failure::Class;

    fn situation() -> Situation<'static> {
        Situation {
            index: 1,
            mode: Mode::Enforce,
            provider: "IdentityProvider/pingone-prod",
            access: Access::ReadWrite,
            enforceable: &Enforceable::Yes,
            cutoff: at(0),
            clocks: clocks(0, 0),
            suspension: None,
        }
    }

    fn stop(situation: &Situation<'_>) -> Stop {
        match permission(situation) {
            Permission::Stop(stop) => stop,
            other => panic!("no stop: {other:?}"),
        }
    }

    #[test]
    fn a_cutoff_that_the_providers_clock_has_reached_is_written_for() {
        assert_eq!(permission(&situation()), Permission::Write);
        assert_eq!(permission(&Situation { clocks: clocks(-3600, 0), ..situation() }), Permission::Write);
    }

    #[test]
    fn a_cutoff_is_compared_with_the_providers_clock_and_not_with_ours() {
        let stop = stop(&Situation { clocks: clocks(3600, -1), ..situation() });
        assert_eq!((stop.class, stop.reason), (Class::Waiting, Reason::WaitingForCutoff));
        assert_eq!(stop.until, Some(at(3601)));
    }

    #[test]
    fn without_a_date_our_clock_decides() {
        let ours = |second| Situation { clocks: Clocks { ours: at(second), theirs: None }, ..situation() };
        assert_eq!(permission(&ours(0)), Permission::Write);
        assert_eq!(stop(&ours(-1)).reason, Reason::WaitingForCutoff);
    }

    #[test]
    fn ten_minutes_ahead_is_waited_for_and_a_second_more_is_not() {
        let ten_minutes = stop(&Situation { clocks: clocks(-600, -600), ..situation() });
        assert_eq!((ten_minutes.class, ten_minutes.reason), (Class::Waiting, Reason::WaitingForCutoff));
        assert!(ten_minutes.message.contains("do not count"), "{}", ten_minutes.message);
        let more = stop(&Situation { clocks: clocks(-601, -601), ..situation() });
        assert_eq!((more.class, more.reason, more.until), (Class::Stalled, Reason::CutoffInFuture, Some(at(-600))));
        for said in [at(0).to_string(), at(-601).to_string(), at(-600).to_string(), "do not count".into()] {
            assert!(more.message.contains(&said), "{said} in {}", more.message);
        }
    }

    #[test]
    fn a_clock_more_than_a_day_off_is_not_believed_and_both_are_named() {
        let day = 24 * 3600;
        assert_eq!(permission(&Situation { clocks: clocks(0, day), ..situation() }), Permission::Write);
        for theirs in [day + 1, -day - 1] {
            let stop = stop(&Situation { clocks: clocks(0, theirs), ..situation() });
            assert_eq!((stop.class, stop.reason), (Class::Stalled, Reason::ProviderResponseInvalid));
            assert!(stop.message.contains(&at(0).to_string()) && stop.message.contains(&at(theirs).to_string()));
        }
    }

    #[test]
    fn a_read_only_provider_is_looked_at_and_never_written_to() {
        let read_only = Situation { access: Access::ReadOnly, ..situation() };
        let stop = stop(&read_only);
        assert_eq!((stop.class, stop.reason), (Class::Stalled, Reason::ReadOnly));
        assert_eq!(stop.path, "spec.targets[1].providerRef");
        assert_eq!(permission(&Situation { mode: Mode::Observe, ..read_only }), Permission::Look);
    }

    #[test]
    fn a_requirement_that_would_not_bite_is_not_made() {
        let no = Enforceable::No("the realm has the action switched off: switch it on".into());
        let stop = stop(&Situation { enforceable: &no, ..situation() });
        assert_eq!(stop.reason, Reason::NotEnforceable);
        assert!(stop.message.contains("switch it on"));
        let unknown = Enforceable::Unknown("the credential may not look".into());
        assert_eq!(permission(&Situation { enforceable: &unknown, ..situation() }), Permission::Write);
        assert_eq!(permission(&Situation { enforceable: &no, mode: Mode::Observe, ..situation() }), Permission::Look);
    }

    #[test]
    fn a_suspended_policy_is_still_looked_at_and_a_suspended_provider_is_not() {
        for (suspension, permitted) in [
            (Suspension::Spec, Permission::Look),
            (Suspension::Annotation("freeze".into()), Permission::Look),
            (Suspension::Provider("IdentityProvider/a".into()), Permission::Rest),
            (Suspension::Operator, Permission::Rest),
        ] {
            assert_eq!(permission(&Situation { suspension: Some(&suspension), ..situation() }), permitted);
        }
    }

    #[test]
    fn a_refused_call_for_everybody_names_every_reason() {
        assert_eq!(tenant_native_refused(&[]), None);
        let refused = |path: &str, message: &str| Refused { path: path.into(), message: message.into() };
        let stop = tenant_native_refused(&[refused("spec.a", "change a"), refused("spec.b", "change b")]).unwrap();
        assert_eq!(stop.to_string(), "spec.a: change a. spec.b: change b");
        assert_eq!((stop.class, stop.reason), (Class::Stalled, Reason::InvalidSpec));
    }

    proptest! {
        #[test]
        fn nothing_is_written_before_the_deciding_clock_has_reached_the_cutoff(
            cutoff in -200_000_i64..200_000,
            ours in -200_000_i64..200_000,
            theirs in proptest::option::of(-200_000_i64..200_000),
            read_only in any::<bool>(),
            observe in any::<bool>(),
        ) {
            let clocks = Clocks { ours: at(ours), theirs: theirs.map(at) };
            let situation = Situation {
                cutoff: at(cutoff),
                clocks,
                access: if read_only { Access::ReadOnly } else { Access::ReadWrite },
                mode: if observe { Mode::Observe } else { Mode::Enforce },
                ..situation()
            };
            if permission(&situation) == Permission::Write {
                prop_assert!(at(cutoff) <= clocks.deciding());
                prop_assert!(theirs.is_none_or(|theirs| (theirs - ours).abs() <= 86_400));
                prop_assert!(!read_only && !observe);
            }
        }
    }
}
