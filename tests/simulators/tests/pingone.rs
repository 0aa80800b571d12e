//! How the PingOne simulator behaves, one sentence a test.

mod client;

use client::{Answer, Client, http, pingone, pingone_token, whole};
use reqwest::Method;
use serde_json::{Value, json};
use simulators::pingone::{FORCE_CHANGE, LIST_USERS, READ_PASSWORD};
use simulators::{Class, Effect, Faults, Handle, Lag, Options, Paging, PingOne, Play, Population, Share, User};

const FORCE_CHANGE_TYPE: &str = "application/vnd.pingidentity.password.forceChange";

async fn force(client: &Client, id: &str) -> Answer {
    let request = client.request(Method::POST, &format!("/users/{id}/password"));
    whole(request.header("content-type", FORCE_CHANGE_TYPE)).await.expect("an answer")
}

async fn state(client: &Client, id: &str) -> Value {
    client.get(&format!("/users/{id}/password")).await.json()
}

fn only(class: Class) -> Options {
    Options::new(Population::with(1, &[(class, Share::Count(1))]))
}

async fn single(class: Class) -> (Handle, Client, User) {
    let (server, client) = pingone(only(class)).await;
    let user = server.user_at(0);
    (server, client, user)
}

/// The users of all pages, and how many pages there were.
async fn walk(client: &Client, first: &str) -> (Vec<Value>, usize) {
    let (mut users, mut pages, mut next) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).await.json();
        users.extend(page["_embedded"]["users"].as_array().expect("users").iter().cloned());
        next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        pages += 1;
    }
    (users, pages)
}

fn code(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (answer.status, text(&body["code"]), text(&body["details"][0]["code"]))
}

fn coded(status: u16, code: &str, detail: &str) -> (u16, String, String) {
    (status, code.to_owned(), detail.to_owned())
}

#[tokio::test]
async fn the_token_endpoint_is_another_origin_and_takes_basic_and_posted_credentials() {
    let server = PingOne::start(Options::ordinary(1)).await.expect("started");
    assert_ne!(server.auth_url(), server.base_url());
    let answer = pingone_token(&server).await;
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(3600)));
    let credentials = server.credentials();
    let posted = [
        ("grant_type", "client_credentials"),
        ("client_id", &credentials.client_id),
        ("client_secret", &credentials.client_secret),
    ];
    let path = format!("/{}/as/token", server.worker_environment_id());
    let answer = whole(http().post(format!("{}{path}", server.auth_url())).form(&posted)).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let misdirected =
        whole(http().post(format!("{}{path}", server.base_url())).form(&posted)).await.expect("an answer");
    assert_eq!(misdirected.status, 404, "the API host issues no tokens");
}

#[tokio::test]
async fn a_wrong_secret_is_an_oauth_error() {
    let server = PingOne::start(Options::ordinary(1)).await.expect("started");
    let url = format!("{}/{}/as/token", server.auth_url(), server.worker_environment_id());
    let request = http().post(&url).basic_auth("client", Some("wrong")).form(&[("grant_type", "client_credentials")]);
    let answer = whole(request).await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    let answer = whole(http().post(&url).form(&[("grant_type", "password")])).await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("unsupported_grant_type")));
}

#[tokio::test]
async fn the_worker_may_live_in_an_environment_of_its_own() {
    let options = Options { separate_worker_environment: true, ..Options::ordinary(1) };
    let (server, client) = pingone(options).await;
    assert_ne!(server.worker_environment_id(), server.environment_id());
    assert_eq!(client.get("/users").await.status, 200);
    let url = format!("{}/{}/as/token", server.auth_url(), server.environment_id());
    let answer = whole(http().post(url).form(&[("grant_type", "client_credentials")])).await.expect("an answer");
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn only_paths_with_v1_are_served_and_another_environment_is_not_found() {
    let (server, client) = pingone(Options::ordinary(1)).await;
    assert_eq!(client.get("").await.json()["id"], json!(server.environment_id()));
    let without = format!("{}/environments/{}/users", server.base_url(), server.environment_id());
    assert_eq!(code(&client.get(&without).await), coded(404, "NOT_FOUND", ""));
    let foreign = format!("{}/v1/environments/{}/users", server.base_url(), "6cbd9261-4ec4-4912-a219-d0f00e6096e2");
    assert_eq!(client.get(&foreign).await.status, 404);
}

#[tokio::test]
async fn a_revoked_or_expired_token_is_401_invalid_token() {
    let (server, client) = pingone(Options::ordinary(1)).await;
    server.clock().set_offset_seconds(3_599);
    assert_eq!(client.get("/users").await.status, 200);
    server.clock().set_offset_seconds(3_601);
    assert_eq!(code(&client.get("/users").await), coded(401, "ACCESS_FAILED", "INVALID_TOKEN"));
    server.clock().set_offset_seconds(0);
    assert_eq!(client.get("/users").await.status, 200);
    server.revoke_tokens();
    assert_eq!(client.get("/users").await.status, 401);
}

#[tokio::test]
async fn the_forced_change_marks_an_ordinary_user_and_leaves_the_change_time_alone() {
    let (server, client, user) = single(Class::Ordinary).await;
    assert_eq!(state(&client, &user.id).await["status"], json!("OK"));
    let answer = force(&client, &user.id).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("MUST_CHANGE_PASSWORD")));
    let read = state(&client, &user.id).await;
    assert_eq!(read["status"], json!("MUST_CHANGE_PASSWORD"));
    assert_eq!(read["lastChangedAt"].as_str().map(|at| at.parse().ok()), Some(user.changed_at));
    server.complies(&user.id).expect("able to");
    assert_eq!(state(&client, &user.id).await["status"], json!("OK"));
}

