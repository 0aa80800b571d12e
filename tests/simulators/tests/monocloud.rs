//! How the MonoCloud simulator behaves, one sentence a test.

mod client;

use client::{Answer, Client, http, listed, monocloud};
use reqwest::Method;
use serde_json::{Value, json};
use simulators::monocloud::FORCE_RESET;
use simulators::{Class, Effect, Faults, Handle, Options, Paging, PagingHeaders, Play, Population, Share, User};

#[tokio::test]
async fn a_required_change_shows_in_the_answer_in_reads_in_lists_and_in_the_ledger() {
    let (server, client) = monocloud(Options::ordinary(3)).await;
    let user = server.user_at(1);
    let answer = client.send(Method::POST, &format!("/api/users/{}/password/force_reset", user.id)).await;
    assert_eq!((answer.status, &answer.json()["force_password_reset"]), (200, &json!(true)));
    assert_eq!(client.get(&format!("/api/users/{}", user.id)).await.json()["force_password_reset"], json!(true));
    let rows = listed(&client.get("/api/users?size=10&sort=creation_time:1").await);
    let marked: Vec<bool> = rows.iter().map(|row| row["force_password_reset"] == json!(true)).collect();
    assert_eq!(marked, [false, true, false]);
    let ledger = server.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!((ledger[0].effect, ledger[0].user.as_ref(), ledger[0].status), (Effect::Marked, Some(&user.id), 200));
    assert_eq!(server.count(FORCE_RESET), 1);
    assert_eq!(server.requirements().into_iter().collect::<Vec<_>>(), [(user.id, 1)]);
}

#[tokio::test]
async fn a_person_who_complies_loses_the_mark_and_moves_change_time_and_last_sign_in() {
    let (server, client) = monocloud(Options::ordinary(3)).await;
    let user = server.user_at(1);
    client.send(Method::POST, &format!("/api/users/{}/password/force_reset", user.id)).await;
    assert!(server.signs_in(&user.id).is_err(), "a marked person cannot sign in without changing the password");
    server.complies(&user.id).expect("able to");
    let row = client.get(&format!("/api/users/{}", user.id)).await.json();
    assert_eq!(row["force_password_reset"], json!(false));
    let after = server.user(&user.id).expect("still there");
    assert!(after.changed_at > user.changed_at && after.signed_in_at > user.signed_in_at);
    assert_eq!(row["password_updated_at"], json!(after.changed_at.expect("known").as_second()));
    server.play(&user.id, Play::SignsIn).expect("no longer marked");
}

async fn force(client: &Client, id: &str) -> Answer {
    client.send(Method::POST, &format!("/api/users/{id}/password/force_reset")).await
}

async fn single(class: Class) -> (Handle, Client, User) {
    let (server, client) = monocloud(Options::new(Population::with(1, &[(class, Share::Count(1))]))).await;
    let user = server.user_at(0);
    (server, client, user)
}

fn pagination(answer: &Answer) -> Value {
    serde_json::from_str(answer.header("x-pagination").expect("the header")).expect("JSON")
}

#[tokio::test]
async fn a_bad_key_is_401_and_a_rotated_key_takes_the_place_of_the_old_one() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    assert_eq!(client.get("/api/users").await.status, 200);
    let credential = ("x-api-key", server.rotate_credentials().api_key);
    let refused = client.get("/api/users").await;
    assert_eq!((refused.status, refused.header("content-type")), (401, Some("application/problem+json")));
    assert_eq!(refused.json()["type"], json!("https://httpstatuses.io/401"));
    let renewed = Client { http: http(), base: client.base.clone(), credential };
    assert_eq!(renewed.get("/api/users").await.status, 200);
}

#[tokio::test]
async fn the_requirement_can_be_taken_back() {
    let (server, client, user) = single(Class::Ordinary).await;
    force(&client, &user.id).await;
    let answer = client.send(Method::DELETE, &format!("/api/users/{}/password/force_reset", user.id)).await;
    assert_eq!((answer.status, &answer.json()["force_password_reset"]), (200, &json!(false)));
    let effects: Vec<Effect> = server.ledger().iter().map(|record| record.effect).collect();
    assert_eq!(effects, [Effect::Marked, Effect::Unmarked]);
    assert_eq!(server.user(&user.id).expect("there").changed_at, user.changed_at);
}

#[tokio::test]
async fn a_200_may_say_false_whether_or_not_the_user_is_marked() {
    for (class, marked) in [(Class::SampleAnswer, true), (Class::WithoutEffect, false)] {
        let (server, client, user) = single(class).await;
        let answer = force(&client, &user.id).await;
        assert_eq!((answer.status, &answer.json()["force_password_reset"]), (200, &json!(false)));
        let read = client.get(&format!("/api/users/{}", user.id)).await.json();
        assert_eq!(read["force_password_reset"], json!(marked));
        assert_eq!(server.user(&user.id).expect("there").marked, marked);
    }
}

