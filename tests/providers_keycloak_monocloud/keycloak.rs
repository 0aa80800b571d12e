//! Keycloak for real.

use jiff::Timestamp;
use password_reset_operator::plan::observed::{
    Account, AccountId, ChangeTime, Credential, Enforceable, Listing, Mark, SetKind, UserKey,
};
use password_reset_operator::plan::step::{Applied, Step};
use password_reset_operator::provider::keycloak::{Keycloak, KeycloakConfig};
use password_reset_operator::provider::{ErrorKind, Provider, ProviderError};
use serde_json::{Value, json};
use testbed::keycloak::realm::{Beginning, CONFIGURE_TOTP, OPERATOR_CLIENT, Realm, RealmOptions, UPDATE_PASSWORD};
use testbed::keycloak::shared;
use testbed::proxy::{Action, Answer, Call, Phase, Rule};

use crate::proxy::Proxy;
use crate::{closed, everybody, open, pages, settings, url};

struct Fixture {
    realm: Realm,
    proxy: Proxy,
    provider: Keycloak,
}

impl Fixture {
    async fn new(name: &str, page_size: u32, options: RealmOptions) -> Self {
        let server = shared().await.expect("a Keycloak");
        let realm = server.create_realm(name, options).await.expect("a realm");
        let proxy = Proxy::start(realm.server()).await;
        let provider = connect(&proxy.url, &realm, &realm.client_secret(), page_size);
        Self { realm, proxy, provider }
    }

    /// Calls the admin API with the operator's own rights, to build what the test bed has no word for.
    async fn admin(&self, method: reqwest::Method, path: &str, body: Value) -> reqwest::Response {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let secret = self.realm.client_secret();
        let form =
            [("grant_type", "client_credentials"), ("client_id", OPERATOR_CLIENT), ("client_secret", secret.as_str())];
        let token_url = format!("{}/protocol/openid-connect/token", self.realm.url());
        let token: Value =
            http.post(token_url).form(&form).send().await.expect("an answer").json().await.expect("a token");
        let address = format!("{}/admin/realms/{}{path}", self.realm.server(), self.realm.name());
        let token = token["access_token"].as_str().expect("a token").to_owned();
        let answer = http.request(method, address).bearer_auth(token).json(&body).send().await.expect("an answer");
        answer.error_for_status().expect("a success")
    }

    async fn id(&self, username: &str) -> AccountId {
        AccountId(self.realm.user(username).await.expect("a user").id)
    }

    async fn row(&self, username: &str) -> Account {
        let key = UserKey::Username(username.to_owned());
        self.provider.find(&key).await.expect("a search").pop().expect("a user")
    }

    async fn require(&self, username: &str) -> Result<Applied, ProviderError> {
        let step = Step::RequireChange(self.id(username).await);
        self.provider.apply(&step, &open()).await
    }
}

fn connect(address: &str, realm: &Realm, secret: &str, page_size: u32) -> Keycloak {
    let base_url = url(address);
    let settings = settings(&base_url);
    let config = KeycloakConfig {
        base_url,
        realm: realm.name().to_owned(),
        auth_realm: None,
        client_id: OPERATOR_CLIENT.to_owned(),
        client_secret: secret.into(),
        page_size,
    };
    Keycloak::connect(config, settings).expect("a client")
}

#[tokio::test]
async fn a_listing_shows_everybody_once_and_ends_at_an_empty_page() {
    let fixture = Fixture::new("listing", 10, RealmOptions::default().users(25)).await;
    let pages = pages(&fixture.provider, &Listing::Tenant).await.expect("a listing");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5, 0]);
    let names: Vec<_> = pages.concat().into_iter().map(|a| a.username.expect("a name")).collect();
    let expected: Vec<_> = (1..=25).map(|n| format!("user-{n:04}")).collect();
    assert_eq!(names, expected, "sorted by user name, without service accounts");
    assert_eq!(fixture.proxy.take_calls(), ["GET /users"; 4]);
}

