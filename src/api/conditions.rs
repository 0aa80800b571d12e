//! Which words do conditions, events and metrics use?
//!
//! [`Reason`] is the one vocabulary; `docs/reasons.md` is generated from it. More words may be added, none is ever
//! renamed: alerts and scripts are written against them. When to use which is decided in `status`.

use std::fmt;

/// The types of the conditions in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The summary; always there.
    Ready,
    /// The operator is working or waiting for something that ends by itself; only while true.
    Reconciling,
    /// A human must act; only while true, and never together with `Reconciling`.
    Stalled,
    /// Policy: every provider that it refers to is Ready.
    ProviderReady,
    /// Policy: nobody who is meant can go on without a new password.
    Enforced,
    /// Policy: everybody who is meant has a new password.
    Changed,
    /// Policy: writing is stopped on purpose; only while true.
    Suspended,
    /// Policy: somebody else took requirements away; only while true.
    DriftDetected,
    /// Provider: a requirement will really make people change their password.
    Enforceable,
}

impl ConditionType {
    /// The word in `conditions[].type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::ProviderReady => "ProviderReady",
            Self::Enforced => "Enforced",
            Self::Changed => "Changed",
            Self::Suspended => "Suspended",
            Self::DriftDetected => "DriftDetected",
            Self::Enforceable => "Enforceable",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of object says a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// IdentityProvider and ClusterIdentityProvider.
    Provider,
    /// PasswordResetPolicy.
    Policy,
    /// All of them.
    Both,
}

/// Defines [`Reason`] from one row per word, so that a word without its explanation does not compile.
macro_rules! reasons {
    ($($word:ident, $said_by:ident, $meaning:literal, $remedy:literal;)+) => {
        /// Why a condition has its status: the vocabulary of conditions, events and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $word,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }

            /// What it means, in one or two sentences.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$word => $meaning),+ }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$word => $remedy),+ }
            }

            /// What kind of object says it.
            pub const fn said_by(self) -> SaidBy {
                match self { $(Self::$word => SaidBy::$said_by),+ }
            }
        }
    };
}