#[tokio::test]
async fn a_422_has_three_shapes() {
    let (server, client) = monocloud(Options::new(Population::with(3, &[(Class::Refused, Share::Count(3))]))).await;
    let mut answers = Vec::new();
    for user in server.users() {
        let answer = force(&client, &user.id).await;
        assert_eq!((answer.status, answer.header("content-type")), (422, Some("application/problem+json")));
        answers.push(answer.json());
    }
    assert_eq!(answers[0]["type"], json!("https://httpstatuses.io/422#identity-validation-error"));
    assert!(answers[0]["errors"][0]["code"].is_string());
    assert_eq!(answers[1]["type"], json!("https://httpstatuses.io/422#validation-error"));
    assert!(answers[1]["errors"].is_object());
    assert_eq!(answers[2].get("errors"), None);
}

#[tokio::test]
async fn users_without_a_password_of_their_own_are_refused() {
    for class in [Class::NoPassword, Class::Federated] {
        let (_server, client, user) = single(class).await;
        let read = client.get(&format!("/api/users/{}", user.id)).await.json();
        assert_eq!((&read["has_password"], &read["password_updated_at"]), (&json!(false), &Value::Null), "{class:?}");
        assert_eq!(force(&client, &user.id).await.status, 422, "{class:?}");
    }
    let (_server, client, user) = single(Class::Federated).await;
    let read = client.get(&format!("/api/users/{}", user.id)).await.json();
    assert_eq!(read["external_providers"][0]["authenticator"], json!("google"));
}

#[tokio::test]
async fn disabled_blocked_and_formerly_blocked_users_can_be_told_apart() {
    let (_server, client, user) = single(Class::Disabled).await;
    assert_eq!(client.get(&format!("/api/users/{}", user.id)).await.json()["disabled"], json!(true));
    for (class, ahead) in [(Class::Blocked, true), (Class::BlockEnded, false)] {
        let (server, client, user) = single(class).await;
        let until =
            client.get(&format!("/api/users/{}", user.id)).await.json()["block_until"].as_i64().expect("a time");
        assert_eq!(until > server.clock().now().as_second(), ahead, "{class:?}");
        assert_eq!(server.complies(&user.id).is_err(), ahead, "{class:?}");
    }
}

