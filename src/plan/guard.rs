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
    /// The clock that the cutoff is compared with: the provider's, else ours.
    pub fn deciding(&self) -> Timestamp {
        self.theirs.unwrap_or(self.ours)
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
        && theirs.duration_since(clocks.ours).abs() > BELIEVABLE
    {
        return Err(Stop::stalled(
            Reason::ProviderResponseInvalid,
            "",
            format!(
                "the provider's clock says {} and ours says {}, more than a day apart, so neither is believed and nothing \
                 is written: correct the clock that is wrong, or the proxy that changes the Date of answers",
                second(theirs),
                second(clocks.ours)
            ),
        ));
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
             is meant, wait: from {} on it is waited for, and work begins by itself. Passwords changed before the cutoff do \
             not count",
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
            Self::Operator => f.write_str("the operator's setting SUSPEND stops all reads and writes"),
            Self::Provider(provider) => {
                write!(f, "{provider} has suspend: true, which stops all reads and writes on its tenant")
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
}

/// A selecting group or population, at `path`, that does not resolve.
pub fn selection_unresolved(path: impl fmt::Display, how: Unresolved) -> Stop {
    let (reason, message) = match how {
        Unresolved::Several => (
            Reason::SelectionAmbiguous,
            "more than one group or population has this name: write its id (or its full path) instead",
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
    }
}
