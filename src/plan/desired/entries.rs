//! Reading the entries of a target: users by key, lists, and what an exclusion removes from them by text.

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::Reason;
use crate::api::password_reset_policy::{Exclude, Target, UserListFormat, UserListSource};
use crate::api::references::UserRef;

use super::{Exclusions, Fetched, ListUnavailable, NamedSet, Place, SelectedKey};
use crate::plan::capabilities::Capabilities;
use crate::plan::failure::Stop;
use crate::plan::observed::UserKey;
use crate::plan::userlist::{self, ParsedList};

/// What the protecting side names, and what of it may remove entries of the selecting side by text.
#[derive(Default)]
pub(super) struct Protecting {
    pub(super) exclusions: Exclusions,
    folded: HashSet<UserKey>,
    /// Entries of `exclude.users` that can name nobody at the provider: good only where they equal a malformed selected
    /// entry, which is how such a line is excluded.
    pub(super) misshapen: Vec<(UserKey, Place)>,
}

impl Protecting {
    pub(super) fn read(
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
pub(super) struct Selecting {
    pub(super) keys: Vec<SelectedKey>,
    seen: HashSet<UserKey>,
    pub(super) malformed: Vec<Place>,
    /// Positions in the protecting side's misshapen entries that equalled a malformed entry here.
    matched: HashSet<usize>,
}

impl Selecting {
    pub(super) fn read(
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
        if !protecting.folded.contains(&folded) && self.seen.insert(folded) {
            self.keys.push(SelectedKey { key, place });
        }
    }

    fn malformed(&mut self, place: Place, protecting: &Protecting, same: impl Fn(&UserKey) -> bool) {
        match protecting.misshapen.iter().position(|(key, _)| same(key)) {
            Some(position) => {
                self.matched.insert(position);
            }
            None => self.malformed.push(place),
        }
    }

    /// Refuses an exclusion that can name nobody and removed nothing: it protects nobody, whoever was meant by it.
    pub(super) fn settle(&self, misshapen: &[(UserKey, Place)]) -> Result<(), Stop> {
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

pub(super) fn named(names: &[String], field: &str) -> Vec<NamedSet> {
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

pub(super) fn text(key: &UserKey) -> &str {
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
                format!("{why}. Nothing is written on this tenant until then"),
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
