//! How the Looker simulator behaves, one sentence a test.

mod client;

use client::{Answer, Client, http, listed, looker, looker_login, whole};
use reqwest::Method;
use serde_json::{Value, json};
use simulators::looker::{FORCE_ALL, SEARCH_CREDENTIALS};
use simulators::{
    Class, Effect, Faults, Handle, Looker, Options, Paging, PagingHeaders, Play, Population, SECRET_CANARY, Share, User,
};

async fn patch(client: &Client, id: &str, body: Value) -> Answer {
    let request = client.request(Method::PATCH, &format!("/users/{id}/credentials_email"));
    whole(request.json(&body)).await.expect("an answer")
}

fn flag(wanted: bool) -> Value {
    json!({"forced_password_reset_at_next_login": wanted})
}

async fn credential(client: &Client, id: &str) -> Answer {
    client.get(&format!("/users/{id}/credentials_email")).await
}

async fn single(class: Class) -> (Handle, Client, User) {
    let (server, client) = looker(Options::new(Population::with(1, &[(class, Share::Count(1))]))).await;
    let user = server.user_at(0);
    (server, client, user)
}

async fn force_all(client: &Client) -> Answer {
    client.send(Method::PUT, "/password_config/force_password_reset_at_next_login_for_all_users").await
}

#[tokio::test]
async fn login_takes_a_form_and_answers_404_to_bad_credentials() {
    let server = Looker::start(Options::ordinary(1)).await.expect("started");
    let answer = looker_login(&server).await;
    assert_eq!((answer.status, &answer.json()["token_type"]), (200, &json!("Bearer")));
    assert_eq!((&answer.json()["expires_in"], &answer.json()["refresh_token"]), (&json!(3600), &Value::Null));
    let credentials = server.credentials();
    let pairs = [("client_id", credentials.client_id.as_str()), ("client_secret", "wrong")];
    let url = format!("{}/api/4.0/login", server.base_url());
    assert_eq!(whole(http().post(&url).form(&pairs)).await.expect("an answer").status, 404);
    let right = [("client_id", &credentials.client_id), ("client_secret", &credentials.client_secret)];
    let in_query = whole(http().post(&url).query(&right)).await.expect("an answer");
    assert_eq!(in_query.status, 404, "credentials in the query are not taken");
}

#[tokio::test]
async fn both_ways_to_write_the_authorization_header_are_accepted_until_logout() {
    let (server, client) = looker(Options::ordinary(1)).await;
    let token = client.credential.1.strip_prefix("token ").expect("a token").to_owned();
    let bearer =
        Client { http: http(), base: client.base.clone(), credential: ("authorization", format!("Bearer {token}")) };
    assert_eq!(client.get("/user").await.status, 200);
    assert_eq!(bearer.get("/user").await.json()["id"], json!(server.api_user_id()));
    assert_eq!(client.send(Method::DELETE, "/logout").await.status, 204);
    assert_eq!(bearer.get("/user").await.status, 401);
    assert_eq!(server.counters().tokens_issued, 1);
}

#[tokio::test]
async fn the_flag_is_set_and_taken_back_by_patch() {
    let (server, client, user) = single(Class::Ordinary).await;
    let answer = patch(&client, &user.id, flag(true)).await;
    assert_eq!((answer.status, &answer.json()["forced_password_reset_at_next_login"]), (200, &json!(true)));
    patch(&client, &user.id, flag(true)).await;
    patch(&client, &user.id, flag(false)).await;
    let effects: Vec<Effect> = server.ledger().iter().map(|record| record.effect).collect();
    assert_eq!(effects, [Effect::Marked, Effect::MarkedAgain, Effect::Unmarked]);
    assert_eq!(credential(&client, &user.id).await.json()["forced_password_reset_at_next_login"], json!(false));
}

#[tokio::test]
async fn anything_but_a_boolean_flag_is_a_validation_error() {
    let (_server, client, user) = single(Class::Ordinary).await;
    for body in [json!({"forced_password_reset_at_next_login": "yes"}), json!({"email": "x@y.example"})] {
        let answer = patch(&client, &user.id, body).await;
        assert_eq!(answer.status, 422);
        assert!(answer.json()["errors"][0]["field"].is_string());
    }
}

#[tokio::test]
async fn a_patch_may_be_accepted_and_change_nothing() {
    let (server, client, user) = single(Class::WithoutEffect).await;
    let answer = patch(&client, &user.id, flag(true)).await;
    assert_eq!((answer.status, &answer.json()["forced_password_reset_at_next_login"]), (200, &json!(false)));
    assert_eq!(server.ledger()[0].effect, Effect::WithoutEffect);
}