#[tokio::test]
async fn a_campaign_costs_one_read_per_unmarked_row_three_calls_per_write_and_the_pages() {
    let mut options = RealmOptions::default().users(12);
    for n in 0..4 {
        options = options.user(&format!("marked-{n}"), Beginning::Marked);
    }
    let fixture = Fixture::new("campaign", 8, options).await;
    let rows = everybody(&fixture.provider).await;
    let mut written = 0;
    for row in rows {
        let row = fixture.provider.complete(row).await.expect("a row");
        if row.mark == Mark::Marked {
            continue;
        }
        assert_eq!(row.credential, Credential::Local);
        assert!(matches!(row.changed, ChangeTime::At(_)));
        let step = Step::RequireChange(row.id.clone());
        let applied = fixture.provider.apply(&step, &open()).await.expect("a write");
        assert_eq!(applied, Applied { written: true, seen: None });
        assert_eq!(fixture.provider.read_back(&row.id).await.expect("a read-back").mark, Mark::Marked);
        written += 1;
    }
    let confirmed = everybody(&fixture.provider).await;
    assert!(confirmed.iter().all(|a| a.mark == Mark::Marked));
    // r + 3w + 2P, with 16 rows on pages of 8 and the empty page that ends each listing.
    assert_eq!(written, 12);
    assert_eq!(fixture.proxy.take_calls().len(), 12 + 3 * 12 + 2 * 3);
    let updates = fixture.realm.updates_by_operator().await.expect("admin events");
    assert_eq!(updates.len(), 12);
    assert!(updates.values().all(|count| *count == 1), "{updates:?}");
}

#[tokio::test]
async fn requiring_a_change_keeps_other_required_actions_and_attributes() {
    let options = RealmOptions::default().user("totp", Beginning::MustConfigureTotp);
    let fixture = Fixture::new("merge", 10, options).await;
    let id = fixture.id("totp").await;
    let path = format!("/users/{}", id.0);
    // Attributes that the profile does not declare are the ones most easily lost.
    fixture.realm.admin_grants_role("manage-realm").await.expect("a role");
    let profile = "/users/profile";
    let mut rules: Value =
        fixture.admin(reqwest::Method::GET, profile, json!(null)).await.json().await.expect("a profile");
    rules["unmanagedAttributePolicy"] = json!("ENABLED");
    fixture.admin(reqwest::Method::PUT, profile, rules).await;
    let mut user: Value = fixture.admin(reqwest::Method::GET, &path, json!(null)).await.json().await.expect("a user");
    user["attributes"] = json!({"costCentre": ["4711"]});
    fixture.admin(reqwest::Method::PUT, &path, user).await;
    let read = async || -> Value {
        fixture.admin(reqwest::Method::GET, &path, json!(null)).await.json().await.expect("a user")
    };
    let mut before = read().await;
    assert_eq!(before["attributes"]["costCentre"], json!(["4711"]));
    fixture.require("totp").await.expect("a write");
    assert_eq!(fixture.proxy.take_calls(), ["GET /users/{id}", "PUT /users/{id}"]);
    let after = read().await;
    assert_eq!(after["requiredActions"], json!([CONFIGURE_TOTP, UPDATE_PASSWORD]));
    before["requiredActions"] = after["requiredActions"].clone();
    assert_eq!(before, after, "nothing else of the user changed");
}

#[tokio::test]
async fn a_marked_account_is_never_written_again() {
    let fixture = Fixture::new("marked", 10, RealmOptions::default().users(1)).await;
    assert!(fixture.require("user-0001").await.expect("a write").written);
    fixture.proxy.take();
    let again = fixture.require("user-0001").await.expect("a read");
    assert!(!again.written);
    assert_eq!(again.seen.expect("the account").mark, Mark::Marked);
    assert_eq!(fixture.proxy.take_calls(), ["GET /users/{id}"]);
    assert_eq!(fixture.realm.updates_by_operator().await.expect("admin events")["user-0001"], 1);
}

