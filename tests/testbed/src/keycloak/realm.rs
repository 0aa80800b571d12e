//! What can be done to a realm, and what is true in it?
//!
//! A [`Realm`] acts as its administrator and reads its truth. What it holds at the beginning is in [`super::options`].
//! What people do themselves is in [`super::person`]; who changed what is in [`super::ledger`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use simulators::SECRET_CANARY;

use super::admin::Admin;
pub use super::options::{Beginning, CONFIGURE_TOTP, OPERATOR_CLIENT, OPERATOR_ROLES, RealmOptions, UPDATE_PASSWORD};
use super::options::{representation, user_representation};
use crate::random;

/// A user as Keycloak shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Keycloak's identifier, a UUID.
    pub id: String,
    /// The user name.
    pub username: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// What the user must do at the next sign-in.
    #[serde(default)]
    pub required_actions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    #[serde(rename = "type")]
    kind: String,
    created_date: i64,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

/// A realm of a running Keycloak.
pub struct Realm {
    pub(super) admin: Admin,
    pub(super) name: String,
    client_secret: Mutex<String>,
    /// The passwords of people, by user name.
    pub(super) passwords: Mutex<BTreeMap<String, String>>,
}

/// Carries the canary that all credentials of the test data carry.
fn new_secret() -> Result<String> {
    Ok(format!("{SECRET_CANARY}{}", random::hex()?))
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Realm({})", self.url())
    }
}

impl Realm {
    pub(super) async fn create(admin: Admin, name: &str, options: RealmOptions) -> Result<Self> {
        let secret = new_secret()?;
        let passwords = options
            .users
            .iter()
            .filter(|(_, beginning)| *beginning != Beginning::WithoutPassword)
            .map(|(name, _)| (name.clone(), format!("{SECRET_CANARY}: first password of {name}")))
            .collect();
        admin
            .post("", &representation(name, &options, &secret, &passwords))
            .await
            .with_context(|| format!("the realm {name} cannot be created"))?;
        let realm =
            Self { admin, name: name.to_owned(), client_secret: Mutex::new(secret), passwords: Mutex::new(passwords) };
        let invalid = |(_, beginning): &(String, Beginning)| *beginning == Beginning::ProfileInvalid;
        if options.users.iter().any(invalid) {
            // Only now: creating users without a last name would be refused.
            realm.demand_last_names().await?;
        }
        Ok(realm)
    }

    /// Takes away what was required of people and forgets who changed what, so that the realm can be used again: deleting
    /// it and making another would take Keycloak longer than a campaign in it. Passwords stay as they are.
    pub async fn start_over(&self) -> Result<()> {
        for mut user in self.users().await?.into_iter().filter(|user| !user.required_actions.is_empty()) {
            user.required_actions.clear();
            self.put_actions(&user).await?;
        }
        self.delete_path("/admin-events", None).await
    }

    /// The realm's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's address, `http://127.0.0.1:<port>`, without the realm.
    pub fn server(&self) -> &str {
        self.admin.server()
    }

    /// The realm's issuer address, `<server>/realms/<name>`.
    pub fn url(&self) -> String {
        format!("{}/realms/{}", self.server(), self.name)
    }

