//! Who is meant by a target, and what is wanted of them?
//!
//! [`resolve`] turns one target of a policy, and the lists that it names, into a [`Desired`]: keys, groups and populations
//! with the place that each came from. Which accounts they lead to is asked of the provider later. A mistake that only
//! concerns one selected user becomes a [`Place`] to count; a mistake in what *protects* people stops the target, since
//! guessing there would touch somebody who must not be touched. Whether writing may begin is the question of
//! [`super::guard`].

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::password_reset_policy::{
    AccountState, Exclude, MissingUsers, Mode, PasswordResetPolicySpec, Scope, Sessions, Strategy, Target,
    UserListFormat, UserListSource,
};
use crate::api::references::UserRef;

use super::capabilities::{Capabilities, Visibility};
use super::decide::AccountStates;
use super::failure::Stop;
use super::ledger::Epoch;
use super::observed::UserKey;
use super::userlist::{self, ParsedList};

/// Since when a password must be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// Changed at or after this time.
    ChangedAfter(Timestamp),
    /// Not older than so many days of 24 hours.
    MaxAgeDays(u32),
}

impl Requirement {
    /// What the ledger calls it.
    pub fn epoch(self) -> Epoch {
        match self {
            Self::ChangedAfter(cutoff) => Epoch::Cutoff(cutoff.as_second()),
            Self::MaxAgeDays(days) => Epoch::Age(days),
        }
    }
}

/// Where an entry was written. Prints as in `status.failures[].subject`, and never as a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An element of a field, such as `spec.targets[0].users[3]`.
    Entry {
        /// The field.
        field: Arc<str>,
        /// The element, from 0.
        index: u32,
    },
    /// A line of a list, such as `Secret/leak-4711 users.txt:17`.
    Line {
        /// The list.
        list: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { field, index } => write!(f, "{field}[{index}]"),
            Self::Line { list, line } => write!(f, "{list}:{line}"),
        }
    }
}

/// A user key and where it was written first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedKey {
    /// How the user is named.
    pub key: UserKey,
    /// Where.
    pub place: Place,
}

/// A group or population by the name (or id, or path) in the spec, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSet {
    /// As written.
    pub name: String,
    /// Such as `spec.targets[0].groups[1]`.
    pub place: Place,
}

/// Who is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Everybody in the tenant; the rest is empty then.
    pub tenant: bool,
    /// Users by key: duplicates merged, exclusions by text removed.
    pub keys: Vec<SelectedKey>,
    /// Groups.
    pub groups: Vec<NamedSet>,
    /// Populations.
    pub populations: Vec<NamedSet>,
    /// Entries that can name nobody. Each counts like a listed user who does not exist: failed (`NotFound`), or skipped
    /// under `missingUsers: Skip`.
    pub malformed: Vec<Place>,
}

/// Who is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Users by key. One without a match at the provider is harmless; one with two matches stops the target.
    pub keys: Vec<SelectedKey>,
    /// Groups.
    pub groups: Vec<NamedSet>,
    /// Populations.
    pub populations: Vec<NamedSet>,
}

impl Exclusions {
    /// Whether nobody is left out.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.groups.is_empty() && self.populations.is_empty()
    }
}

/// What one target wants, with every reference to a list replaced by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The position in `spec.targets`, from 0.
    pub index: usize,
    /// The target's name.
    pub name: String,
    /// Whether anything is written.
    pub mode: Mode,
    /// Since when.
    pub requirement: Requirement,
    /// Who.
    pub selection: Selection,
    /// Who not.
    pub excluded: Exclusions,
    /// Selected entries that an exclusion removed by text, which are not targeted at all.
    pub excluded_by_text: u32,
    /// In which states.
    pub account_states: AccountStates,
    /// What a listed user counts as who does not exist.
    pub missing_users: MissingUsers,
    /// Each by itself, or by one call.
    pub strategy: Strategy,
    /// What becomes of sessions.
    pub sessions: Sessions,
}

/// Why a list could not be had at all. The texts are the controller's, which knows the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListUnavailable {
    /// No such object, or no such key in it.
    NotFound(String),
    /// The operator may not read it; the lines that grant it.
    Forbidden(String),
    /// It may not be used as a list: no label, or it is a credential; the line to add.
    Refused(String),
}

/// What was fetched for one entry of `usersFrom`.
pub type Fetched<'a> = Result<&'a [u8], ListUnavailable>;

/// What [`resolve`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The policy.
    pub spec: &'a PasswordResetPolicySpec,
    /// The position of the target in `spec.targets`.
    pub index: usize,
    /// What the target's provider can do.
    pub capabilities: &'a Capabilities,
    /// The content of `usersFrom`, in its order.
    pub users_from: &'a [Fetched<'a>],
    /// The content of `exclude.usersFrom`, in its order.
    pub exclude_users_from: &'a [Fetched<'a>],
}