#[tokio::test]
async fn a_closed_gate_stops_the_write_and_not_the_read() {
    let fixture = Fixture::new("gate", 10, RealmOptions::default().users(1)).await;
    let id = fixture.id("user-0001").await;
    for step in [Step::RequireChange(id.clone()), Step::RevokeSessions(id)] {
        let error = fixture.provider.apply(&step, &closed()).await.expect_err("a closed gate");
        assert_eq!(error.kind, ErrorKind::Stopped);
    }
    assert!(fixture.realm.marked_users().await.expect("users").is_empty());
    assert_eq!(fixture.proxy.take_calls(), ["GET /users/{id}"]);
}

#[tokio::test]
async fn a_profile_that_does_not_validate_is_rejected_and_says_why() {
    let options = RealmOptions::default().users(1).user("incomplete", Beginning::ProfileInvalid);
    let fixture = Fixture::new("profile", 10, options).await;
    let error = fixture.require("incomplete").await.expect_err("a refusal");
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Rejected, false));
    assert!(error.message.contains("user profile (error-user-attribute-required)"), "{error}");
    fixture.require("user-0001").await.expect("others go on");
    assert_eq!(fixture.realm.marked_users().await.expect("users"), ["user-0001"]);
}

#[tokio::test]
async fn verify_names_the_tenant_and_the_own_account_in_five_calls() {
    let fixture = Fixture::new("verify", 10, RealmOptions::default().users(3)).await;
    let tenant = fixture.provider.verify(true).await.expect("a tenant");
    assert_eq!(tenant.id, format!("{}/realms/verify", fixture.proxy.url));
    assert_eq!(tenant.name.as_deref(), Some("verify"));
    assert_eq!(tenant.users, Some(3));
    assert_eq!(tenant.enforceable, Enforceable::Yes);
    assert_eq!(tenant.own_account_has_password, Some(false));
    let own = tenant.own_account.expect("the service account");
    let own = fixture.provider.read(&own).await.expect("the service account");
    assert_eq!(own.credential, Credential::Service);
    let calls = fixture.proxy.take();
    assert_eq!(calls.len(), 5 + 2, "{calls:?}");
    fixture.provider.verify(false).await.expect("a tenant");
    assert_eq!(fixture.proxy.take().len(), 4, "the token is used again");
}

#[tokio::test]
async fn a_required_action_that_is_switched_off_is_not_enforceable() {
    let fixture = Fixture::new("switched-off", 10, RealmOptions::default().users(1)).await;
    fixture.realm.admin_sets_update_password_action(false).await.expect("a switch");
    let tenant = fixture.provider.verify(true).await.expect("a tenant");
    let Enforceable::No(what) = tenant.enforceable else { panic!("{:?}", tenant.enforceable) };
    assert!(what.contains("switch on"), "{what}");
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let fixture = Fixture::new("rights", 10, RealmOptions::default().users(1)).await;
    let (realm, provider) = (&fixture.realm, &fixture.provider);

    realm.admin_withdraws_role("view-realm").await.expect("a role");
    let tenant = provider.verify(true).await.expect("a tenant");
    let Enforceable::Unknown(why) = tenant.enforceable else { panic!("{:?}", tenant.enforceable) };
    assert!(why.contains("view-realm"), "{why}");

    realm.admin_grants_role("view-realm").await.expect("a role");
    realm.admin_withdraws_role("manage-users").await.expect("a role");
    let tenant = provider.verify(true).await.expect("reading is enough to observe");
    let Enforceable::Unknown(why) = tenant.enforceable else { panic!("{:?}", tenant.enforceable) };
    assert!(why.contains("manage-users"), "{why}");
    let error = fixture.require("user-0001").await.expect_err("a refusal");
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(error.message.contains("manage-users"), "{error}");

    // Keycloak now answers lists with nothing in them, and no refusal.
    realm.admin_withdraws_role("view-users").await.expect("a role");
    assert!(everybody(provider).await.is_empty());
    let error = provider.verify(true).await.expect_err("a missing right");
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("view-users"), "{error}");

    for role in ["query-users", "query-groups", "view-realm"] {
        realm.admin_withdraws_role(role).await.expect("a role");
    }
    let error = provider.verify(true).await.expect_err("no right at all");
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("realm-management"), "{error}");
    let error = provider.list(&Listing::Tenant, None).await.expect_err("no right at all");
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_realm_whose_searches_show_no_service_account_is_used_all_the_same() {
    let fixture = Fixture::new("hidden", 10, RealmOptions::default().users(1)).await;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let nobody = Answer { status: 200, headers, body: "[]".into() };
    let search = |call: &Call| call.target.contains("username=service-account-");
    fixture.proxy.rule(Rule::new(Phase::Before, Action::Answer(nobody)).matching(search));
    let tenant = fixture.provider.verify(true).await.expect("a tenant");
    assert_eq!((tenant.own_account, tenant.users), (None, Some(1)));
}