#[tokio::test]
async fn users_without_an_email_credential_answer_404_on_it() {
    for class in [Class::NoPassword, Class::Embed, Class::ServiceAccount] {
        let (_server, client, user) = single(class).await;
        assert_eq!(credential(&client, &user.id).await.status, 404, "{class:?}");
        assert_eq!(patch(&client, &user.id, flag(true)).await.status, 404, "{class:?}");
        let row = client.get(&format!("/users/{}", user.id)).await.json();
        assert_eq!(row["credentials_email"], Value::Null, "{class:?}");
    }
}

#[tokio::test]
async fn somebody_with_sso_may_hold_an_email_credential_beside_it() {
    let (_server, client, user) = single(Class::Federated).await;
    let row = client.get(&format!("/users/{}", user.id)).await.json();
    assert!(row["credentials_saml"].is_object() && row["credentials_email"].is_object());
    assert_eq!(patch(&client, &user.id, flag(true)).await.status, 200);
}

#[tokio::test]
async fn a_user_and_a_credential_are_disabled_separately() {
    for (class, user_disabled) in [(Class::Disabled, true), (Class::CredentialDisabled, false)] {
        let (_server, client, user) = single(class).await;
        let row = client.get(&format!("/users/{}", user.id)).await.json();
        assert_eq!(row["is_disabled"], json!(user_disabled));
        assert_eq!(row["credentials_email"]["is_disabled"], json!(!user_disabled));
    }
}

#[tokio::test]
async fn normal_reads_carry_live_secrets_unless_fields_are_named_and_each_such_body_is_counted() {
    let (server, client, user) = single(Class::Ordinary).await;
    let fields = "user_id,email,forced_password_reset_at_next_login,is_disabled,logged_in_at";
    let path = format!("/users/{}/credentials_email", user.id);
    let careful = client.get(&format!("{path}?fields={fields}")).await;
    assert_eq!(careful.json().as_object().expect("an object").len(), 5);
    client.get(&format!("/users/search?fields=id,is_disabled,credentials_email({fields})")).await;
    client.get(&format!("/credentials_email/search?fields={fields}")).await;
    assert_eq!(server.counters().secrets_shown, 0);
    assert!(client.get(&path).await.text.contains(SECRET_CANARY));
    client.get("/users/search").await;
    client.get("/credentials_email/search").await;
    patch(&client, &user.id, flag(true)).await;
    assert_eq!(server.counters().secrets_shown, 4);
}

#[tokio::test]
async fn the_last_login_is_an_empty_string_for_never_and_no_change_time_exists() {
    let (_server, client, user) = single(Class::NeverSignedIn).await;
    let body = credential(&client, &user.id).await.json();
    assert_eq!(body["logged_in_at"], json!(""));
    let (_server, client, user) = single(Class::Ordinary).await;
    let body = credential(&client, &user.id).await.json();
    let at = body["logged_in_at"].as_str().expect("text");
    assert!(at.ends_with("+00:00") && at.len() == "2021-11-09T16:11:29.000+00:00".len(), "{at}");
    assert!(
        body.as_object().expect("an object").keys().all(|key| !key.contains("changed") && !key.contains("updated"))
    );
}

#[tokio::test]
async fn a_sign_in_moves_the_last_login_and_an_admin_who_clears_does_not() {
    let (server, client, user) = single(Class::Ordinary).await;
    let before = credential(&client, &user.id).await.json()["logged_in_at"].clone();
    patch(&client, &user.id, flag(true)).await;
    server.abandons(&user.id).expect("possible");
    server.play(&user.id, Play::SignsInWithoutPassword).expect("possible");
    server.clears(&user.id).expect("possible");
    let cleared = credential(&client, &user.id).await.json();
    assert_eq!((&cleared["logged_in_at"], &cleared["forced_password_reset_at_next_login"]), (&before, &json!(false)));
    patch(&client, &user.id, flag(true)).await;
    server.complies(&user.id).expect("possible");
    assert_ne!(credential(&client, &user.id).await.json()["logged_in_at"], before);
}

#[tokio::test]
async fn one_call_marks_everybody_with_an_email_credential_and_again_those_who_complied() {
    let population = Population::with(10, &[(Class::Embed, Share::Count(2)), (Class::Federated, Share::Count(1))]);
    let (server, client) = looker(Options::new(population)).await;
    let answer = force_all(&client).await;
    assert!(answer.status == 200 && answer.json().is_string(), "a bare string: {}", answer.text);
    let marked = |server: &Handle| server.users().iter().filter(|user| user.marked).count();
    assert_eq!(marked(&server), 8);
    assert_eq!(server.play_marked(3, Play::Complies).len(), 3);
    assert_eq!(marked(&server), 5);
    force_all(&client).await;
    assert_eq!(marked(&server), 8);
    assert_eq!(server.count(FORCE_ALL), 2);
    let config = client.get("/password_config").await.text;
    assert!(!config.contains("force"), "no trace of it: {config}");
}

