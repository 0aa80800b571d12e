//! What a provider can show and do, as literal data: one constant per provider, with its sources.
//!
//! Everything that differs between providers and that a decision depends on is a field here, so that no decision asks
//! *which* provider it is. The README's provider table is generated from these constants.

/// What a provider can show decides what the ledger has to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Class A: the mark and the time of the last password change can both be read.
    MarkAndChangeTime,
    /// Class B: the mark and the last sign-in can be read, a change is inferred from "mark seen, now gone, signed in since".
    MarkAndSignIn,
}

/// How a listing is paged, which decides whether one clean listing proves completeness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// An opaque cursor: the provider keeps the position, one listing is complete.
    Cursor,
    /// An offset into a changing set: rows can be skipped, so a second, confirming listing is needed.
    Offset,
}

/// Which keys a user can be named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// By the provider's own id.
    pub id: bool,
    /// By user name.
    pub username: bool,
    /// By e-mail address.
    pub email: bool,
    /// Whether `find` without a hit proves that nobody has the key. Where the provider's search is undocumented it
    /// does not, and only a full listing tells.
    pub absence_is_proof: bool,
}

/// What the API of one provider can show and do. Constants only; see each provider's folder for the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The provider's name as people write it, for example `PingOne`.
    pub name: &'static str,
    /// What the provider shows about a password.
    pub visibility: Visibility,
    /// Whether rows of a listing show the mark. Where they do not, each account costs one read.
    pub list_shows_mark: bool,
    /// Whether rows of a listing show the time of the last change. Where they do not, each unmarked account costs one read.
    pub list_shows_change_time: bool,
    /// How listings are paged.
    pub paging: Paging,
    /// Keys a user can be named by.
    pub keys: Keys,
    /// Whether `groups` can be selected and excluded.
    pub groups: bool,
    /// Whether `populations` can be selected and excluded.
    pub populations: bool,
    /// Whether sessions of one user can be ended.
    pub revoke_sessions: bool,
    /// Whether one call can require a change of everybody (`strategy: TenantNative`).
    pub tenant_native: bool,
    /// Whether a call that was accepted without effect may be sent a second time. Not where the call has side effects.
    pub repeat_without_effect: bool,
    /// Calls that requiring a change of one account takes, its read-back included: how fast a batch can be sent.
    pub calls_per_write: u32,
    /// Accounts per ledger batch: what may be asked twice after a crash at worst where a mark alone is visible.
    pub batch: usize,
    /// Rows asked for per page when `pageSize` is not set.
    pub page_size: u32,
    /// How often pending people are looked at when `observePeriodSeconds` is not set, in seconds.
    pub observe_period_seconds: u32,
    /// The longest pause between two probes of a provider that is not Ready, in seconds.
    pub max_probe_period_seconds: u32,
    /// What requiring a change does besides requiring it, for the provider table.
    pub side_effects: &'static str,
    /// What this provider cannot spare people or cannot tell, for the provider table.
    pub limits: &'static str,
    /// Where these facts come from: pages, specifications and what was run.
    pub sources: &'static [&'static str],
}

/// A provider for tests of what is decided and said.
#[cfg(test)]
pub(crate) const SAMPLE: Capabilities = Capabilities {
    name: "Sample",
    visibility: Visibility::MarkAndSignIn,
    list_shows_mark: true,
    list_shows_change_time: false,
    paging: Paging::Offset,
    keys: Keys { id: true, username: false, email: true, absence_is_proof: true },
    groups: true,
    populations: false,
    revoke_sessions: true,
    tenant_native: true,
    repeat_without_effect: true,
    calls_per_write: 1,
    batch: 25,
    page_size: 100,
    observe_period_seconds: 86_400,
    max_probe_period_seconds: 21_600,
    side_effects: "",
    limits: "",
    sources: &[],
};