    /// The present secret of [`OPERATOR_CLIENT`].
    pub fn client_secret(&self) -> String {
        self.client_secret.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives [`OPERATOR_CLIENT`] a new secret; the old one is refused from now on.
    pub async fn rotate_client_secret(&self) -> Result<()> {
        let client = self.client_id(OPERATOR_CLIENT).await?;
        let mut representation: Value = self.get(&format!("/clients/{client}")).await?;
        let secret = new_secret()?;
        representation["secret"] = json!(secret);
        self.put(&format!("/clients/{client}"), &representation).await?;
        *self.client_secret.lock().unwrap_or_else(PoisonError::into_inner) = secret;
        Ok(())
    }

    /// All users, without service accounts, in the order of their names.
    pub async fn users(&self) -> Result<Vec<User>> {
        self.get("/users?first=0&max=1000000&briefRepresentation=false").await
    }

    /// The user of that exact name. Errors when there is none.
    pub async fn user(&self, name: &str) -> Result<User> {
        let found: Vec<User> =
            self.get(&format!("/users?exact=true&briefRepresentation=false&username={name}")).await?;
        found.into_iter().next().with_context(|| format!("the realm {} has no user {name}", self.name))
    }

    /// What the user must do at the next sign-in, sorted.
    pub async fn required_actions(&self, name: &str) -> Result<Vec<String>> {
        let mut actions = self.user(name).await?.required_actions;
        actions.sort();
        Ok(actions)
    }

    /// The names of all users who are required to change the password, sorted.
    pub async fn marked_users(&self) -> Result<Vec<String>> {
        let mut marked: Vec<String> = self
            .users()
            .await?
            .into_iter()
            .filter(|user| user.required_actions.iter().any(|a| a == UPDATE_PASSWORD))
            .map(|user| user.username)
            .collect();
        marked.sort();
        Ok(marked)
    }

    /// The names of the direct members of a group at the top level, sorted.
    pub async fn group_members(&self, group: &str) -> Result<Vec<String>> {
        let found: Vec<Identified> = self.get(&format!("/groups?exact=true&search={group}")).await?;
        let id = &found.first().with_context(|| format!("the realm {} has no group {group}", self.name))?.id;
        let members: Vec<User> = self.get(&format!("/groups/{id}/members?max=1000000")).await?;
        let mut names: Vec<String> = members.into_iter().map(|user| user.username).collect();
        names.sort();
        Ok(names)
    }

    /// When the user's password was set; `None` without a password. Keycloak keeps milliseconds.
    pub async fn password_created(&self, name: &str) -> Result<Option<Timestamp>> {
        let id = self.user(name).await?.id;
        let credentials: Vec<Credential> = self.get(&format!("/users/{id}/credentials")).await?;
        credentials
            .iter()
            .find(|credential| credential.kind == "password")
            .map(|credential| Timestamp::from_millisecond(credential.created_date))
            .transpose()
            .context("Keycloak's createdDate is out of range")
    }

    /// An administrator requires the user to change the password.
    pub async fn admin_marks(&self, name: &str) -> Result<()> {
        self.admin_adds_action(name, UPDATE_PASSWORD).await
    }

    /// An administrator takes the requirement back; the user's other required actions stay.
    pub async fn admin_clears_mark(&self, name: &str) -> Result<()> {
        let mut user = self.user(name).await?;
        user.required_actions.retain(|action| action != UPDATE_PASSWORD);
        self.put_actions(&user).await
    }

    /// An administrator adds a required action such as [`CONFIGURE_TOTP`].
    pub async fn admin_adds_action(&self, name: &str, action: &str) -> Result<()> {
        let mut user = self.user(name).await?;
        if !user.required_actions.iter().any(|have| have == action) {
            user.required_actions.push(action.to_owned());
        }
        self.put_actions(&user).await
    }

    /// An administrator disables or enables the user.
    pub async fn admin_sets_enabled(&self, name: &str, enabled: bool) -> Result<()> {
        let id = self.user(name).await?.id;
        self.put(&format!("/users/{id}"), &json!({ "enabled": enabled })).await
    }

    /// An administrator creates an enabled user, with a password that is set now.
    pub async fn admin_creates_user(&self, name: &str) -> Result<()> {
        let password = format!("first password of {name}");
        let user = user_representation(name, Beginning::Enabled, Some(&password), &[]);
        self.admin.post(&format!("/{}/users", self.name), &user).await?;
        self.remember_password(name, password);
        Ok(())
    }

    /// An administrator deletes the user.
    pub async fn admin_deletes_user(&self, name: &str) -> Result<()> {
        let id = self.user(name).await?.id;
        self.delete_path(&format!("/users/{id}"), None).await
    }

    /// An administrator gives the user a new password that need not be changed. Keycloak takes an existing requirement away
    /// with it, and its ledger has no update of the user for it.
    pub async fn admin_resets_password(&self, name: &str) -> Result<()> {
        let id = self.user(name).await?.id;
        let password = random::hex()?;
        self.put(
            &format!("/users/{id}/reset-password"),
            &json!({ "type": "password", "value": password, "temporary": false }),
        )
        .await?;
        self.remember_password(name, password);
        Ok(())
    }

    /// An administrator gives a `realm-management` role to the operator's client.
    pub async fn admin_grants_role(&self, role: &str) -> Result<()> {
        let (path, role) = self.role_mapping(role).await?;
        self.admin.post(&path, &json!([role])).await.map(drop)
    }

    /// An administrator takes a `realm-management` role from the operator's client. Tokens that were issued before
    /// lose it at once: Keycloak's admin API looks the roles up at every call.
    pub async fn admin_withdraws_role(&self, role: &str) -> Result<()> {
        let (path, role) = self.role_mapping(role).await?;
        self.admin.delete(&path, Some(&json!([role]))).await
    }

    /// An administrator switches the realm's required action "Update Password" on or off. While it is off a mark has
    /// no effect in the login form.
    pub async fn admin_sets_update_password_action(&self, enabled: bool) -> Result<()> {
        let path = format!("/authentication/required-actions/{UPDATE_PASSWORD}");
        let mut action: Value = self.get(&path).await?;
        action["enabled"] = json!(enabled);
        self.put(&path, &action).await
    }

    pub(super) fn remember_password(&self, name: &str, password: String) {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), password);
    }

    /// Keycloak's identifier of a client of this realm.
    pub(super) async fn client_id(&self, client: &str) -> Result<String> {
        let found: Vec<Identified> = self.get(&format!("/clients?clientId={client}")).await?;
        found
            .into_iter()
            .next()
            .map(|client| client.id)
            .with_context(|| format!("the realm {} has no client {client}", self.name))
    }

    pub(super) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.admin.get(&format!("/{}{path}", self.name)).await
    }

    async fn put(&self, path: &str, body: &Value) -> Result<()> {
        self.admin.put(&format!("/{}{path}", self.name), body).await
    }

    async fn delete_path(&self, path: &str, body: Option<&Value>) -> Result<()> {
        self.admin.delete(&format!("/{}{path}", self.name), body).await
    }

    /// Keycloak replaces the list by the one that is sent.
    async fn put_actions(&self, user: &User) -> Result<()> {
        self.put(&format!("/users/{}", user.id), &json!({ "requiredActions": user.required_actions })).await
    }

    async fn role_mapping(&self, role: &str) -> Result<(String, Value)> {
        let client = self.client_id(OPERATOR_CLIENT).await?;
        let account: Identified = self.get(&format!("/clients/{client}/service-account-user")).await?;
        let management = self.client_id("realm-management").await?;
        let role = self.get(&format!("/clients/{management}/roles/{role}")).await?;
        let path = format!("/{}/users/{}/role-mappings/clients/{management}", self.name, account.id);
        Ok((path, role))
    }

    async fn demand_last_names(&self) -> Result<()> {
        let mut profile: Value = self.get("/users/profile").await?;
        let attributes = profile["attributes"].as_array_mut().context("the realm's user profile has no attributes")?;
        for attribute in attributes {
            if attribute["name"] == "lastName" {
                attribute["required"] = json!({ "roles": ["admin", "user"] });
            }
        }
        self.put("/users/profile", &profile).await
    }
}
