//! What does a realm hold at the beginning?
//!
//! Users in every state that matters to the operator, groups, the operator's client with chosen roles, and a client for people. It is all made
//! in one call; what happens later is in [`super::realm`].

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulators::PERSONAL_CANARY;

use super::person::REDIRECT;

/// The confidential client that the operator uses.
pub const OPERATOR_CLIENT: &str = "password-reset-operator";
/// The public client through which people sign in.
pub(crate) const PEOPLE_CLIENT: &str = "people";
/// The required action that makes a user change the password.
pub const UPDATE_PASSWORD: &str = "UPDATE_PASSWORD";
/// A required action that has nothing to do with passwords.
pub const CONFIGURE_TOTP: &str = "CONFIGURE_TOTP";
/// The `realm-management` roles that the operator's client has unless a test takes some away.
pub const OPERATOR_ROLES: [&str; 5] = ["view-users", "query-users", "manage-users", "query-groups", "view-realm"];

/// What a user is like at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Enabled, with a password, without required actions.
    Enabled,
    /// Disabled, with a password.
    Disabled,
    /// Enabled and already required to change the password.
    Marked,
    /// Enabled and required to set up a one-time password, an action that must survive.
    MustConfigureTotp,
    /// Enabled, without any password credential, like a user of an identity broker.
    WithoutPassword,
    /// Enabled, but without the last name that the realm's user profile demands: Keycloak answers 400 to every
    /// update of this user.
    ProfileInvalid,
}

/// What a realm holds at the beginning.
#[derive(Debug, Clone)]
pub struct RealmOptions {
    pub(super) users: Vec<(String, Beginning)>,
    groups: Vec<(String, Vec<String>)>,
    roles: Vec<&'static str>,
}

impl Default for RealmOptions {
    fn default() -> Self {
        Self { users: Vec::new(), groups: Vec::new(), roles: OPERATOR_ROLES.to_vec() }
    }
}

impl RealmOptions {
    /// Adds `count` enabled users `user-0001`, `user-0002`, …
    pub fn users(mut self, count: usize) -> Self {
        let numbered = (1..=count).map(|n| (format!("user-{n:04}"), Beginning::Enabled));
        self.users.extend(numbered);
        self
    }

    /// Adds one user. Keycloak keeps user names in lower case.
    pub fn user(mut self, name: &str, beginning: Beginning) -> Self {
        self.users.push((name.to_owned(), beginning));
        self
    }

    /// Adds a group at the top level with direct members, who must be users of these options.
    pub fn group(mut self, name: &str, members: &[&str]) -> Self {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.push((name.to_owned(), members));
        self
    }

    /// Takes a `realm-management` role from the operator's client.
    pub fn without_role(mut self, role: &str) -> Self {
        self.roles.retain(|kept| *kept != role);
        self
    }
}

/// The realm as Keycloak's admin API creates it.
pub(super) fn representation(
    name: &str,
    options: &RealmOptions,
    secret: &str,
    passwords: &BTreeMap<String, String>,
) -> Value {
    let groups_of = |user: &str| -> Vec<String> {
        let member = |(_, members): &&(String, Vec<String>)| members.iter().any(|m| m == user);
        let path = |(group, _): &(String, Vec<String>)| format!("/{group}");
        options.groups.iter().filter(member).map(path).collect()
    };
    let mut users: Vec<Value> = options
        .users
        .iter()
        .map(|(user, beginning)| {
            let password = passwords.get(user).map(String::as_str);
            user_representation(user, *beginning, password, &groups_of(user))
        })
        .collect();
    users.push(json!({
        "username": format!("service-account-{OPERATOR_CLIENT}"),
        "enabled": true,
        "serviceAccountClientId": OPERATOR_CLIENT,
        "clientRoles": { "realm-management": options.roles },
    }));
    json!({
        "realm": name,
        "enabled": true,
        "sslRequired": "none",
        // The default, argon2, takes 150 ms for every password.
        "passwordPolicy": "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)",
        // By default a realm gets two RSA keys, which take most of the time that it is made in.
        "defaultSignatureAlgorithm": "ES256",
        "components": { "org.keycloak.keys.KeyProvider": [
            key_provider("ecdsa-generated", json!({ "ecdsaEllipticCurveKey": ["P-256"] })),
            key_provider("hmac-generated", json!({ "algorithm": ["HS512"] })),
            key_provider("aes-generated", json!({})),
        ] },
        "adminEventsEnabled": true,
        "groups": options.groups.iter().map(|(group, _)| json!({ "name": group })).collect::<Vec<_>>(),
        "clients": [
            {
                "clientId": OPERATOR_CLIENT,
                "secret": secret,
                "publicClient": false,
                "serviceAccountsEnabled": true,
                "standardFlowEnabled": false,
                "directAccessGrantsEnabled": false,
            },
            {
                "clientId": PEOPLE_CLIENT,
                "publicClient": true,
                "standardFlowEnabled": true,
                "directAccessGrantsEnabled": true,
                "redirectUris": [REDIRECT],
            },
        ],
        "users": users,
    })
}

/// A source of the realm's keys, by the name of its kind.
fn key_provider(kind: &str, mut config: Value) -> Value {
    config["priority"] = json!(["100"]);
    json!({ "name": kind, "providerId": kind, "config": config })
}

pub(super) fn user_representation(
    name: &str,
    beginning: Beginning,
    password: Option<&str>,
    groups: &[String],
) -> Value {
    let actions: &[&str] = match beginning {
        Beginning::Marked => &[UPDATE_PASSWORD],
        Beginning::MustConfigureTotp => &[CONFIGURE_TOTP],
        _ => &[],
    };
    let credentials: Vec<Value> = password
        .map(|password| json!({ "type": "password", "value": password, "temporary": false }))
        .into_iter()
        .collect();
    let mut user = json!({
        "username": name,
        "enabled": beginning != Beginning::Disabled,
        "email": format!("{name}@example.org"),
        "emailVerified": true,
        "firstName": PERSONAL_CANARY,
        "lastName": PERSONAL_CANARY,
        "requiredActions": actions,
        "credentials": credentials,
        "groups": groups,
    });
    if beginning == Beginning::ProfileInvalid {
        user["lastName"] = Value::Null;
    }
    user
}