/// Turns one target into what it wants.
///
/// # Errors
/// A [`Stop`] of class Stalled with the path of the field: an option that the provider does not support, a list that
/// cannot be used, an exclusion that does not resolve.
pub fn resolve(sources: &Sources<'_>) -> Result<Desired, Stop> {
    let Sources { spec, index, capabilities, .. } = *sources;
    let path = format!("spec.targets[{index}]");
    let target =
        spec.targets.get(index).ok_or_else(|| Stop::stalled(Reason::InvalidSpec, &path, "there is no such target"))?;
    let requirement = requirement(spec, capabilities)?;
    supported(spec, target, &path, capabilities)?;
    let protecting = Protecting::read(target.exclude.as_ref(), &path, capabilities, sources.exclude_users_from)?;
    let selecting = Selecting::read(target, &path, capabilities, sources.users_from, &protecting)?;
    selecting.settle(&protecting.misshapen)?;
    let states = &target.account_states;
    Ok(Desired {
        index,
        name: target.name.clone(),
        mode: spec.mode,
        requirement,
        selection: Selection {
            tenant: target.scope == Scope::Tenant,
            keys: selecting.keys,
            groups: named(&target.groups, &format!("{path}.groups")),
            populations: named(&target.populations, &format!("{path}.populations")),
            malformed: selecting.malformed,
        },
        excluded: protecting.exclusions,
        excluded_by_text: selecting.excluded_by_text,
        account_states: AccountStates {
            active: states.contains(&AccountState::Active),
            locked: states.contains(&AccountState::Locked),
            disabled: states.contains(&AccountState::Disabled),
        },
        missing_users: target.missing_users,
        strategy: target.strategy,
        sessions: spec.action.sessions,
    })
}

/// The keys of a provider object's protected users. `object` names it, such as `IdentityProvider/pingone-prod`.
///
/// # Errors
/// `ProtectedUserUnresolved`, with the path, for an entry that names nobody or by a key that the provider does not have.
pub fn protected_keys(users: &[UserRef], object: &str, capabilities: &Capabilities) -> Result<Vec<SelectedKey>, Stop> {
    let field: Arc<str> = format!("{object} spec.protectedUsers").into();
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    for (position, user) in users.iter().enumerate() {
        let place = entry(&field, position);
        let unresolved = |why: String| {
            Stop::stalled(
                Reason::ProtectedUserUnresolved,
                place.to_string(),
                format!("{why}. Nothing is written on this tenant until it does"),
            )
        };
        let key =
            user_key(user).ok_or_else(|| unresolved("name the user by exactly one of id, username or email".into()))?;
        if !userlist::well_formed(&key) {
            return Err(unresolved(format!("this {} can name nobody: correct it", kind(&key))));
        }
        if let Some(instead) = unsupported_key(kind(&key), capabilities) {
            return Err(unresolved(instead));
        }
        if seen.insert(userlist::folded(&key)) {
            keys.push(SelectedKey { key, place });
        }
    }
    Ok(keys)
}

/// One target's tenant, to find two that are the same.
#[derive(Clone, Copy, Debug)]
pub struct TargetTenant<'a> {
    /// The position in `spec.targets`.
    pub index: usize,
    /// The target's name.
    pub name: &'a str,
    /// The tenant's identity, as verified or as the provider's spec gives it.
    pub tenant: &'a str,
}