reasons! {
    Verified, Both,
        "The tenant was reached with the credential and answers as it should.",
        "Nothing.";
    SecretNotFound, Provider,
        "The Secret with the credential, or the CA ConfigMap, does not exist.",
        "Create it; the message names it. It is noticed by itself.";
    SecretInvalid, Provider,
        "The Secret lacks a key, a key is empty or not text, or the annotation passwordreset.dev/allowed-origins does not list the address that the credential would be sent to; or the CA ConfigMap lacks its key.",
        "Correct the Secret or the ConfigMap; the message names the key, or shows the annotation to add.";
    SecretForbidden, Provider,
        "The operator may not read the Secret or the CA ConfigMap.",
        "Run the two kubectl lines in the message; they create a Role for this one object and bind it. It is tried again every 30 seconds.";
    AuthenticationFailed, Provider,
        "The provider refuses the credential.",
        "Put a valid credential into the Secret. A rotation takes effect at once.";
    PermissionDenied, Provider,
        "The credential is valid but may not do what is needed, or the tenant refuses or does not offer it.",
        "Do what the message says: mostly, grant a permission in the provider's own console. A grant there is noticed by the next probe, up to an hour later (Looker: six); a change of the object's spec, such as another probePeriodSeconds, has it tried at once.";
    EndpointRefused, Provider,
        "The address may not be used: a redirect or a page link leads to another origin, or the address is one the operator must not connect to. Nothing was sent there.",
        "Correct the address in the spec, or have the operator's owner allow the address.";
    TLSFailed, Provider,
        "The server's certificate could not be verified.",
        "Check the host name, or give the certificate authority by tls.caBundleConfigMapRef. The operator's image needs CA certificates.";
    Unreachable, Provider,
        "No answer, or only server errors.",
        "Usually nothing: it is tried again. If it lasts, check the network path to the provider.";
    Throttled, Provider,
        "The provider asks the operator to wait. The whole tenant waits as long as it was told.",
        "Nothing; if it comes often, lower rateLimit.";
    ProviderResponseInvalid, Both,
        "An answer could not be understood or believed: cut short, not JSON, too large, a listing that does not end or lists nobody, or a clock that is more than a day off. It is never taken for an empty list.",
        "Check that the address leads to the provider's API and not to a login page or a proxy. It is tried again.";
    Enforced, Policy,
        "Everybody who is meant has a new password or cannot go on without changing it.",
        "Nothing.";
    Changed, Policy,
        "Everybody who is meant has a new password.",
        "Nothing.";
    Observed, Policy,
        "Mode Observe: everybody who is meant was looked at, nothing was written.",
        "Nothing; set mode: Enforce to require the changes.";
    InProgress, Both,
        "The work goes on, or waits for the API server.",
        "Nothing. Where the message speaks of records, look into the operator's log: it may lack its rights on ConfigMaps in its own namespace.";
    WaitingForCutoff, Policy,
        "The cutoff has not come yet by the provider's clock; it is less than 10 minutes ahead. Nothing is written before.",
        "Nothing. Changes that people make before the cutoff do not count.";
    AwaitingUsers, Policy,
        "Everything is required; people still have to change their passwords.",
        "Nothing, or remind them.";
    PartiallyFailed, Policy,
        "Some accounts failed, or the provider does not say enough about them, and nothing else moves. Stalled, but Reconciling where all of them failed for causes that may pass.",
        "Look at status.failures: correct the entry or the account, or exclude it. All of them are looked at again with every pass. An account that was Forbidden or Rejected is asked again after an edit of the policy or a new value of the annotation passwordreset.dev/reconcile; one that was WriteNotEffective has to be set by hand at the provider.";
    Suspended, Policy,
        "Writing is stopped on purpose: by the policy, its annotation passwordreset.dev/paused, the provider object, or the operator's settings.",
        "Take the stop away when you are ready; the work goes on where it was.";
    ReadOnly, Policy,
        "The provider object says access: ReadOnly, and the policy says mode: Enforce.",
        "Set access: ReadWrite on the provider object, or mode: Observe on the policy.";
    InvalidSpec, Both,
        "The spec contradicts itself in a way that only shows together with other objects.",
        "Change the field that the message names.";
    CutoffInFuture, Policy,
        "The cutoff is more than 10 minutes ahead of the provider's clock. Nothing is written.",
        "Check the date and its time zone. If it is wrong, delete the policy and create one with the right date: it cannot be changed. If it is meant, wait: it starts by itself. Changes made before it do not count.";
    ProviderNotFound, Policy,
        "The provider object that a target refers to does not exist.",
        "Create it or correct providerRef. It is noticed by itself.";
    ProviderNotAllowed, Policy,
        "The ClusterIdentityProvider does not allow the policy's namespace.",
        "Ask its owner to add the namespace to allowedNamespaces.";
    ProviderNotReady, Policy,
        "The provider object is not Ready.",
        "Look at the provider object; its own reason says why. The policy goes on by itself.";
    DuplicateTenant, Policy,
        "Two targets lead to the same tenant through different provider objects.",
        "Put them into one target, or write a second policy.";
    UnsupportedByProvider, Policy,
        "The policy asks for something that the provider cannot do.",
        "Remove the field that the message names, or choose another value.";
    NotEnforceable, Both,
        "Enforceable False: the provider would record the requirement, but people could go on without changing the password; nothing is written. Enforceable Unknown: it cannot be seen whether they could; the work goes on.",
        "False: turn on what the message names, in the provider's own console. Unknown: nothing, or grant the right that the message names.";
    SelectionNotFound, Policy,
        "A group or population that selects users does not exist.",
        "Correct the name at the path that the message shows.";
    SelectionAmbiguous, Policy,
        "A group or population name fits more than one.",
        "Write its id or its full path instead.";
    UserListNotFound, Policy,
        "The Secret or ConfigMap with a list of users, or the key in it, does not exist.",
        "Create it; the message names it. It is noticed by itself.";
    UserListForbidden, Policy,
        "The operator may not read the Secret or ConfigMap with a list of users.",
        "Run the two kubectl lines in the message; they create a Role for this one object and bind it. It is tried again every 30 seconds.";
    UserListInvalid, Policy,
        "A list of users cannot be used: it is empty, not text, or its Secret lacks the label passwordreset.dev/user-list, or is a credential.",
        "Correct the list; the message names the place.";
    ExclusionUnresolved, Policy,
        "Something that protects people does not resolve: an exclude group, population or list. Nothing is written on this target.",
        "Correct or remove the entry at the path that the message shows.";
    ProtectedUserUnresolved, Policy,
        "A protected user of the provider object does not resolve to exactly one account. Nothing is written on this tenant.",
        "Correct or remove the entry in protectedUsers that the message shows.";
    LedgerLost, Policy,
        "The record of what was required of whom is missing or unreadable, and the provider cannot show it. Nothing is written, so that nobody is asked twice.",
        "Restore the ConfigMaps from a backup with kubectl create, or accept the loss with the annotation that the message shows; then take it away again.";
    RequirementCleared, Policy,
        "Somebody else took requirements away before the people changed their passwords.",
        "Set them by hand in the provider, exclude the accounts, or write a new policy.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// Whether it is the outcome of a complete pass.
    pub const fn ends_a_pass(self) -> bool {
        matches!(
            self,
            Self::Enforced
                | Self::Changed
                | Self::Observed
                | Self::AwaitingUsers
                | Self::PartiallyFailed
                | Self::RequirementCleared
        )
    }

    /// The reason that a status names by its word, if this version knows it.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

/// Why one account could not be required to change: the word in `status.failures[].category`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureCategory {
    /// A listed user whom the provider does not know.
    NotFound,
    /// A listed user who fits two or more accounts.
    Ambiguous,
    /// The credential may not write this account.
    Forbidden,
    /// The provider refuses the requirement for this account.
    Rejected,
    /// The provider said yes, and the account shows no requirement.
    WriteNotEffective,
    /// It failed for a reason that may pass; tried again.
    Transient,
}

impl FailureCategory {
    /// Every category, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::NotFound, Self::Ambiguous, Self::Forbidden, Self::Rejected, Self::WriteNotEffective, Self::Transient];

    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::Ambiguous => "Ambiguous",
            Self::Forbidden => "Forbidden",
            Self::Rejected => "Rejected",
            Self::WriteNotEffective => "WriteNotEffective",
            Self::Transient => "Transient",
        }
    }

    /// What it means, in one sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::NotFound => "A listed user whom the provider does not know.",
            Self::Ambiguous => "A listed user who fits two or more accounts; none of them is touched.",
            Self::Forbidden => "The credential may not write this account.",
            Self::Rejected => "The provider refuses the requirement for this account.",
            Self::WriteNotEffective => "The provider said yes, and the account shows no requirement.",
            Self::Transient => {
                "It failed for a reason that may pass; it is tried again after ten seconds, then ever less often, up to the observe period."
            }
        }
    }
}

impl fmt::Display for FailureCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