#[tokio::test]
async fn a_wrong_secret_is_tried_once_until_a_fresh_token_is_asked_for() {
    let fixture = Fixture::new("secret", 10, RealmOptions::default().users(1)).await;
    let provider = connect(&fixture.proxy.url, &fixture.realm, "wrong", 10);
    for _ in 0..3 {
        let error = provider.list(&Listing::Tenant, None).await.expect_err("a wrong secret");
        assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
        assert!(error.message.contains("clientSecret"), "{error}");
    }
    assert_eq!(fixture.proxy.take().len(), 1);
    assert_eq!(provider.verify(true).await.expect_err("a wrong secret").kind, ErrorKind::AuthenticationFailed);
    assert_eq!(fixture.proxy.take().len(), 1);
}

#[tokio::test]
async fn a_realm_that_does_not_exist_is_told_from_a_user_that_does_not_exist() {
    let fixture = Fixture::new("exists", 10, RealmOptions::default().users(1)).await;
    let nobody = AccountId("00000000-0000-4000-8000-000000000000".to_owned());
    assert_eq!(fixture.provider.read(&nobody).await.expect_err("nobody").kind, ErrorKind::NotFound);
    for step in [Step::RequireChange(nobody.clone()), Step::RevokeSessions(nobody)] {
        assert_eq!(fixture.provider.apply(&step, &open()).await.expect_err("nobody").kind, ErrorKind::NotFound);
    }
    for (realm, auth_realm, kind) in [
        ("no-such-realm", "exists", ErrorKind::PermissionDenied),
        ("master", "exists", ErrorKind::PermissionDenied),
        ("exists", "no-such-realm", ErrorKind::AuthenticationFailed),
    ] {
        let base_url = url(&fixture.proxy.url);
        let settings = settings(&base_url);
        let config = KeycloakConfig {
            base_url,
            realm: realm.to_owned(),
            auth_realm: Some(auth_realm.to_owned()),
            client_id: OPERATOR_CLIENT.to_owned(),
            client_secret: fixture.realm.client_secret().into(),
            page_size: 10,
        };
        let elsewhere = Keycloak::connect(config, settings).expect("a client");
        let error = elsewhere.verify(true).await.expect_err("no such realm, or none of ours");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(realm) || error.message.contains("authRealm"), "{error}");
    }
}

#[tokio::test]
async fn users_are_found_by_id_name_and_address_and_nobody_else_is() {
    let fixture = Fixture::new("find", 10, RealmOptions::default().users(3)).await;
    let id = fixture.id("user-0002").await;
    fixture.proxy.take();
    let hits = [
        UserKey::Id(id.0.clone()),
        UserKey::Username("User-0002".to_owned()),
        UserKey::Email("USER-0002@example.org".to_owned()),
    ];
    for key in hits {
        let found = fixture.provider.find(&key).await.expect("a search");
        assert_eq!(found.iter().map(|a| &a.id).collect::<Vec<_>>(), [&id], "{key:?}");
        assert_eq!(fixture.proxy.take_calls().len(), 1, "one call per key");
    }
    let misses = [
        UserKey::Id("a/../b".to_owned()),
        UserKey::Id("..".to_owned()),
        UserKey::Id("user-0002".to_owned()),
        UserKey::Username("user-000".to_owned()),
        UserKey::Username("user-*".to_owned()),
        UserKey::Username(String::new()),
        UserKey::Email("user-0002".to_owned()),
        UserKey::Email(" ".to_owned()),
    ];
    for key in misses {
        assert_eq!(fixture.provider.find(&key).await.expect("a search"), [], "{key:?}");
    }
}

