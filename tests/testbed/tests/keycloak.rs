//! Does the real Keycloak start, hold users in every state, and tell who changed what?

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::keycloak::person::{Asked, SignIn};
use testbed::keycloak::realm::{Beginning, CONFIGURE_TOTP, OPERATOR_CLIENT, Realm, RealmOptions, UPDATE_PASSWORD};
use testbed::keycloak::shared;

/// Calls as the operator would: with a token of its client.
struct Operator {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Operator {
    async fn sign_in(realm: &Realm, secret: &str) -> Result<Self, u16> {
        let http = reqwest::Client::new();
        let form = [("grant_type", "client_credentials"), ("client_id", OPERATOR_CLIENT), ("client_secret", secret)];
        let response =
            http.post(format!("{}/protocol/openid-connect/token", realm.url())).form(&form).send().await.unwrap();
        if !response.status().is_success() {
            return Err(response.status().as_u16());
        }
        let answer: Value = response.json().await.unwrap();
        Ok(Self {
            http,
            base: format!("{}/admin/realms/{}", realm.server(), realm.name()),
            token: answer["access_token"].as_str().unwrap().to_owned(),
        })
    }

    async fn get(&self, path: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", self.base));
        let response = request.bearer_auth(&self.token).send().await.unwrap();
        response.status().as_u16()
    }

    async fn put_actions(&self, id: &str, actions: &[&str]) -> u16 {
        let request = self.http.put(format!("{}/users/{id}", self.base));
        let request = request.json(&json!({ "requiredActions": actions }));
        let response = request.bearer_auth(&self.token).send().await.unwrap();
        response.status().as_u16()
    }
}

async fn realm(name: &str, options: RealmOptions) -> Realm {
    let keycloak = shared().await.unwrap();
    keycloak.create_realm(name, options).await.unwrap()
}

#[tokio::test]
async fn every_beginning_is_what_its_name_says() {
    let options = RealmOptions::default()
        .user("enabled", Beginning::Enabled)
        .user("disabled", Beginning::Disabled)
        .user("marked", Beginning::Marked)
        .user("totp", Beginning::MustConfigureTotp)
        .user("brokered", Beginning::WithoutPassword)
        .user("invalid", Beginning::ProfileInvalid)
        .group("staff", &["enabled", "marked"]);
    let realm = realm("beginnings", options).await;

    assert_eq!(realm.users().await.unwrap().len(), 6);
    assert_eq!(realm.user_signs_in("enabled").await.unwrap(), SignIn::Granted);
    assert!(!realm.user("disabled").await.unwrap().enabled);
    assert_eq!(realm.user_signs_in("disabled").await.unwrap(), SignIn::Refused);
    assert_eq!(realm.marked_users().await.unwrap(), ["marked"]);
    assert_eq!(realm.user_signs_in("marked").await.unwrap(), SignIn::MustActFirst);
    assert_eq!(realm.required_actions("totp").await.unwrap(), [CONFIGURE_TOTP]);
    assert!(matches!(realm.user_is_asked_for("totp").await.unwrap(), Asked::Other(_)));
    assert_eq!(realm.password_created("brokered").await.unwrap(), None);
    assert!(realm.password_created("enabled").await.unwrap().is_some());

    let operator = Operator::sign_in(&realm, &realm.client_secret()).await.unwrap();
    for (name, expected) in [("enabled", 204), ("invalid", 400)] {
        let id = realm.user(name).await.unwrap().id;
        let status = operator.put_actions(&id, &[UPDATE_PASSWORD]).await;
        assert_eq!(status, expected, "for {name}");
    }
}

#[tokio::test]
async fn a_realm_that_starts_over_requires_nothing_of_anybody_and_has_no_history() {
    let realm = realm("again", RealmOptions::default().users(2).user("totp", Beginning::MustConfigureTotp)).await;
    realm.admin_marks("user-0001").await.unwrap();
    assert_eq!(realm.user_updates().await.unwrap().len(), 1);
    realm.start_over().await.unwrap();
    assert!(realm.users().await.unwrap().iter().all(|user| user.required_actions.is_empty()));
    assert_eq!(realm.user_updates().await.unwrap(), []);
    assert_eq!(realm.user_signs_in("user-0001").await.unwrap(), SignIn::Granted);
}

#[tokio::test]
async fn members_of_a_group_are_those_of_the_options() {
    let options = RealmOptions::default().users(3).group("staff", &["user-0002"]);
    let realm = realm("groups", options).await;
    assert_eq!(realm.group_members("staff").await.unwrap(), ["user-0002"]);
}

#[tokio::test]
async fn a_person_changes_the_password_in_the_login_form_and_the_mark_is_gone() {
    let options = RealmOptions::default().user("marked", Beginning::Marked).user("unmarked", Beginning::Enabled);
    let realm = realm("people", options).await;
    let before = realm.password_created("marked").await.unwrap().unwrap();

    realm.user_changes_password("marked").await.unwrap();
    realm.user_changes_password("unmarked").await.unwrap();

    assert!(realm.required_actions("marked").await.unwrap().is_empty());
    let after = realm.password_created("marked").await.unwrap().unwrap();
    assert!(after > before, "{after} {before}");
    for name in ["marked", "unmarked"] {
        assert_eq!(realm.user_signs_in(name).await.unwrap(), SignIn::Granted);
    }
    assert!(realm.user_updates().await.unwrap().is_empty(), "a person is no administrator");
}

#[tokio::test]
async fn the_ledger_tells_the_operator_from_an_administrator() {
    let realm = realm("ledger", RealmOptions::default().users(3)).await;
    let start = Timestamp::now();
    let operator = Operator::sign_in(&realm, &realm.client_secret()).await.unwrap();
    let id = realm.user("user-0001").await.unwrap().id;
    for _ in 0..2 {
        assert_eq!(operator.put_actions(&id, &[UPDATE_PASSWORD]).await, 204);
    }
    assert_eq!(operator.put_actions("no-such-id", &[]).await, 404);
    realm.admin_marks("user-0002").await.unwrap();
    realm.admin_clears_mark("user-0002").await.unwrap();

    let counts = realm.updates_by_operator().await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("user-0001".to_owned(), 2)]);
    let updates = realm.user_updates().await.unwrap();
    let seen: Vec<_> = updates.iter().map(|update| (update.client.as_str(), update.user.as_str())).collect();
    assert_eq!(
        seen,
        [
            (OPERATOR_CLIENT, "user-0001"),
            (OPERATOR_CLIENT, "user-0001"),
            ("admin-cli", "user-0002"),
            ("admin-cli", "user-0002"),
        ]
    );
    assert!(updates.iter().all(|update| update.at.as_second() >= start.as_second()));
}