#[tokio::test]
async fn each_forced_change_unlocks_resets_the_mfa_counter_and_raises_an_event_also_when_repeated() {
    let (server, client, user) = single(Class::LockedOut).await;
    assert_eq!(state(&client, &user.id).await["status"], json!("PASSWORD_LOCKED_OUT"));
    force(&client, &user.id).await;
    assert_eq!(state(&client, &user.id).await["status"], json!("MUST_CHANGE_PASSWORD"));
    server.play(&user.id, Play::LocksOut).expect("possible");
    assert_eq!(state(&client, &user.id).await["status"], json!("PASSWORD_LOCKED_OUT"), "which hides the mark");
    force(&client, &user.id).await;
    let writes: Vec<_> = server.ledger().into_iter().filter(|record| record.by_api()).collect();
    assert_eq!(writes.iter().map(|record| record.effect).collect::<Vec<_>>(), [Effect::Marked, Effect::MarkedAgain]);
    for write in writes {
        assert_eq!(write.side_effects, ["password_unlocked", "USER.UNLOCKED", "mfa_counter_reset"]);
    }
}

#[tokio::test]
async fn the_media_type_is_the_verb() {
    let (server, client, user) = single(Class::Ordinary).await;
    let path = format!("/users/{}/password", user.id);
    for (media_type, status) in [
        ("application/json", 415),
        ("application/vnd.pingidentity.password.forceChange+json", 415),
        ("application/vnd.pingidentity.password.forceChange; charset=utf-8", 415),
        ("application/vnd.pingidentity.password.unlock", 400),
    ] {
        let answer =
            whole(client.request(Method::POST, &path).header("content-type", media_type)).await.expect("an answer");
        assert_eq!(code(&answer), coded(status, "INVALID_REQUEST", ""), "{media_type}");
    }
    let with_body = client.request(Method::POST, &path).header("content-type", FORCE_CHANGE_TYPE).body("{}");
    assert_eq!(whole(with_body).await.expect("an answer").status, 400);
    assert_eq!(client.send(Method::POST, &path).await.status, 415, "no media type at all");
    assert!(!server.user(&user.id).expect("there").marked);
    assert!(server.ledger().iter().all(|record| record.effect == Effect::Nothing));
}

#[tokio::test]
async fn a_200_may_show_the_documents_sample_whether_or_not_the_user_is_marked() {
    for (class, marked) in [(Class::SampleAnswer, true), (Class::WithoutEffect, false)] {
        let (server, client, user) = single(class).await;
        let answer = force(&client, &user.id).await;
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("NO_PASSWORD")));
        assert!(answer.json()["lastChangedAt"].is_string(), "the sample shows both");
        let status = if marked { "MUST_CHANGE_PASSWORD" } else { "OK" };
        assert_eq!(state(&client, &user.id).await["status"], json!(status));
        assert_eq!(server.user(&user.id).expect("there").marked, marked);
        assert_eq!(server.requirements().len(), usize::from(marked));
    }
}