#[tokio::test]
async fn what_a_row_lacks_costs_one_call_and_marked_rows_cost_none() {
    let options = RealmOptions::default()
        .users(1)
        .user("marked", Beginning::Marked)
        .user("disabled", Beginning::Disabled)
        .user("passkey", Beginning::WithoutPassword);
    let fixture = Fixture::new("complete", 10, options).await;
    let mut complete = Vec::new();
    for name in ["user-0001", "marked", "disabled", "passkey"] {
        let row = fixture.row(name).await;
        fixture.proxy.take();
        complete.push(fixture.provider.complete(row).await.expect("a row"));
        let expected = if name == "marked" { &[][..] } else { &["GET /users/{id}/credentials"] };
        assert_eq!(fixture.proxy.take_calls(), expected, "{name}");
    }
    let [ordinary, marked, disabled, passkey] = &complete[..] else { unreachable!() };
    assert_eq!((ordinary.credential, ordinary.disabled), (Credential::Local, Some(false)));
    assert_eq!(marked.mark, Mark::Marked);
    assert_eq!((disabled.credential, disabled.disabled), (Credential::Local, Some(true)));
    assert_eq!((passkey.credential, passkey.changed), (Credential::NoPassword, ChangeTime::Absent));
    let again = fixture.provider.complete(ordinary.clone()).await.expect("a row");
    assert_eq!(&again, ordinary);
    assert!(fixture.proxy.take().is_empty(), "a complete row lacks nothing");
}

#[tokio::test]
async fn a_change_by_the_user_takes_the_mark_away_and_moves_the_change_time() {
    let fixture = Fixture::new("complies", 10, RealmOptions::default().users(1)).await;
    let id = fixture.id("user-0001").await;
    let at = |account: &Account| -> Timestamp {
        let ChangeTime::At(at) = account.changed else { panic!("{:?}", account.changed) };
        at
    };
    let before = fixture.provider.read(&id).await.expect("a read");
    assert_eq!(Some(at(&before)), fixture.realm.password_created("user-0001").await.expect("a time"));
    fixture.require("user-0001").await.expect("a write");
    fixture.realm.user_changes_password("user-0001").await.expect("a change");
    let after = fixture.provider.read(&id).await.expect("a read");
    assert_eq!(after.mark, Mark::Unmarked);
    assert!(at(&after) > at(&before));
}

#[tokio::test]
async fn of_somebody_who_is_marked_no_age_is_read_that_a_change_in_between_would_make_younger_than_the_mark() {
    let fixture = Fixture::new("age", 10, RealmOptions::default().users(1)).await;
    let id = fixture.id("user-0001").await;
    fixture.require("user-0001").await.expect("a write");
    fixture.proxy.take();
    let account = fixture.provider.read(&id).await.expect("a read");
    assert_eq!((account.mark, account.changed), (Mark::Marked, ChangeTime::NotGiven));
    assert_eq!(fixture.proxy.take_calls(), ["GET /users/{id}"]);
}

#[tokio::test]
async fn keycloak_sends_no_date_so_there_is_no_clock_to_read() {
    let fixture = Fixture::new("clock", 10, RealmOptions::default().users(1)).await;
    let direct = connect(fixture.realm.server(), &fixture.realm, &fixture.realm.client_secret(), 10);
    let before = Timestamp::now();
    let row = everybody(&direct).await.remove(0);
    assert_eq!(direct.clock(), None);
    assert!((before..=Timestamp::now()).contains(&row.answered_at), "our own clock stands in");
}