#[tokio::test]
async fn a_cleared_mark_leaves_other_required_actions() {
    let options = RealmOptions::default().user("both", Beginning::MustConfigureTotp);
    let realm = realm("cleared", options).await;
    realm.admin_marks("both").await.unwrap();
    assert_eq!(realm.required_actions("both").await.unwrap(), [CONFIGURE_TOTP, UPDATE_PASSWORD]);
    realm.admin_clears_mark("both").await.unwrap();
    assert_eq!(realm.required_actions("both").await.unwrap(), [CONFIGURE_TOTP]);
}

#[tokio::test]
async fn roles_that_are_left_out_are_missing_until_granted() {
    let options = RealmOptions::default().users(1).without_role("view-realm");
    let realm = realm("roles", options).await;
    let operator = Operator::sign_in(&realm, &realm.client_secret()).await.unwrap();
    let preflight = "/authentication/required-actions/UPDATE_PASSWORD";
    assert_eq!(operator.get("/users").await, 200);
    assert_eq!(operator.get(preflight).await, 403);
    realm.admin_grants_role("view-realm").await.unwrap();
    let operator = Operator::sign_in(&realm, &realm.client_secret()).await.unwrap();
    assert_eq!(operator.get(preflight).await, 200);
    for role in ["view-users", "query-users", "manage-users"] {
        realm.admin_withdraws_role(role).await.unwrap();
    }
    let operator = Operator::sign_in(&realm, &realm.client_secret()).await.unwrap();
    assert_eq!(operator.get("/users").await, 403);
}

#[tokio::test]
async fn a_rotated_secret_replaces_the_old_one() {
    let realm = realm("rotated", RealmOptions::default()).await;
    let old = realm.client_secret();
    assert!(Operator::sign_in(&realm, &old).await.is_ok());
    realm.rotate_client_secret().await.unwrap();
    assert_eq!(Operator::sign_in(&realm, &old).await.err(), Some(401));
    let new = realm.client_secret();
    assert!(Operator::sign_in(&realm, &new).await.is_ok());
}

#[tokio::test]
async fn administrators_change_everything_that_tests_need() {
    let realm = realm("administrators", RealmOptions::default().users(2)).await;
    realm.admin_creates_user("hired").await.unwrap();
    assert_eq!(realm.user_signs_in("hired").await.unwrap(), SignIn::Granted);
    realm.admin_sets_enabled("hired", false).await.unwrap();
    assert_eq!(realm.user_signs_in("hired").await.unwrap(), SignIn::Refused);
    realm.admin_deletes_user("hired").await.unwrap();
    assert!(realm.user("hired").await.is_err());

    let before = realm.password_created("user-0001").await.unwrap();
    realm.admin_marks("user-0001").await.unwrap();
    realm.admin_resets_password("user-0001").await.unwrap();
    assert!(realm.password_created("user-0001").await.unwrap() > before);
    assert_eq!(
        realm.marked_users().await.unwrap(),
        [""; 0],
        "a lasting password from an administrator takes the mark away"
    );

    realm.admin_marks("user-0001").await.unwrap();
    assert_eq!(realm.user_is_asked_for("user-0001").await.unwrap(), Asked::NewPassword);
    realm.admin_sets_update_password_action(false).await.unwrap();
    assert_eq!(
        realm.user_is_asked_for("user-0001").await.unwrap(),
        Asked::Nothing,
        "a mark has no effect while the realm's action is off"
    );
}

#[tokio::test]
async fn a_realm_of_a_thousand_users_is_made_in_one_call() {
    let realm = realm("thousand", RealmOptions::default().users(1000)).await;
    assert_eq!(realm.users().await.unwrap().len(), 1000);
}