#[tokio::test]
async fn the_api_user_is_hit_by_the_call_for_everybody_when_it_has_an_email_credential() {
    let options = Options { api_user_has_credential: true, ..Options::ordinary(2) };
    let (server, client) = looker(options).await;
    assert!(client.get("/user").await.json()["credentials_email"].is_object());
    force_all(&client).await;
    assert!(server.user(&server.api_user_id()).expect("there").marked);
    let (_server, client) = looker(Options::ordinary(2)).await;
    assert_eq!(client.get("/user").await.json()["credentials_email"], Value::Null);
    assert_eq!(listed(&client.get("/users?sorts=id&fields=id").await).len(), 3, "it is a user like any other");
}

#[tokio::test]
async fn ids_are_strings_and_credentials_cannot_be_found_by_them() {
    let (_server, client, user) = single(Class::Ordinary).await;
    let rows = listed(&client.get("/credentials_email/search?fields=user_id").await);
    assert_eq!(rows, [json!({"user_id": user.id})]);
    let by_id = client.get(&format!("/credentials_email/search?id={}", user.id)).await;
    assert_eq!(listed(&by_id), [] as [Value; 0], "a credential has an id of its own");
    assert_eq!(listed(&client.get(&format!("/users?ids={}", user.id)).await).len(), 1);
}

#[tokio::test]
async fn an_underscore_in_an_address_finds_a_lookalike_too() {
    let population = Population::with(30, &[(Class::Lookalike, Share::Count(1))]);
    let (server, client) = looker(Options::new(population)).await;
    let users = server.users();
    let lookalike = users.iter().find(|user| user.class == Class::Lookalike).expect("one");
    let real = &users[lookalike.index as usize - 1];
    for path in ["/credentials_email/search?fields=email&email=", "/users/search?fields=email&email="] {
        let found = listed(&client.get(&format!("{path}{}", real.email.to_uppercase())).await);
        assert_eq!(found.len(), 2, "{path}");
    }
    let exact = listed(&client.get(&format!("/credentials_email/search?fields=email&email={}", lookalike.email)).await);
    assert_eq!(exact, [json!({"email": lookalike.email})]);
    let prefix = listed(&client.get("/users/search?fields=id&last_name=quokka-1%25").await);
    assert_eq!(prefix.len(), 11, "1 and 10 to 19");
    assert_eq!(listed(&client.get("/users/search?email=IS%20NULL").await).len(), 0);
}

#[tokio::test]
async fn search_filters_are_joined_by_and_or_by_or() {
    let population = Population::with(30, &[(Class::Disabled, Share::Count(3))]);
    let (server, client) = looker(Options::new(population)).await;
    let group = &server.group_ids("contractors")[0];
    let disabled = server.users().into_iter().filter(|user| user.disabled);
    let both = disabled.filter(|user| user.groups.iter().any(|name| name == "contractors")).count();
    let path = format!("/users/search?fields=id&is_disabled=true&group_id={group}");
    assert_eq!(listed(&client.get(&path).await).len(), both);
    assert_eq!(listed(&client.get(&format!("{path}&filter_or=true")).await).len(), 3 + 6 - both);
}

#[tokio::test]
async fn lists_are_bare_arrays_with_links_and_a_total_that_can_be_missing() {
    let (server, client) = looker(Options::ordinary(10)).await;
    let path = "/credentials_email/search?sorts=user_id&fields=user_id&limit=4&offset=4";
    let page = client.get(path).await;
    assert_eq!(listed(&page).len(), 4);
    assert_eq!(page.header("x-total-count"), Some("10"));
    let link = page.header("link").expect("links");
    for relation in ["first", "prev", "next", "last"] {
        assert!(link.contains(&format!("rel=\"{relation}\"")), "{link}");
    }
    let last = client.get(&path.replace("offset=4", "offset=8")).await;
    assert_eq!(listed(&last).len(), 2);
    assert!(!last.header("link").expect("links").contains("rel=\"next\""));
    for (headers, link, total) in [
        (PagingHeaders::None, false, false),
        (PagingHeaders::LinkOnly, true, false),
        (PagingHeaders::TotalOnly, false, true),
    ] {
        server.set(Faults { paging: Paging { headers, ..Paging::default() }, ..Faults::default() });
        let page = client.get(path).await;
        assert_eq!((page.header("link").is_some(), page.header("x-total-count").is_some()), (link, total));
    }
    assert_eq!(server.count(SEARCH_CREDENTIALS), 5);
    assert_eq!(client.get("/users?sorts=shoe_size").await.status, 422);
}

