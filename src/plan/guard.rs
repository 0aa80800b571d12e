//! May anything be written on this target now?
//!
//! Every rule that keeps the operator from writing, over plain data: suspension, the provider's clock against the cutoff,
//! `access: ReadOnly`, a provider that would not enforce, and what protects people without resolving. The engine asks
//! [`permission`] before each slice of work; the function that sends a write asks again. What is desired is resolved in
//! [`super::desired`]; what is said is decided in `status`.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::identity_provider::Access;
use crate::api::password_reset_policy::Mode;

use super::desired::Requirement;
use super::failure::Stop;
use super::observed::Enforceable;
use super::tenant_native::Refused;

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
            second(theirs),
            second(clocks.ours)
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
                second(cutoff)
            ),
        ));
    }
    let begins = cutoff.checked_sub(WAIT_FOR_CUTOFF).unwrap_or(cutoff);
    let message = format!(
        "the cutoff {} is more than 10 minutes ahead of {whose}, which said {}. Check the date and its time zone. If it \
         is wrong, delete the policy and create one with the right date: it cannot be changed. If it is meant, wait: from {} \
         on it is waited for, and work begins by itself. Passwords changed before the cutoff do not count",
        second(cutoff),
        second(clock),
        second(begins)
    );
    let until = Some(on_our_clock(ahead - WAIT_FOR_CUTOFF));
    Err(Stop { until, ..Stop::stalled(Reason::CutoffInFuture, path, message) })
}

fn second(time: Timestamp) -> Timestamp {
    whole_seconds(time)
}

/// Who stopped writing on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// The operator's own setting: neither reads nor writes.
    Operator,
    /// `spec.suspend` of the provider object, named as `Kind/name`: neither reads nor writes.
    Provider(String),
    /// The policy's annotation with its reason: reads go on.
    Annotation(String),
    /// `spec.suspend` of the policy: reads go on.
    Spec,
}

/// What [`suspension`] looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Switches<'a> {
    /// The operator's flag.
    pub operator: bool,
    /// The provider object as `Kind/name`, when its `spec.suspend` is set.
    pub provider: Option<&'a str>,
    /// The value of the policy's annotation, when it is there. Any value suspends, an empty one too: a switch that
    /// stops has to work however it is written.
    pub annotation: Option<&'a str>,
    /// `spec.suspend` of the policy.
    pub spec: bool,
}

/// The strongest suspension: those that stop reads as well come first.
pub fn suspension(switches: Switches<'_>) -> Option<Suspension> {
    if switches.operator {
        Some(Suspension::Operator)
    } else if let Some(provider) = switches.provider {
        Some(Suspension::Provider(provider.to_owned()))
    } else if let Some(why) = switches.annotation {
        let why: String = why.chars().filter(|c| !c.is_control()).take(256).collect();
        Some(Suspension::Annotation(why.trim().to_owned()))
    } else {
        switches.spec.then_some(Suspension::Spec)
    }
}

impl Suspension {
    /// Whether reading stops too.
    pub fn stops_reads(&self) -> bool {
        matches!(self, Self::Operator | Self::Provider(_))
    }
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("the operator's setting SUSPEND stops all reads and writes of policies"),
            Self::Provider(provider) => {
                write!(f, "{provider} has suspend: true, which stops all reads and writes of policies on its tenant")
            }
            Self::Annotation(why) if why.is_empty() => {
                write!(f, "the annotation {} stops writes; people are still looked at", crate::api::PAUSED_ANNOTATION)
            }
            Self::Annotation(why) => write!(
                f,
                "the annotation {} stops writes; people are still looked at. It says: {why}",
                crate::api::PAUSED_ANNOTATION
            ),
            Self::Spec => f.write_str("spec.suspend stops writes; people are still looked at"),
        }
    }
}

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

/// How many accounts, groups or populations a name led to, where it should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// None.
    Nothing,
    /// More than one.
    Several,
    /// A listing of its members broke off, so that it is not known whom it protects.
    CutShort,
    /// The provider refuses to say.
    Refused,
}

/// A selecting group or population, at `path`, that does not resolve.
pub fn selection_unresolved(path: impl fmt::Display, how: Unresolved) -> Stop {
    let (reason, message) = match how {
        Unresolved::Several => (
            Reason::SelectionAmbiguous,
            "more than one group or population has this name: write its id (or its full path) instead",
        ),
        Unresolved::Refused => (
            Reason::SelectionNotFound,
            "the provider refuses to look for this group or population: grant the credential the right to read it, or remove it",
        ),
        Unresolved::Nothing | Unresolved::CutShort => (
            Reason::SelectionNotFound,
            "the provider has no such group or population, or the credential may not see it: correct or remove it",
        ),
    };
    Stop::stalled(reason, path.to_string(), message)
}