/// The targets that lead to one tenant through different provider objects: each of them stops, since one's exclusions
/// would not protect anybody from the other.
pub fn duplicate_tenants(targets: &[TargetTenant<'_>]) -> Vec<(usize, Stop)> {
    targets
        .iter()
        .filter_map(|target| {
            let other = targets.iter().find(|other| other.index != target.index && other.tenant == target.tenant)?;
            Some((
                target.index,
                Stop::stalled(
                    Reason::DuplicateTenant,
                    format!("spec.targets[{}].providerRef", target.index),
                    format!(
                        "targets {} and {} lead to the same tenant through different provider objects: put their users \
                         and groups into one target, or write a second policy",
                        target.name, other.name
                    ),
                ),
            ))
        })
        .collect()
}

fn requirement(spec: &PasswordResetPolicySpec, capabilities: &Capabilities) -> Result<Requirement, Stop> {
    let given = &spec.requirement;
    match (&given.password_changed_after, given.max_password_age_days) {
        (Some(cutoff), None) => Ok(Requirement::ChangedAfter(cutoff.0)),
        (None, Some(days)) => {
            let path = "spec.requirement.maxPasswordAgeDays";
            let days = u32::try_from(days)
                .ok()
                .filter(|days| *days > 0)
                .ok_or_else(|| Stop::stalled(Reason::InvalidSpec, path, "write a number of days from 1 to 3650"))?;
            if capabilities.visibility != Visibility::MarkAndChangeTime {
                return Err(Stop::stalled(
                    Reason::UnsupportedByProvider,
                    path,
                    format!(
                        "{} does not show when a password was changed, so an age cannot be told: write \
                         passwordChangedAfter with a date in a new policy",
                        capabilities.name
                    ),
                ));
            }
            Ok(Requirement::MaxAgeDays(days))
        }
        _ => Err(Stop::stalled(
            Reason::InvalidSpec,
            "spec.requirement",
            "give exactly one of passwordChangedAfter (a date) or maxPasswordAgeDays (an age)",
        )),
    }
}

/// Refuses options that the provider cannot honour; user keys are checked where they are read.
fn supported(
    spec: &PasswordResetPolicySpec,
    target: &Target,
    path: &str,
    capabilities: &Capabilities,
) -> Result<(), Stop> {
    let name = capabilities.name;
    let refuse = |field: String, why: String| Err(Stop::stalled(Reason::UnsupportedByProvider, field, why));
    let no_exclude = Exclude::default();
    let exclude = target.exclude.as_ref().unwrap_or(&no_exclude);
    for (prefix, groups, populations) in
        [("", &target.groups, &target.populations), ("exclude.", &exclude.groups, &exclude.populations)]
    {
        if !groups.is_empty() && !capabilities.groups {
            return refuse(
                format!("{path}.{prefix}groups"),
                format!("{name} has no groups: name the people by {prefix}users or {prefix}usersFrom instead"),
            );
        }
        if !populations.is_empty() && !capabilities.populations {
            let instead = if capabilities.groups { "groups" } else { "users" };
            return refuse(
                format!("{path}.{prefix}populations"),
                format!("{name} has no populations: write {prefix}{instead} instead"),
            );
        }
    }
    if spec.action.sessions == Sessions::Revoke && !capabilities.revoke_sessions {
        return refuse(
            "spec.action.sessions".into(),
            format!("{name} (target {}) cannot end the sessions of a user: write Keep", target.name),
        );
    }
    if target.strategy == Strategy::TenantNative && !capabilities.tenant_native {
        return refuse(
            format!("{path}.strategy"),
            format!("{name} has no call that requires a change of everybody: write PerUser"),
        );
    }
    Ok(())
}

/// What the protecting side names, and what of it may remove entries of the selecting side by text.
#[derive(Default)]
struct Protecting {
    exclusions: Exclusions,
    folded: HashSet<UserKey>,
    /// Entries of `exclude.users` that can name nobody at the provider: good only where they equal a malformed selected
    /// entry, which is how such a line is excluded.
    misshapen: Vec<(UserKey, Place)>,
}

impl Protecting {
    fn read(
        exclude: Option<&Exclude>,
        path: &str,
        capabilities: &Capabilities,
        fetched: &[Fetched<'_>],
    ) -> Result<Self, Stop> {
        let mut this = Self::default();
        let Some(exclude) = exclude else { return Ok(this) };
        let field: Arc<str> = format!("{path}.exclude.users").into();
        for (position, user) in exclude.users.iter().enumerate() {
            let place = entry(&field, position);
            let key =
                user_key(user).ok_or_else(|| Stop::stalled(Reason::ExclusionUnresolved, place.to_string(), ONE_KEY))?;
            if !userlist::well_formed(&key) {
                this.misshapen.push((key, place));
                continue;
            }
            check_key(&key, &place.to_string(), capabilities)?;
            this.key(key, place);
        }
        for (position, source) in exclude.users_from.iter().enumerate() {
            let list_path = format!("{path}.exclude.usersFrom[{position}]");
            check_format(source.format, &list_path, capabilities)?;
            let (list, parsed) = read_list(source, fetched.get(position)).map_err(|(_, why)| {
                Stop::stalled(Reason::ExclusionUnresolved, &list_path, format!("{why}. {NO_WRITE}"))
            })?;
            if let Some(line) = parsed.malformed.first() {
                return Err(Stop::stalled(
                    Reason::ExclusionUnresolved,
                    &list_path,
                    format!(
                        "{list}:{} names nobody ({} such lines): correct or remove them. {NO_WRITE}",
                        line.line,
                        parsed.malformed.len()
                    ),
                ));
            }
            for (key, line) in parsed.entries {
                this.key(key, Place::Line { list: list.clone(), line });
            }
        }
        this.exclusions.groups = named(&exclude.groups, &format!("{path}.exclude.groups"));
        this.exclusions.populations = named(&exclude.populations, &format!("{path}.exclude.populations"));
        Ok(this)
    }

    fn key(&mut self, key: UserKey, place: Place) {
        if self.folded.insert(userlist::folded(&key)) {
            self.exclusions.keys.push(SelectedKey { key, place });
        }
    }
}

/// What the selecting side names, less what an exclusion removes by text.
#[derive(Default)]
struct Selecting {
    keys: Vec<SelectedKey>,
    seen: HashSet<UserKey>,
    malformed: Vec<Place>,
    excluded_by_text: u32,
    /// Positions in the protecting side's misshapen entries that equalled a malformed entry here.
    matched: HashSet<usize>,
}

impl Selecting {
    fn read(
        target: &Target,
        path: &str,
        capabilities: &Capabilities,
        fetched: &[Fetched<'_>],
        protecting: &Protecting,
    ) -> Result<Self, Stop> {
        let mut this = Self::default();
        let field: Arc<str> = format!("{path}.users").into();
        for (position, user) in target.users.iter().enumerate() {
            let place = entry(&field, position);
            let key = user_key(user).ok_or_else(|| Stop::stalled(Reason::InvalidSpec, place.to_string(), ONE_KEY))?;
            check_key(&key, &place.to_string(), capabilities)?;
            if userlist::well_formed(&key) {
                this.key(key, place, protecting);
            } else {
                this.malformed(place, protecting, |excluded| {
                    text(excluded).to_lowercase() == text(&key).to_lowercase()
                });
            }
        }
        for (position, source) in target.users_from.iter().enumerate() {
            let list_path = format!("{path}.usersFrom[{position}]");
            check_format(source.format, &list_path, capabilities)?;
            let (list, parsed) = read_list(source, fetched.get(position))
                .map_err(|(reason, why)| Stop::stalled(reason, &list_path, why))?;
            for (key, line) in parsed.entries {
                this.key(key, Place::Line { list: list.clone(), line }, protecting);
            }
            for bad in parsed.malformed {
                let place = Place::Line { list: list.clone(), line: bad.line };
                this.malformed(place, protecting, |excluded| bad.says(text(excluded)));
            }
        }
        Ok(this)
    }

    fn key(&mut self, key: UserKey, place: Place, protecting: &Protecting) {
        let folded = userlist::folded(&key);
        if protecting.folded.contains(&folded) {
            self.excluded_by_text += u32::from(self.seen.insert(folded));
        } else if self.seen.insert(folded) {
            self.keys.push(SelectedKey { key, place });
        }
    }

    fn malformed(&mut self, place: Place, protecting: &Protecting, same: impl Fn(&UserKey) -> bool) {
        match protecting.misshapen.iter().position(|(key, _)| same(key)) {
            Some(position) => {
                self.matched.insert(position);
                self.excluded_by_text += 1;
            }
            None => self.malformed.push(place),
        }
    }

    /// Refuses an exclusion that can name nobody and removed nothing: it protects nobody, whoever was meant by it.
    fn settle(&self, misshapen: &[(UserKey, Place)]) -> Result<(), Stop> {
        match misshapen.iter().enumerate().find(|(position, _)| !self.matched.contains(position)) {
            None => Ok(()),
            Some((_, (key, place))) => Err(Stop::stalled(
                Reason::ExclusionUnresolved,
                place.to_string(),
                format!("this {} can name nobody: correct or remove it. {NO_WRITE}", kind(key)),
            )),
        }
    }
}

const ONE_KEY: &str = "name the user by exactly one of id, username or email, for example {email: alice@corp.example}";
const NO_WRITE: &str = "Nothing is written on this target until then";

fn entry(field: &Arc<str>, position: usize) -> Place {
    Place::Entry { field: field.clone(), index: u32::try_from(position).unwrap_or(u32::MAX) }
}

fn named(names: &[String], field: &str) -> Vec<NamedSet> {
    let field: Arc<str> = field.into();
    let mut seen = HashSet::new();
    names
        .iter()
        .enumerate()
        .filter(|(_, name)| seen.insert(name.as_str()))
        .map(|(position, name)| NamedSet { name: name.clone(), place: entry(&field, position) })
        .collect()
}

fn user_key(user: &UserRef) -> Option<UserKey> {
    match (&user.id, &user.username, &user.email) {
        (Some(id), None, None) => Some(UserKey::Id(id.clone())),
        (None, Some(username), None) => Some(UserKey::Username(username.clone())),
        (None, None, Some(email)) => Some(UserKey::Email(email.clone())),
        _ => None,
    }
}

fn text(key: &UserKey) -> &str {
    match key {
        UserKey::Id(text) | UserKey::Username(text) | UserKey::Email(text) => text,
    }
}

fn kind(key: &UserKey) -> &'static str {
    match key {
        UserKey::Id(_) => "id",
        UserKey::Username(_) => "username",
        UserKey::Email(_) => "email",
    }
}

/// What to write instead, where the provider does not know users by keys of this kind.
fn unsupported_key(kind: &str, capabilities: &Capabilities) -> Option<String> {
    let keys = capabilities.keys;
    let known: Vec<&str> = [("email", keys.email), ("username", keys.username), ("id", keys.id)]
        .into_iter()
        .filter_map(|(kind, known)| known.then_some(kind))
        .collect();
    (!known.contains(&kind))
        .then(|| format!("{} does not know users by {kind}: write {} instead", capabilities.name, known.join(" or ")))
}

fn check_key(key: &UserKey, path: &str, capabilities: &Capabilities) -> Result<(), Stop> {
    unsupported_key(kind(key), capabilities).map_or(Ok(()), |instead| {
        Err(Stop::stalled(Reason::UnsupportedByProvider, format!("{path}.{}", kind(key)), instead))
    })
}

fn check_format(format: UserListFormat, list_path: &str, capabilities: &Capabilities) -> Result<(), Stop> {
    let kind = match format {
        UserListFormat::ID => "id",
        UserListFormat::Username => "username",
        UserListFormat::Email => "email",
    };
    unsupported_key(kind, capabilities).map_or(Ok(()), |instead| {
        Err(Stop::stalled(
            Reason::UnsupportedByProvider,
            format!("{list_path}.format"),
            format!("{instead} (formats ID, Username and Email)"),
        ))
    })
}

/// The list's name and content, or the reason for a selecting list and why.
fn read_list(
    source: &UserListSource,
    fetched: Option<&Fetched<'_>>,
) -> Result<(Arc<str>, ParsedList), (Reason, String)> {
    let list = match (&source.secret_ref, &source.config_map_ref) {
        (Some(secret), None) => format!("Secret/{} {}", secret.name, secret.key),
        (None, Some(map)) => format!("ConfigMap/{} {}", map.name, map.key),
        _ => return Err((Reason::InvalidSpec, "give exactly one of secretRef or configMapRef".into())),
    };
    let bytes = match fetched {
        Some(Ok(bytes)) => bytes,
        None => return Err((Reason::UserListNotFound, format!("{list} was not read"))),
        Some(Err(ListUnavailable::NotFound(why))) => return Err((Reason::UserListNotFound, why.clone())),
        Some(Err(ListUnavailable::Forbidden(why))) => return Err((Reason::UserListForbidden, why.clone())),
        Some(Err(ListUnavailable::Refused(why))) => return Err((Reason::UserListInvalid, why.clone())),
    };
    let parsed = userlist::parse(bytes, source.format)
        .map_err(|invalid| (Reason::UserListInvalid, format!("{list}: {invalid}")))?;
    Ok((list.into(), parsed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::capabilities::{Keys, Paging};
    use crate::plan::failure::Class;

    const EVERYTHING: Capabilities = Capabilities {
        name: "Sample",
        visibility: Visibility::MarkAndChangeTime,
        list_shows_mark: true,
        list_shows_change_time: true,
        paging: Paging::Cursor,
        keys: Keys { id: true, username: true, email: true, absence_is_proof: true },
        groups: true,
        populations: true,
        revoke_sessions: true,
        tenant_native: true,
        repeat_without_effect: true,
        batch: 200,
        page_size: 100,
        observe_period_seconds: 900,
        max_probe_period_seconds: 3600,
        side_effects: "",
        limits: "",
        sources: &[],
    };

    /// A policy with one target, from the fields that matter.
    fn spec(target: serde_json::Value) -> PasswordResetPolicySpec {
        let mut full = serde_json::json!({"name": "workforce", "providerRef": {"name": "a"}, "scope": "Selected"});
        full.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        policy(serde_json::json!({"targets": [full]}))
    }

    fn policy(fields: serde_json::Value) -> PasswordResetPolicySpec {
        let mut full = serde_json::json!({
            "mode": "Enforce",
            "requirement": {"passwordChangedAfter": "2026-11-20T22:00:00Z"},
            "targets": [{"name": "workforce", "providerRef": {"name": "a"}, "scope": "Tenant"}],
        });
        full.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(full).unwrap()
    }

    fn emails_from(name: &str) -> serde_json::Value {
        serde_json::json!({"format": "Email", "secretRef": {"name": name, "key": "users.txt"}})
    }

    fn resolve_with(
        spec: &PasswordResetPolicySpec,
        lists: &[&str],
        excluded: &[&str],
        capabilities: &Capabilities,
    ) -> Result<Desired, Stop> {
        let lists: Vec<Fetched<'_>> = lists.iter().map(|text| Ok(text.as_bytes())).collect();
        let excluded: Vec<Fetched<'_>> = excluded.iter().map(|text| Ok(text.as_bytes())).collect();
        resolve(&Sources { spec, index: 0, capabilities, users_from: &lists, exclude_users_from: &excluded })
    }

    fn resolved(spec: &PasswordResetPolicySpec, lists: &[&str], excluded: &[&str]) -> Desired {
        resolve_with(spec, lists, excluded, &EVERYTHING).unwrap()
    }

    fn stop(spec: &PasswordResetPolicySpec, capabilities: &Capabilities) -> (Reason, String, String) {
        let stop = resolve_with(spec, &["a@corp.example"], &["a@corp.example"], capabilities).unwrap_err();
        assert_eq!(stop.class, Class::Stalled);
        (stop.reason, stop.path, stop.message)
    }

    fn places(keys: &[SelectedKey]) -> Vec<String> {
        keys.iter().map(|selected| selected.place.to_string()).collect()
    }

    #[test]
    fn everything_that_is_written_is_wanted() {
        let spec = spec(serde_json::json!({
            "users": [{"email": "alice@corp.example"}, {"username": "bob"}, {"id": "8f4c"}],
            "usersFrom": [emails_from("leak-4711")],
            "groups": ["contractors"],
            "populations": ["staff"],
            "exclude": {"groups": ["contractors-kiosk"], "populations": ["robots"]},
            "missingUsers": "Skip",
            "accountStates": ["Active", "Disabled"],
        }));
        let desired = resolved(&spec, &["# leaked\nmallory@corp.example\n"], &[]);
        assert_eq!(
            places(&desired.selection.keys),
            [
                "spec.targets[0].users[0]",
                "spec.targets[0].users[1]",
                "spec.targets[0].users[2]",
                "Secret/leak-4711 users.txt:2"
            ]
        );
        let places: Vec<_> = [
            &desired.selection.groups,
            &desired.selection.populations,
            &desired.excluded.groups,
            &desired.excluded.populations,
        ]
        .iter()
        .map(|sets| format!("{} {}", sets[0].place, sets[0].name))
        .collect();
        assert_eq!(
            places,
            [
                "spec.targets[0].groups[0] contractors",
                "spec.targets[0].populations[0] staff",
                "spec.targets[0].exclude.groups[0] contractors-kiosk",
                "spec.targets[0].exclude.populations[0] robots"
            ]
        );
        assert!(!desired.selection.tenant);
        assert_eq!(desired.missing_users, MissingUsers::Skip);
        assert_eq!(desired.account_states, AccountStates { active: true, locked: false, disabled: true });
        assert_eq!(desired.requirement.epoch().to_string(), "cutoff:1795212000");
    }

    #[test]
    fn entries_that_name_one_user_are_merged_and_the_first_place_stays() {
        let spec = spec(serde_json::json!({
            "users": [{"email": "Alice@corp.example"}],
            "usersFrom": [emails_from("one"), emails_from("two")],
        }));
        let desired = resolved(&spec, &["alice@corp.example\nbob@corp.example", "BOB@corp.example"], &[]);
        assert_eq!(places(&desired.selection.keys), ["spec.targets[0].users[0]", "Secret/one users.txt:2"]);
    }

    #[test]
    fn a_malformed_line_is_a_place_and_the_rest_goes_on() {
        let spec = spec(serde_json::json!({"users": [{"email": "nobody"}], "usersFrom": [emails_from("one")]}));
        let desired = resolved(&spec, &["alice@corp.example\nnot an address\n"], &[]);
        let malformed: Vec<_> = desired.selection.malformed.iter().map(ToString::to_string).collect();
        assert_eq!(malformed, ["spec.targets[0].users[0]", "Secret/one users.txt:2"]);
        assert_eq!(desired.selection.keys.len(), 1);
    }

    #[test]
    fn an_excluded_user_is_removed_from_lists_by_text() {
        let spec = spec(serde_json::json!({
            "users": [{"id": "Ab1"}],
            "usersFrom": [emails_from("one")],
            "exclude": {"users": [{"email": "ALICE@corp.example"}, {"id": "aB1"}], "usersFrom": [emails_from("kept")]},
        }));
        let list = "alice@corp.example\nbob@corp.example\nAlice@corp.example\ncarol@corp.example";
        let desired = resolved(&spec, &[list], &["Bob@corp.example"]);
        assert_eq!(places(&desired.selection.keys), ["spec.targets[0].users[0]", "Secret/one users.txt:4"]);
        assert_eq!(desired.excluded_by_text, 2);
        assert_eq!(desired.excluded.keys.len(), 3, "exclusions are still asked of the provider by key");
    }

    #[test]
    fn a_malformed_line_can_be_excluded_by_its_text() {
        let spec = spec(serde_json::json!({
            "usersFrom": [emails_from("one")],
            "exclude": {"users": [{"email": "Not An Address"}]},
        }));
        let desired = resolved(&spec, &["alice@corp.example\nnot an address"], &[]);
        assert_eq!((desired.selection.malformed, desired.excluded_by_text), (vec![], 1));
    }

    #[test]
    fn an_exclusion_that_can_name_nobody_stops_the_target() {
        let spec = spec(serde_json::json!({
            "usersFrom": [emails_from("one")],
            "exclude": {"users": [{"email": "b@corp.example"}, {"email": "nobody"}]},
        }));
        let (reason, path, _) = stop(&spec, &EVERYTHING);
        assert_eq!((reason, path.as_str()), (Reason::ExclusionUnresolved, "spec.targets[0].exclude.users[1]"));
    }

    #[test]
    fn a_malformed_line_in_an_exclude_list_stops_the_target_and_is_not_shown() {
        let spec = spec(serde_json::json!({"groups": ["a"], "exclude": {"usersFrom": [emails_from("kept")]}}));
        let stop = resolve_with(&spec, &[], &["alice@corp.example\nbob at corp"], &EVERYTHING).unwrap_err();
        assert_eq!(
            (stop.reason, stop.path.as_str()),
            (Reason::ExclusionUnresolved, "spec.targets[0].exclude.usersFrom[0]")
        );
        assert!(stop.message.contains("Secret/kept users.txt:2") && !stop.message.contains("bob"), "{}", stop.message);
    }

    #[test]
    fn a_list_that_cannot_be_had_stops_in_the_words_of_what_it_does() {
        let spec = spec(serde_json::json!({
            "usersFrom": [emails_from("one")],
            "exclude": {"usersFrom": [emails_from("kept")]},
        }));
        let good: Fetched<'_> = Ok(b"alice@corp.example");
        for (unavailable, reason) in [
            (ListUnavailable::NotFound("why".into()), Reason::UserListNotFound),
            (ListUnavailable::Forbidden("why".into()), Reason::UserListForbidden),
            (ListUnavailable::Refused("why".into()), Reason::UserListInvalid),
        ] {
            let bad: Fetched<'_> = Err(unavailable);
            let sources = Sources {
                spec: &spec,
                index: 0,
                capabilities: &EVERYTHING,
                users_from: std::slice::from_ref(&bad),
                exclude_users_from: std::slice::from_ref(&good),
            };
            let selecting = resolve(&sources).unwrap_err();
            assert_eq!((selecting.reason, selecting.path.as_str()), (reason, "spec.targets[0].usersFrom[0]"));
            let protecting = resolve(&Sources {
                users_from: std::slice::from_ref(&good),
                exclude_users_from: std::slice::from_ref(&bad),
                ..sources
            })
            .unwrap_err();
            assert_eq!(protecting.reason, Reason::ExclusionUnresolved);
            assert_eq!(protecting.path, "spec.targets[0].exclude.usersFrom[0]");
            assert!(protecting.message.starts_with("why"), "{}", protecting.message);
        }
    }

    #[test]
    fn a_list_of_nobody_is_invalid_and_a_list_that_was_not_read_protects_nobody() {
        let spec = spec(serde_json::json!({"usersFrom": [emails_from("one")]}));
        let empty = resolve_with(&spec, &["# nobody\n"], &[], &EVERYTHING).unwrap_err();
        assert_eq!(empty.reason, Reason::UserListInvalid);
        assert!(empty.message.starts_with("Secret/one users.txt: "), "{}", empty.message);
        assert_eq!(resolve_with(&spec, &[], &[], &EVERYTHING).unwrap_err().reason, Reason::UserListNotFound);
    }

    #[test]
    fn what_the_provider_cannot_do_is_refused_with_the_path_and_what_to_write() {
        let no = |change: fn(&mut Capabilities)| {
            let mut capabilities = EVERYTHING;
            change(&mut capabilities);
            capabilities
        };
        let no_populations = no(|capabilities| capabilities.populations = false);
        let no_groups = no(|capabilities| capabilities.groups = false);
        let no_username = no(|capabilities| capabilities.keys.username = false);
        let no_sessions = no(|capabilities| capabilities.revoke_sessions = false);
        let no_native = no(|capabilities| capabilities.tenant_native = false);
        let no_times = no(|capabilities| capabilities.visibility = Visibility::MarkAndSignIn);
        let tenant = serde_json::json!({"name": "t", "providerRef": {"name": "a"}, "scope": "Tenant", "strategy": "TenantNative"});
        let usernames = serde_json::json!([{"format": "Username", "configMapRef": {"name": "m", "key": "k"}}]);
        for (spec, capabilities, path, write) in [
            (
                spec(serde_json::json!({"populations": ["p"]})),
                no_populations,
                "spec.targets[0].populations",
                "write groups instead",
            ),
            (
                spec(serde_json::json!({"groups": ["g"], "exclude": {"populations": ["p"]}})),
                no_populations,
                "spec.targets[0].exclude.populations",
                "write exclude.groups instead",
            ),
            (spec(serde_json::json!({"groups": ["g"]})), no_groups, "spec.targets[0].groups", "usersFrom instead"),
            (
                spec(serde_json::json!({"users": [{"id": "1"}, {"username": "bob"}]})),
                no_username,
                "spec.targets[0].users[1].username",
                "write email or id instead",
            ),
            (
                spec(serde_json::json!({"groups": ["g"], "exclude": {"users": [{"username": "bob"}]}})),
                no_username,
                "spec.targets[0].exclude.users[0].username",
                "write email or id instead",
            ),
            (
                spec(serde_json::json!({"usersFrom": usernames})),
                no_username,
                "spec.targets[0].usersFrom[0].format",
                "write email or id instead",
            ),
            (
                policy(serde_json::json!({"action": {"sessions": "Revoke"}})),
                no_sessions,
                "spec.action.sessions",
                "write Keep",
            ),
            (policy(serde_json::json!({"targets": [tenant]})), no_native, "spec.targets[0].strategy", "write PerUser"),
            (
                policy(serde_json::json!({"requirement": {"maxPasswordAgeDays": 90}})),
                no_times,
                "spec.requirement.maxPasswordAgeDays",
                "write passwordChangedAfter",
            ),
        ] {
            let (reason, at, message) = stop(&spec, &capabilities);
            assert_eq!((reason, at.as_str()), (Reason::UnsupportedByProvider, path));
            assert!(message.contains("Sample") && message.contains(write), "{message}");
        }
    }

    #[test]
    fn a_user_without_exactly_one_key_is_refused() {
        let two = serde_json::json!([{"id": "1", "email": "a@corp.example"}]);
        let (reason, path, _) = stop(&spec(serde_json::json!({"users": two})), &EVERYTHING);
        assert_eq!((reason, path.as_str()), (Reason::InvalidSpec, "spec.targets[0].users[0]"));
        let (reason, path, _) =
            stop(&spec(serde_json::json!({"groups": ["g"], "exclude": {"users": [{}]}})), &EVERYTHING);
        assert_eq!((reason, path.as_str()), (Reason::ExclusionUnresolved, "spec.targets[0].exclude.users[0]"));
    }

    #[test]
    fn protected_users_fail_closed_with_their_place() {
        let user =
            |field: &str, value: &str| serde_json::from_value::<UserRef>(serde_json::json!({field: value})).unwrap();
        let object = "IdentityProvider/pingone-prod";
        let good =
            [user("username", "break-glass-1"), user("email", "root@corp.example"), user("username", "BREAK-glass-1")];
        let keys = protected_keys(&good, object, &EVERYTHING).unwrap();
        assert_eq!(
            places(&keys),
            [
                "IdentityProvider/pingone-prod spec.protectedUsers[0]",
                "IdentityProvider/pingone-prod spec.protectedUsers[1]"
            ]
        );
        let mut no_username = EVERYTHING;
        no_username.keys.username = false;
        for (users, capabilities) in [
            (vec![user("email", "root")], EVERYTHING),
            (vec![UserRef::default()], EVERYTHING),
            (vec![user("username", "root")], no_username),
        ] {
            let stop = protected_keys(&users, object, &capabilities).unwrap_err();
            assert_eq!(stop.reason, Reason::ProtectedUserUnresolved);
            assert_eq!(stop.path, "IdentityProvider/pingone-prod spec.protectedUsers[0]");
        }
    }

    #[test]
    fn two_targets_of_one_tenant_both_stop() {
        let target = |index, name, tenant| TargetTenant { index, name, tenant };
        let stops = duplicate_tenants(&[target(0, "a", "t1"), target(1, "b", "t2"), target(2, "c", "t1")]);
        let at: Vec<_> = stops.iter().map(|(index, stop)| (*index, stop.reason, stop.path.as_str())).collect();
        assert_eq!(
            at,
            [
                (0, Reason::DuplicateTenant, "spec.targets[0].providerRef"),
                (2, Reason::DuplicateTenant, "spec.targets[2].providerRef")
            ]
        );
        assert!(duplicate_tenants(&[target(0, "a", "t1"), target(1, "b", "t2")]).is_empty());
    }

    proptest! {
        #[test]
        fn nobody_is_both_selected_and_excluded_and_nobody_gets_lost(
            selected in proptest::collection::vec("[a-cA-C]{1,2}", 1..12),
            excluded in proptest::collection::vec("[a-cA-C]{1,2}", 0..6),
        ) {
            let email = |name: &String| format!("{name}@corp.example");
            let list: Vec<String> = selected.iter().map(email).collect();
            let exclude: Vec<_> = excluded.iter().map(|name| serde_json::json!({"email": email(name)})).collect();
            let spec = spec(serde_json::json!({"usersFrom": [emails_from("one")], "exclude": {"users": exclude}}));
            let desired = resolved(&spec, &[&list.join("\n")], &[]);

            let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<HashSet<_>>();
            let (selected, excluded) = (lower(&selected), lower(&excluded));
            let kept: HashSet<String> = desired
                .selection
                .keys
                .iter()
                .map(|selected| text(&selected.key).to_lowercase().replace("@corp.example", ""))
                .collect();
            prop_assert_eq!(kept.len(), desired.selection.keys.len());
            prop_assert_eq!(&kept, &selected.difference(&excluded).cloned().collect::<HashSet<_>>());
            prop_assert_eq!(desired.excluded_by_text as usize, selected.intersection(&excluded).count());
        }
    }
}