#[tokio::test]
async fn pages_can_be_shorter_than_asked_and_offsets_can_loop() {
    let (server, client) = looker(Options::ordinary(10)).await;
    server.set(Faults { paging: Paging { max_rows: Some(3), ..Paging::default() }, ..Faults::default() });
    let page = client.get("/users/search?sorts=id&fields=id&limit=5").await;
    assert_eq!(listed(&page).len(), 3);
    assert!(page.header("link").expect("links").contains("offset=3>; rel=\"next\""));
    server.set(Faults { paging: Paging { looping: true, ..Paging::default() }, ..Faults::default() });
    assert_eq!(listed(&client.get("/users/search?sorts=id&fields=id&limit=5&offset=500").await).len(), 5);
}

#[tokio::test]
async fn offset_paging_skips_a_row_when_an_earlier_user_is_deleted_in_between() {
    let (server, client) = looker(Options::ordinary(6)).await;
    let page = |offset: u32| format!("/credentials_email/search?sorts=user_id&fields=user_id&limit=3&offset={offset}");
    let mut seen = listed(&client.get(&page(0)).await);
    server.play(&server.user_at(0).id, Play::Deletes).expect("possible");
    seen.extend(listed(&client.get(&page(3)).await));
    let missed = json!({"user_id": server.user_at(3).id});
    assert_eq!(seen.len(), 5);
    assert!(!seen.contains(&missed), "user 3 moved to the page that was read already");
}

#[tokio::test]
async fn what_is_forbidden_is_403_or_hidden_as_404() {
    let (server, client, user) = single(Class::Forbidden).await;
    assert_eq!(patch(&client, &user.id, flag(true)).await.status, 403);
    server.set(Faults { forbidden_as_not_found: true, ..Faults::default() });
    assert_eq!(patch(&client, &user.id, flag(true)).await.status, 404);
    assert_eq!(credential(&client, &user.id).await.status, 200, "it is still there");
    server.set(Faults { forbidden_as_not_found: true, forbid_everything: true, ..Faults::default() });
    assert_eq!(client.get("/users").await.status, 404);
}

#[tokio::test]
async fn google_cloud_core_denies_every_credential_call_and_nothing_else() {
    let (server, client, user) = single(Class::Ordinary).await;
    server.set(Faults { core_denies_credentials: true, ..Faults::default() });
    assert_eq!(credential(&client, &user.id).await.status, 403);
    assert_eq!(client.get("/credentials_email/search").await.status, 403);
    assert_eq!(patch(&client, &user.id, flag(true)).await.status, 403);
    assert_eq!(force_all(&client).await.status, 403);
    assert_eq!(client.get("/users").await.status, 200);
    assert!(server.users().iter().all(|user| !user.marked));
}

#[tokio::test]
async fn administrative_calls_are_counted_and_can_run_out() {
    let (server, client) = looker(Options::ordinary(1)).await;
    server.set(Faults { administrative_allowance: Some(2), ..Faults::default() });
    assert_eq!(server.counters().administrative_calls, 0, "login is none");
    let statuses =
        [client.get("/user").await.status, client.get("/users").await.status, client.get("/users").await.status];
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn groups_are_found_with_wildcards_and_list_direct_members_only() {
    let (server, client) = looker(Options::ordinary(100)).await;
    let found = listed(&client.get("/groups/search?name=contractors_kiosk&fields=id,name").await);
    assert_eq!(found, [json!({"id": server.group_ids("contractors-kiosk")[0], "name": "contractors-kiosk"})]);
    assert_eq!(listed(&client.get("/groups/search?name=twins").await).len(), 2);
    let contractors = &server.group_ids("contractors")[0];
    let members = client.get(&format!("/groups/{contractors}/users?fields=id&sorts=id&limit=100")).await;
    assert_eq!((listed(&members).len(), members.header("x-total-count")), (20, Some("20")));
    let children = listed(&client.get(&format!("/groups/{contractors}/groups?fields=name")).await);
    assert_eq!(children, [json!({"name": "contractors-night"})]);
    assert_eq!(client.get("/groups/4711/users").await.status, 404);
}

#[tokio::test]
async fn sessions_can_be_listed_and_ended() {
    let (server, client) = looker(Options::ordinary(20)).await;
    let user = server.users().into_iter().find(|user| user.sessions == 2).expect("somebody with two sessions");
    let sessions = listed(&client.get(&format!("/users/{}/sessions?fields=id", user.id)).await);
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        let path = format!("/users/{}/sessions/{}", user.id, session["id"].as_str().expect("an id"));
        assert_eq!(client.send(Method::DELETE, &path).await.status, 204);
    }
    assert_eq!(server.user(&user.id).expect("there").sessions, 0);
}

#[tokio::test]
async fn a_credential_of_somebody_who_just_joined_is_as_new_as_that() {
    let (server, client, user) = single(Class::RecentlyChanged).await;
    let body = credential(&client, &user.id).await.json();
    let created: jiff::Timestamp = body["created_at"].as_str().expect("text").parse().expect("a time");
    assert!(server.clock().now().duration_since(created).as_secs() < 3_600);
}
