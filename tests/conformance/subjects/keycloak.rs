//! Keycloak for real: a realm of its own for each tenant, on the one server of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::plan::observed::SetKind;
use password_reset_operator::provider::http::HttpSettings;
use password_reset_operator::provider::{Provider, keycloak};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::keycloak::person::SignIn;
use testbed::keycloak::realm::{OPERATOR_CLIENT, Realm, RealmOptions, UPDATE_PASSWORD, User};
use testbed::keycloak::shared;
use url::Url;

use crate::subject::{Act, Credential, EMPTY_GROUP, GROUP, PEOPLE, Person, Subject};

/// A realm.
pub struct Keycloak {
    realm: Realm,
}

impl Keycloak {
    /// Calls the admin API for what the test bed has no word for. With the rights of the operator's client, which suffice:
    /// a client's secret is checked at once, an administrator's password takes as long as a password should.
    async fn admin(&self, method: Method, path: &str, body: &Value) -> reqwest::Response {
        let realm = &self.realm;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let secret = realm.client_secret();
        let form = [("grant_type", "client_credentials"), ("client_id", OPERATOR_CLIENT), ("client_secret", &secret)];
        let address = format!("{}/protocol/openid-connect/token", realm.url());
        let token = http.post(address).form(&form).send().await.expect("an answer");
        let token: Value = token.json().await.expect("a token");
        let token = token["access_token"].as_str().expect("a token").to_owned();
        let address = format!("{}/admin/realms/{}{path}", realm.server(), realm.name());
        let answer = http.request(method, address).bearer_auth(token).json(body).send().await.expect("an answer");
        answer.error_for_status().expect("a success")
    }

    /// Puts a group with other members below [`GROUP`].
    async fn nest(&self, child: &str, member: &str) {
        let groups = format!("/groups?exact=true&search={GROUP}");
        let found: Value = self.admin(Method::GET, &groups, &Value::Null).await.json().await.expect("groups");
        let parent = found[0]["id"].as_str().expect("a group");
        let children = format!("/groups/{parent}/children");
        let made: Value =
            self.admin(Method::POST, &children, &json!({ "name": child })).await.json().await.expect("a group");
        let user = self.realm.user(member).await.expect("a user").id;
        let membership = format!("/users/{user}/groups/{}", made["id"].as_str().expect("a group"));
        self.admin(Method::PUT, &membership, &json!({})).await;
    }
}

fn name(person: &Person) -> &str {
    person.username.as_deref().expect("everybody has a user name")
}

fn person(mut user: User) -> Person {
    let marked = user.required_actions.iter().any(|action| action == UPDATE_PASSWORD);
    user.required_actions.retain(|action| action != UPDATE_PASSWORD);
    Person {
        id: user.id.clone(),
        username: Some(user.username.clone()),
        email: format!("{}@example.org", user.username),
        has_password: true,
        marked,
        rest: format!("{user:?}"),
    }
}

impl Subject for Keycloak {
    const CAPABILITIES: &'static Capabilities = &keycloak::CAPABILITIES;
    const TOKENS: bool = true;
    const PAGE_SIZE: &'static str = "max";
    const NOBODY: &'static str = "00000000-0000-4000-8000-000000000000";

    async fn start(_number: u64) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("conformance-{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        let options = RealmOptions::default()
            .users(PEOPLE)
            .group(GROUP, &["user-0002", "user-0007", "user-0012"])
            .group("contractors-kiosk", &["user-0002", "user-0004"])
            .group(EMPTY_GROUP, &[]);
        let server = shared().await.expect("a Keycloak");
        let realm = server.create_realm(&name, options).await.expect("a realm");
        let keycloak = Self { realm };
        keycloak.nest("contractors-night", "user-0003").await;
        keycloak
    }

    fn origins(&self) -> Vec<String> {
        vec![self.realm.server().to_owned()]
    }

    fn is_authentication(path: &str) -> bool {
        path.ends_with("/protocol/openid-connect/token")
    }

    fn connect(
        &self,
        origins: &[Url],
        credential: Credential,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider> {
        let client_secret = match credential {
            Credential::Right => self.realm.client_secret().into(),
            Credential::Wrong => "wrong".into(),
        };
        let config = keycloak::KeycloakConfig {
            base_url: origins[0].clone(),
            realm: self.realm.name().to_owned(),
            auth_realm: None,
            client_id: OPERATOR_CLIENT.to_owned(),
            client_secret,
            page_size,
        };
        Box::new(keycloak::Keycloak::connect(config, settings).expect("a client"))
    }

    async fn accounts(&self) -> Vec<Person> {
        self.realm.users().await.expect("users").into_iter().map(person).collect()
    }

    async fn members(&self, _kind: SetKind, name: &str) -> BTreeSet<String> {
        let names = self.realm.group_members(name).await.expect("members");
        let accounts = self.accounts().await.into_iter();
        let members = accounts.filter(|person| person.username.as_ref().is_some_and(|name| names.contains(name)));
        members.map(|person| person.id).collect()
    }

    async fn act(&self, person: &Person, act: Act) {
        let (realm, name) = (&self.realm, name(person));
        match act {
            Act::Complies => realm.user_changes_password(name).await.expect("a change"),
            Act::SignsIn => assert_eq!(realm.user_signs_in(name).await.expect("a sign-in"), SignIn::Granted),
            Act::Marks => realm.admin_marks(name).await.expect("a mark"),
            Act::Clears => realm.admin_clears_mark(name).await.expect("no mark"),
            Act::Deletes => realm.admin_deletes_user(name).await.expect("a deletion"),
        }
    }

    async fn hires(&self) -> String {
        self.realm.admin_creates_user("user-9999").await.expect("a new user");
        self.realm.user("user-9999").await.expect("a new user").id
    }

    async fn sessions(&self, person: &Person) -> usize {
        let path = format!("/users/{}/sessions", person.id);
        let sessions: Vec<Value> = self.admin(Method::GET, &path, &Value::Null).await.json().await.expect("sessions");
        sessions.len()
    }

    async fn requirements(&self) -> BTreeMap<String, usize> {
        let ids: BTreeMap<String, String> =
            self.realm.users().await.expect("users").into_iter().map(|user| (user.username, user.id)).collect();
        let updates = self.realm.updates_by_operator().await.expect("admin events");
        updates.into_iter().map(|(name, times)| (ids.get(&name).cloned().unwrap_or(name), times)).collect()
    }
}
