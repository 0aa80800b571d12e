//! A name in a policy or a provider object led to nothing, or to more than one: what does that stop?

use std::fmt;

use crate::api::Reason;

use super::failure::Stop;

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
    use super::*;
    use crate::plan::failure::Class;

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
}