/// An exclusion, at `path`, that does not resolve: nothing is written on the target.
pub fn exclusion_unresolved(path: impl fmt::Display, how: Unresolved) -> Stop {
    Stop::stalled(
        Reason::ExclusionUnresolved,
        path.to_string(),
        format!("{}. Nothing is written on this target until then", unresolved(how)),
    )
}

/// A protected user, at `path`, that does not resolve: nothing is written on the tenant.
pub fn protected_unresolved(path: impl fmt::Display, how: Unresolved) -> Stop {
    Stop::stalled(
        Reason::ProtectedUserUnresolved,
        path.to_string(),
        format!("{}. Nothing is written on this tenant until then", unresolved(how)),
    )
}

fn unresolved(how: Unresolved) -> &'static str {
    match how {
        Unresolved::Nothing => {
            "the provider has nothing of this name, or the credential may not see it: correct or remove it"
        }
        Unresolved::Several => "more than one has this name: write the id instead",
        Unresolved::CutShort => {
            "the listing of its members broke off, so it is not known whom it protects: it is tried again"
        }
        Unresolved::Refused => {
            "the provider refuses to look for it, so it is not known whom it protects: grant the credential the right to \
             read it, or remove it"
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::failure::Class;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_pause_says_why_where_somebody_wrote_it() {
        let said = |why: &str| Suspension::Annotation(why.to_owned()).to_string();
        assert!(said("audit until Monday").ends_with("It says: audit until Monday"));
        assert!(said("").ends_with("people are still looked at"));
    }

    fn clocks(ours: i64, theirs: i64) -> Clocks {
        Clocks { ours: at(ours), theirs: Some(at(theirs)) }
    }

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
    fn the_strongest_suspension_counts() {
        let all =
            Switches { operator: true, provider: Some("IdentityProvider/a"), annotation: Some("why"), spec: true };
        assert_eq!(suspension(all), Some(Suspension::Operator));
        assert_eq!(
            suspension(Switches { operator: false, ..all }),
            Some(Suspension::Provider("IdentityProvider/a".into()))
        );
        let policy = Switches { operator: false, provider: None, ..all };
        assert_eq!(suspension(policy), Some(Suspension::Annotation("why".into())));
        assert_eq!(suspension(Switches { annotation: None, ..policy }), Some(Suspension::Spec));
        assert_eq!(suspension(Switches::default()), None);
    }

    #[test]
    fn the_annotation_suspends_whatever_it_says() {
        for value in ["", "false", "no\nreason\u{7}", &"x".repeat(5000)] {
            let suspended = suspension(Switches { annotation: Some(value), ..Switches::default() }).unwrap();
            let said = suspended.to_string();
            assert!(said.len() < 500 && !said.contains(char::is_control), "{said}");
        }
    }

    #[test]
    fn what_protects_and_does_not_resolve_stops_with_its_path() {
        let path = "spec.targets[0].exclude.groups[2]";
        for how in [Unresolved::Nothing, Unresolved::Several, Unresolved::CutShort] {
            let exclusion = exclusion_unresolved(path, how);
            assert_eq!((exclusion.class, exclusion.reason), (Class::Stalled, Reason::ExclusionUnresolved));
            assert_eq!(exclusion.path, path);
            assert_eq!(protected_unresolved(path, how).reason, Reason::ProtectedUserUnresolved);
        }
        let said = [Unresolved::Nothing, Unresolved::Several, Unresolved::CutShort, Unresolved::Refused].map(|how| {
            let (exclusion, protected) = (exclusion_unresolved(path, how), protected_unresolved(path, how));
            assert!(protected.message.starts_with(unresolved(how)), "{}", protected.message);
            exclusion.message
        });
        for (message, what) in said.iter().zip(["nothing of this name", "write the id", "broke off", "grant"]) {
            assert!(message.contains(what), "{message}");
        }
        assert_eq!(selection_unresolved(path, Unresolved::Refused).reason, Reason::SelectionNotFound);
        assert_eq!(selection_unresolved(path, Unresolved::Nothing).reason, Reason::SelectionNotFound);
        assert_eq!(selection_unresolved(path, Unresolved::Several).reason, Reason::SelectionAmbiguous);
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