#[tokio::test]
async fn users_whose_password_is_elsewhere_or_missing_cannot_be_forced() {
    for (class, status, detail) in [
        (Class::NoPassword, "NO_PASSWORD", "NO_PASSWORD"),
        (Class::Gateway, "EXTERNAL", "ACCOUNT_NOT_USABLE"),
        (Class::Federated, "OK", "ACCOUNT_NOT_USABLE"),
    ] {
        let (server, client, user) = single(class).await;
        assert_eq!(state(&client, &user.id).await["status"], json!(status));
        assert_eq!(code(&force(&client, &user.id).await), coded(400, "REQUEST_FAILED", detail));
        assert!(!server.user(&user.id).expect("there").marked);
    }
}

#[tokio::test]
async fn a_user_without_a_password_has_no_change_time() {
    for class in [Class::NoPassword, Class::Gateway, Class::ChangeTimeUnknown] {
        let (_server, client, user) = single(class).await;
        assert_eq!(state(&client, &user.id).await.get("lastChangedAt"), None, "{class:?}");
    }
}

#[tokio::test]
async fn an_expired_password_hides_a_mark() {
    let (server, client, user) = single(Class::Expired).await;
    assert_eq!(force(&client, &user.id).await.json()["status"], json!("PASSWORD_EXPIRED"));
    assert_eq!(state(&client, &user.id).await["status"], json!("PASSWORD_EXPIRED"));
    assert!(server.user(&user.id).expect("there").marked);
}

#[tokio::test]
async fn the_user_shows_why_it_may_not_be_eligible_and_never_its_password_state() {
    let (_server, client, user) = single(Class::Federated).await;
    let federated = client.get(&format!("/users/{}", user.id)).await.json();
    assert_eq!(federated["identityProvider"]["type"], json!("SAML"));
    assert!(federated["identityProvider"]["id"].is_string());
    assert_eq!(federated.get("password"), None);
    let (server, client, user) = single(Class::AccountLocked).await;
    let body = client.get(&format!("/users/{}", user.id)).await.json();
    assert_eq!(body["account"]["status"], json!("LOCKED"));
    assert_eq!(force(&client, &user.id).await.status, 200);
    assert_eq!(client.get(&format!("/users/{}", user.id)).await.json()["account"]["status"], json!("LOCKED"));
    assert!(server.complies(&user.id).is_err(), "a locked person cannot sign in");
    let (_server, client, user) = single(Class::Disabled).await;
    assert_eq!(client.get(&format!("/users/{}", user.id)).await.json()["enabled"], json!(false));
}

#[tokio::test]
async fn missing_permission_is_403_or_by_a_switch_401_and_names_itself_in_the_details() {
    let (server, client, user) = single(Class::Ordinary).await;
    server.set(Faults { read_only: true, ..Faults::default() });
    assert_eq!(code(&force(&client, &user.id).await), coded(403, "ACCESS_FAILED", "INSUFFICIENT_PERMISSIONS"));
    assert_eq!(state(&client, &user.id).await["status"], json!("OK"));
    server.set(Faults { forbid_everything: true, permission_as_401: true, ..Faults::default() });
    let refused = client.get("/users").await;
    assert_eq!(code(&refused), coded(401, "ACCESS_FAILED", "INSUFFICIENT_PERMISSIONS"));
}

#[tokio::test]
async fn one_user_can_be_out_of_the_workers_reach() {
    let (server, client) = pingone(Options::ordinary(2)).await;
    let (first, second) = (server.user_at(0), server.user_at(1));
    server.set(Faults { forbid_users: vec![first.id.clone()], ..Faults::default() });
    assert_eq!(force(&client, &first.id).await.status, 403);
    assert_eq!(force(&client, &second.id).await.status, 200);
    let (_server, client, user) = single(Class::Forbidden).await;
    assert_eq!(force(&client, &user.id).await.status, 403);
}