#[tokio::test]
async fn a_password_may_have_no_known_change_time() {
    let (_server, client, user) = single(Class::ChangeTimeUnknown).await;
    let read = client.get(&format!("/api/users/{}", user.id)).await.json();
    assert_eq!((&read["has_password"], &read["password_updated_at"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_passkey_sign_in_is_not_gated_by_the_mark() {
    let (server, client, user) = single(Class::Ordinary).await;
    force(&client, &user.id).await;
    server.play(&user.id, Play::SignsInWithoutPassword).expect("possible");
    let read = client.get(&format!("/api/users/{}", user.id)).await.json();
    assert_eq!(read["force_password_reset"], json!(true));
    assert!(server.user(&user.id).expect("there").signed_in_at > user.signed_in_at);
}

#[tokio::test]
async fn pages_count_from_one_default_to_ten_and_are_cut_to_a_hundred_with_a_word_in_the_header() {
    let (_server, client) = monocloud(Options::ordinary(250)).await;
    let usual = client.get("/api/users").await;
    assert_eq!(listed(&usual).len(), 10);
    let cut = client.get("/api/users?page=3&size=500&sort=creation_time:1").await;
    assert_eq!(listed(&cut).len(), 50);
    let expected =
        json!({"page_size": 100, "current_page": 3, "total_count": 250, "has_previous": true, "has_next": false});
    assert_eq!(pagination(&cut), expected);
    assert_eq!(client.get("/api/users?page=0").await.status, 422);
    assert_eq!(listed(&client.get("/api/users?page=99&size=100").await).len(), 0);
}

#[tokio::test]
async fn creation_times_are_whole_seconds_with_ties_whose_order_can_change_from_call_to_call() {
    let (server, client) = monocloud(Options::ordinary(9)).await;
    let path = "/api/users?size=9&sort=creation_time:1";
    let ids = |answer: &Answer| listed(answer).iter().map(|row| row["user_id"].to_string()).collect::<Vec<_>>();
    let times: Vec<i64> =
        listed(&client.get(path).await).iter().map(|row| row["creation_time"].as_i64().expect("seconds")).collect();
    assert!(times.is_sorted() && times[0] == times[2] && times[2] < times[3]);
    assert_eq!(ids(&client.get(path).await), ids(&client.get(path).await));
    server.set(Faults { paging: Paging { unstable_ties: true, ..Paging::default() }, ..Faults::default() });
    let (mut one, mut other) = (ids(&client.get(path).await), ids(&client.get(path).await));
    assert_ne!(one, other);
    one.sort();
    other.sort();
    assert_eq!(one, other);
}

#[tokio::test]
async fn rows_show_the_state_and_leave_private_data_to_single_reads() {
    let (_server, client, user) = single(Class::Ordinary).await;
    let row = listed(&client.get("/api/users").await)[0].clone();
    for field in ["force_password_reset", "has_password", "password_updated_at", "disabled", "block_until"] {
        assert!(row.get(field).is_some(), "{field}");
    }
    assert_eq!(row.get("private_data"), None);
    assert!(client.get(&format!("/api/users/{}", user.id)).await.json()["private_data"].is_object());
}

#[tokio::test]
async fn a_filter_is_a_text_that_may_bring_more_than_the_one_who_was_meant() {
    let (server, client) = monocloud(Options::ordinary(30)).await;
    let rows = listed(&client.get("/api/users?size=100&filter=quokka-1").await);
    assert_eq!(rows.len(), 11, "1 and 10 to 19");
    let email = server.user_at(3).email;
    assert_eq!(listed(&client.get(&format!("/api/users?filter={email}")).await).len(), 1);
    assert_eq!(listed(&client.get("/api/users?filter=force_password_reset:false").await).len(), 0);
}

#[tokio::test]
async fn the_pagination_header_can_be_missing_wrong_or_without_an_end() {
    let (server, client) = monocloud(Options::ordinary(15)).await;
    let with = |paging: Paging| server.set(Faults { paging, ..Faults::default() });
    with(Paging { headers: PagingHeaders::None, ..Paging::default() });
    assert_eq!(client.get("/api/users").await.header("x-pagination"), None);
    with(Paging { total_off_by: 3, ..Paging::default() });
    assert_eq!(pagination(&client.get("/api/users").await)["total_count"], json!(18));
    with(Paging { looping: true, ..Paging::default() });
    let beyond = client.get("/api/users?page=9").await;
    assert_eq!((listed(&beyond).len(), &pagination(&beyond)["has_next"]), (5, &json!(true)));
    with(Paging { endless: true, ..Paging::default() });
    let beyond = client.get("/api/users?page=9").await;
    assert_eq!((listed(&beyond).len(), &pagination(&beyond)["has_next"]), (0, &json!(true)));
    with(Paging { empty_pages: true, ..Paging::default() });
    let mut rows = Vec::new();
    for page in 1.. {
        let answer = client.get(&format!("/api/users?page={page}&sort=creation_time:1")).await;
        rows.push(listed(&answer).len());
        if pagination(&answer)["has_next"] == json!(false) {
            break;
        }
    }
    assert_eq!(rows, [10, 0, 5]);
}

#[tokio::test]
async fn groups_list_their_members_with_the_reset_state() {
    let (server, client) = monocloud(Options::ordinary(100)).await;
    let groups = listed(&client.get("/api/groups?size=100").await);
    assert_eq!(groups.iter().filter(|group| group["name"] == json!("twins")).count(), 2);
    let id = &server.group_ids("contractors")[0];
    let members = client.get(&format!("/api/users/groups/{id}/assigned?size=100&sort=creation_time:1")).await;
    let rows = listed(&members);
    assert_eq!((rows.len(), &rows[0]["force_password_reset"]), (20, &json!(false)));
    let user = server.user_at(1);
    assert_eq!(listed(&client.get(&format!("/api/users/{}/groups", user.id)).await).len(), user.groups.len());
}

#[tokio::test]
async fn sessions_need_the_plan() {
    let (server, client) = monocloud(Options::ordinary(20)).await;
    let user = server.users().into_iter().find(|user| user.sessions == 2).expect("somebody with two sessions");
    let path = format!("/api/users/{}/sessions", user.id);
    let id = listed(&client.get(&path).await)[0]["session_id"].as_str().expect("an id").to_owned();
    server.set(Faults { plan_without_sessions: true, ..Faults::default() });
    assert_eq!(client.get(&path).await.status, 402);
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{id}")).await.status, 402);
    server.set(Faults::default());
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{id}")).await.status, 204);
    assert_eq!(server.user(&user.id).expect("there").sessions, 1);
}

#[tokio::test]
async fn a_forbidden_user_is_403_and_an_unknown_one_404() {
    let (_server, client, user) = single(Class::Forbidden).await;
    assert_eq!(force(&client, &user.id).await.status, 403);
    assert_eq!(force(&client, "UOtBaOybB6dTpIJNrnkRw").await.status, 404);
}
