//! Who updated which user how often, in Keycloak's own words?
//!
//! A realm of the test bed records admin events: one for every successful call that changed something. That is the
//! ledger of a real server: tests count the operator's writes there and not in the operator.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

use super::realm::{OPERATOR_CLIENT, Realm};

const ALL: &str = "first=0&max=1000000";

/// A successful update of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserUpdate {
    /// The client that called: [`OPERATOR_CLIENT`], or `admin-cli` for the test bed's administrator.
    pub client: String,
    /// The name of the user, or the identifier when the user is deleted by now.
    pub user: String,
    /// When Keycloak recorded it.
    pub at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdminEvent {
    time: i64,
    auth_details: AuthDetails,
    resource_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthDetails {
    client_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    id: String,
    client_id: String,
}

impl Realm {
    /// Every `PUT …/users/{id}` that succeeded, oldest first, whoever sent it. Password resets by an administrator are
    /// another kind of event and not among them.
    pub async fn user_updates(&self) -> Result<Vec<UserUpdate>> {
        let events: Vec<AdminEvent> =
            self.get(&format!("/admin-events?resourceTypes=USER&operationTypes=UPDATE&{ALL}")).await?;
        let mut clients = self.clients_by_id(self.name()).await?;
        clients.append(&mut self.clients_by_id("master").await?);
        let users: BTreeMap<String, String> =
            self.users().await?.into_iter().map(|user| (user.id, user.username)).collect();
        let mut updates = events
            .into_iter()
            .filter_map(|event| {
                let id = event.resource_path.strip_prefix("users/")?.to_owned();
                Some((event, id))
            })
            .map(|(event, id)| {
                let client = event.auth_details.client_id;
                Ok(UserUpdate {
                    client: clients.get(&client).cloned().unwrap_or(client),
                    user: users.get(&id).cloned().unwrap_or(id),
                    at: Timestamp::from_millisecond(event.time)
                        .context("the time of an admin event is out of range")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        // Keycloak answers newest first.
        updates.reverse();
        Ok(updates)
    }

    /// How often the operator's client updated each user; users that it never updated are absent.
    pub async fn updates_by_operator(&self) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for update in self.user_updates().await? {
            if update.client == OPERATOR_CLIENT {
                *counts.entry(update.user).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn clients_by_id(&self, realm: &str) -> Result<BTreeMap<String, String>> {
        let clients: Vec<Client> = self.admin.get(&format!("/{realm}/clients")).await?;
        Ok(clients.into_iter().map(|client| (client.id, client.client_id)).collect())
    }
}