#[tokio::test]
async fn pages_are_chained_by_absolute_links_with_opaque_cursors_and_hold_at_most_200() {
    let (server, client) = pingone(Options::ordinary(450)).await;
    let first = client.get("/users?limit=1000").await.json();
    assert_eq!((first["size"].as_u64(), first["count"].as_u64()), (Some(200), Some(450)));
    let next = first["_links"]["next"]["href"].as_str().expect("a next page");
    assert!(next.starts_with(&format!("{}/v1/environments/", server.base_url())), "{next}");
    let (users, pages) = walk(&client, "/users?limit=200").await;
    let mut ids: Vec<&str> = users.iter().map(|user| user["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), pages), (450, 3));
    assert_eq!(server.count(LIST_USERS), 4);
    assert_eq!(client.get("/users?limit=0").await.status, 400);
}

#[tokio::test]
async fn a_cursor_goes_on_with_the_filter_that_it_was_made_for() {
    let (server, client) = pingone(Options::ordinary(100)).await;
    let group = &server.group_ids("contractors")[0];
    let filter = format!("memberOfGroups%5Bid%20eq%20%22{group}%22%5D");
    let (users, pages) = walk(&client, &format!("/users?limit=7&filter={filter}")).await;
    let expected: Vec<User> = server.users().into_iter().filter(|user| user.index % 5 == 1).collect();
    let ids: Vec<&str> = users.iter().map(|user| user["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, expected.iter().map(|user| user.id.as_str()).collect::<Vec<_>>());
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn listings_can_be_short_empty_in_between_looping_endless_or_lead_elsewhere() {
    let (server, client) = pingone(Options::ordinary(10)).await;
    let with = |paging: Paging| server.set(Faults { paging, ..Faults::default() });
    with(Paging { max_rows: Some(3), ..Paging::default() });
    assert_eq!(walk(&client, "/users").await.1, 4);
    with(Paging { max_rows: Some(3), empty_pages: true, ..Paging::default() });
    let (users, pages) = walk(&client, "/users").await;
    assert_eq!((users.len(), pages), (10, 8), "each page comes after an empty one");
    with(Paging { looping: true, ..Paging::default() });
    let first = client.get("/users?limit=5").await.json();
    let second = client.get(first["_links"]["next"]["href"].as_str().expect("a link")).await.json();
    assert_eq!(second["_embedded"], first["_embedded"]);
    with(Paging { endless: true, ..Paging::default() });
    let mut next = client.get("/users").await.json()["_links"]["next"]["href"].as_str().expect("a link").to_owned();
    for _ in 0..5 {
        let page = client.get(&next).await.json();
        assert_eq!(page["size"], json!(0));
        let following = page["_links"]["next"]["href"].as_str().expect("a link").to_owned();
        assert_ne!(following, next, "each link is new");
        next = following;
    }
    with(Paging { next_origin: Some("http://evil.example".to_owned()), ..Paging::default() });
    let first = client.get("/users?limit=5").await.json();
    assert!(first["_links"]["next"]["href"].as_str().expect("a link").starts_with("http://evil.example/v1/"));
    with(Paging { total_off_by: 5, repeated_rows: true, ..Paging::default() });
    let (users, _) = walk(&client, "/users?limit=5").await;
    assert_eq!(users.len(), 11, "one row came twice");
    assert_eq!(client.get("/users").await.json()["count"], json!(15));
}

#[tokio::test]
async fn a_stale_cursor_is_refused() {
    let (server, client) = pingone(Options::ordinary(10)).await;
    server
        .set(Faults { paging: Paging { cursor_lifetime_seconds: Some(60), ..Paging::default() }, ..Faults::default() });
    let first = client.get("/users?limit=5").await.json();
    let next = first["_links"]["next"]["href"].as_str().expect("a link");
    assert_eq!(client.get(next).await.status, 200);
    server.clock().set_offset_seconds(61);
    assert_eq!(code(&client.get(next).await), coded(400, "INVALID_DATA", "INVALID_VALUE"));
    assert_eq!(client.get("/users?cursor=abc").await.status, 400);
}

#[tokio::test]
async fn users_are_found_by_name_ignoring_case_and_two_may_share_an_address() {
    let population = Population::with(20, &[(Class::Lookalike, Share::Count(1))]);
    let (server, client) = pingone(Options::new(population)).await;
    let users = server.users();
    let lookalike = users.iter().find(|user| user.class == Class::Lookalike).expect("one");
    let twin = &users[lookalike.index as usize - 1];
    assert_eq!(lookalike.email, twin.email);
    let found = client.get(&format!("/users?filter=email%20eq%20%22{}%22", twin.email.to_uppercase())).await.json();
    assert_eq!(found["count"], json!(2));
    let found = client.get(&format!("/users?filter=username%20eq%20%22{}%22", twin.username)).await.json();
    assert_eq!(found["_embedded"]["users"][0]["id"], json!(twin.id));
    assert_eq!(found["count"], json!(1));
}

#[tokio::test]
async fn a_filter_outside_the_documented_subset_is_refused_with_the_supported_attributes() {
    let (_server, client) = pingone(Options::ordinary(1)).await;
    for filter in ["id%20eq%20%22x%22", "Username%20eq%20%22x%22", "password.status%20eq%20%22OK%22", "username%20pr"] {
        let answer = client.get(&format!("/users?filter={filter}")).await;
        assert_eq!(code(&answer), coded(400, "INVALID_REQUEST", "INVALID_FILTER"), "{filter}");
        assert!(answer.json()["details"][0]["innerError"]["supportedAttributes"].is_array());
    }
}

#[tokio::test]
async fn groups_may_share_a_name_and_populations_are_found_by_prefix_only() {
    let (server, client) = pingone(Options::ordinary(80)).await;
    let twins = client.get("/groups?filter=name%20eq%20%22twins%22").await.json();
    assert_eq!(twins["count"], json!(2));
    assert_eq!(twins["_embedded"]["groups"][0]["id"], json!(server.group_ids("twins")[0]));
    let partners = client.get("/populations?filter=name%20sw%20%22Partners%22").await.json();
    assert_eq!(partners["count"], json!(2), "and its namesake's longer name");
    assert_eq!(client.get("/populations?filter=name%20eq%20%22Partners%22").await.status, 400);
    let id = partners["_embedded"]["populations"][0]["id"].as_str().expect("an id");
    let members = client.get(&format!("/users?filter=population.id%20eq%20%22{id}%22")).await.json();
    assert_eq!(members["count"], json!(20));
}

#[tokio::test]
async fn groups_of_a_user_are_shown_only_when_they_are_asked_for() {
    let (server, client) = pingone(Options::ordinary(30)).await;
    let user = server.user_at(21);
    let path = format!("/users/{}", user.id);
    let shown = client.get(&format!("{path}?include=memberOfGroupIDs,memberOfGroupNames")).await.json();
    assert_eq!(shown["memberOfGroupNames"], json!(user.groups));
    assert!(shown["memberOfGroupIDs"].as_array().expect("ids").contains(&json!(server.group_ids("contractors")[0])));
    assert_eq!(client.get(&path).await.json().get("memberOfGroupIDs"), None);
}

#[tokio::test]
async fn a_worker_scoped_to_a_population_does_not_see_the_others() {
    let (server, client) = pingone(Options::ordinary(40)).await;
    server.set(Faults { population_scope: Some("Partners".to_owned()), ..Faults::default() });
    assert_eq!(client.get("/users").await.json()["count"], json!(10));
    assert_eq!(force(&client, &server.user_at(0).id).await.status, 403);
    assert_eq!(force(&client, &server.user_at(2).id).await.status, 200);
}

#[tokio::test]
async fn with_a_lag_reads_go_on_showing_the_state_before_the_write() {
    let (server, client, user) = single(Class::Ordinary).await;
    server.set(Faults { lag: Some(Lag::Reads(2)), ..Faults::default() });
    assert_eq!(force(&client, &user.id).await.json()["status"], json!("MUST_CHANGE_PASSWORD"));
    assert_eq!(state(&client, &user.id).await["status"], json!("OK"));
    assert_eq!(client.get("/users").await.status, 200, "a row is a read as well");
    assert_eq!(state(&client, &user.id).await["status"], json!("MUST_CHANGE_PASSWORD"));
    assert_eq!((server.count(READ_PASSWORD), server.count(FORCE_CHANGE)), (2, 1));
}

#[tokio::test]
async fn sessions_can_be_listed_and_ended_one_by_one() {
    let (server, client) = pingone(Options::ordinary(20)).await;
    let user = server.users().into_iter().find(|user| user.sessions == 2).expect("somebody with two sessions");
    let listed = client.get(&format!("/users/{}/sessions", user.id)).await.json();
    let sessions = listed["_embedded"]["sessions"].as_array().expect("sessions").clone();
    assert_eq!(sessions.len(), 2);
    let path = format!("/users/{}/sessions/{}", user.id, sessions[0]["id"].as_str().expect("an id"));
    assert_eq!(client.send(Method::DELETE, &path).await.status, 204);
    assert_eq!(client.send(Method::DELETE, &path).await.status, 404);
    assert_eq!(server.user(&user.id).expect("there").sessions, 1);
}

#[tokio::test]
async fn a_deleted_user_is_not_found_and_a_new_one_is_listed() {
    let (server, client) = pingone(Options::ordinary(3)).await;
    let gone = server.user_at(1);
    server.play(&gone.id, Play::Deletes).expect("possible");
    assert_eq!(code(&force(&client, &gone.id).await), coded(404, "NOT_FOUND", ""));
    let hired = server.hire();
    let listed = client.get("/users").await.json();
    let ids: Vec<&str> =
        listed["_embedded"]["users"].as_array().expect("users").iter().filter_map(|user| user["id"].as_str()).collect();
    assert!(ids.contains(&hired.as_str()) && !ids.contains(&gone.id.as_str()) && ids.len() == 3);
}
