//! Has somebody stopped the writing on purpose, and who?

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_why_where_somebody_wrote_it() {
        let said = |why: &str| Suspension::Annotation(why.to_owned()).to_string();
        assert!(said("audit until Monday").ends_with("It says: audit until Monday"));
        assert!(said("").ends_with("people are still looked at"));
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
}