#[tokio::test]
async fn groups_are_resolved_at_any_depth_and_list_their_direct_members() {
    let options = RealmOptions::default()
        .users(3)
        .group("staff", &["user-0001", "user-0002"])
        .group("staff-2", &["user-0003"])
        .group("empty", &[]);
    let fixture = Fixture::new("groups", 1, options).await;
    let provider = &fixture.provider;
    let sets = async |name: &str| provider.sets(SetKind::Group, name).await.expect("groups");
    let staff = sets("staff").await;
    assert_eq!(staff.len(), 1);
    assert_eq!(sets(&staff[0]).await, staff, "by id");
    assert_eq!(sets("/staff").await, staff, "by path");
    fixture.proxy.take();
    assert_eq!(sets("staff-2").await.len(), 1);
    assert_eq!(fixture.proxy.take_calls(), ["GET /groups"], "one call");
    for nobody in ["Staff", "staf", "", "/", "/staff/", "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(sets(nobody).await, [""; 0], "{nobody:?}");
    }
    let members = pages(provider, &Listing::Group(staff[0].clone())).await.expect("members");
    assert_eq!(members.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
    assert!(members.concat().iter().all(|a| a.mark == Mark::Unmarked), "rows of members show the mark");

    // A second group of the same name further down.
    let empty = sets("empty").await;
    let children = format!("/groups/{}/children", empty[0]);
    fixture.admin(reqwest::Method::POST, &children, json!({"name": "staff"})).await;
    assert_eq!(sets("staff").await.len(), 2, "two are two");
    assert_eq!(sets("/staff").await, staff);
    let nested = sets("/empty/staff").await;
    assert_eq!(nested.len(), 1);
    assert!(pages(provider, &Listing::Group(nested[0].clone())).await.expect("members").concat().is_empty());

    let gone = Listing::Group("00000000-0000-4000-8000-000000000000".to_owned());
    assert_eq!(provider.list(&gone, None).await.expect_err("no group").kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn service_accounts_are_told_from_people_who_call_themselves_so() {
    let options = RealmOptions::default().user("service-account-me", Beginning::Enabled).group("all", &[]);
    let fixture = Fixture::new("service", 10, options).await;
    let group = fixture.provider.sets(SetKind::Group, "all").await.expect("groups").remove(0);
    let own = format!("service-account-{OPERATOR_CLIENT}");
    for name in [own.as_str(), "service-account-me"] {
        let membership = format!("/users/{}/groups/{group}", fixture.id(name).await.0);
        fixture.admin(reqwest::Method::PUT, &membership, json!({})).await;
    }
    let members = pages(&fixture.provider, &Listing::Group(group)).await.expect("members").concat();
    assert_eq!(members.len(), 2);
    for row in members {
        let expected = if row.username.as_deref() == Some(&own) { Credential::Service } else { Credential::Local };
        assert_eq!(fixture.provider.complete(row).await.expect("a row").credential, expected);
    }
}

#[tokio::test]
async fn ending_sessions_ends_them_in_one_call() {
    let fixture = Fixture::new("sessions", 10, RealmOptions::default().users(1)).await;
    let id = fixture.id("user-0001").await;
    fixture.realm.user_signs_in("user-0001").await.expect("a sign-in");
    let sessions = async || -> Vec<Value> {
        let path = format!("/users/{}/sessions", id.0);
        fixture.admin(reqwest::Method::GET, &path, json!(null)).await.json().await.expect("sessions")
    };
    assert_eq!(sessions().await.len(), 1);
    let applied = fixture.provider.apply(&Step::RevokeSessions(id.clone()), &open()).await.expect("a logout");
    assert_eq!(applied, Applied { written: true, seen: None });
    assert_eq!(sessions().await.len(), 0);
    assert_eq!(fixture.proxy.take_calls(), ["POST /users/{id}/logout"]);
}

#[tokio::test]
async fn what_keycloak_does_not_have_is_unsupported() {
    let fixture = Fixture::new("unsupported", 10, RealmOptions::default()).await;
    let provider = &fixture.provider;
    let errors = [
        provider.apply(&Step::RequireEverybody, &open()).await.expect_err("no such call"),
        provider.sets(SetKind::Population, "p").await.expect_err("no such sets"),
        provider.list(&Listing::Population("p".to_owned()), None).await.expect_err("no such sets"),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }
    assert!(fixture.proxy.take().is_empty());
}
