//! The control endpoints and the program, one sentence a test.

mod client;

use std::process::Stdio;

use client::{Answer, http, looker, monocloud, whole};
use reqwest::Method;
use serde_json::{Value, json};
use simulators::monocloud::FORCE_RESET;
use simulators::{Handle, Options};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

async fn control(server: &Handle, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = http().request(method, format!("{}/_control/{path}", server.base_url()));
    whole(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
    .expect("an answer")
}

#[tokio::test]
async fn ledger_users_counters_and_a_summary_can_be_read_without_a_credential_and_without_being_counted() {
    let (server, client) = monocloud(Options::ordinary(3)).await;
    let user = server.user_at(1);
    client.send(Method::POST, &format!("/api/users/{}/password/force_reset", user.id)).await;
    let ledger = control(&server, Method::GET, "ledger", None).await.json();
    assert_eq!((&ledger[0]["effect"], &ledger[0]["call"]), (&json!("marked"), &json!(FORCE_RESET)));
    assert_eq!((&ledger[0]["before"]["marked"], &ledger[0]["after"]["marked"]), (&json!(false), &json!(true)));
    assert_eq!(control(&server, Method::GET, "ledger?since=1", None).await.json(), json!([]));
    let users = control(&server, Method::GET, "users?offset=1&limit=1", None).await.json();
    assert_eq!((&users[0]["id"], &users[0]["marked"]), (&json!(user.id), &json!(true)));
    assert_eq!(control(&server, Method::GET, &format!("users/{}", user.id), None).await.json(), users[0]);
    let summary = control(&server, Method::GET, "summary", None).await.json();
    assert_eq!((&summary["users"], &summary["marked"], &summary["requests"]), (&json!(3), &json!(1), &json!(1)));
    let counters = control(&server, Method::GET, "counters", None).await.json();
    assert_eq!(counters["by_call"][FORCE_RESET]["by_status"]["200"], json!(1));
}

#[tokio::test]
async fn people_and_admins_can_be_played_one_by_one_and_in_numbers() {
    let (server, client) = looker(Options::ordinary(10)).await;
    client.send(Method::PUT, "/password_config/force_password_reset_at_next_login_for_all_users").await;
    let id = server.user_at(0).id;
    assert_eq!(control(&server, Method::POST, &format!("users/{id}/signs_in"), None).await.status, 409);
    assert_eq!(control(&server, Method::POST, &format!("users/{id}/complies"), None).await.status, 200);
    assert_eq!(control(&server, Method::POST, &format!("users/{id}/dances"), None).await.status, 404);
    let done = control(&server, Method::POST, "play/complies", Some(json!({"count": 4}))).await.json();
    assert_eq!(done["count"], json!(4));
    let named = json!({"users": [server.user_at(9).id, "nobody"]});
    assert_eq!(control(&server, Method::POST, "play/clears", Some(named)).await.json()["count"], json!(1));
    assert_eq!(server.users().iter().filter(|user| user.marked).count(), 4);
    let hired = control(&server, Method::POST, "hire", None).await.json();
    assert!(server.user(hired["id"].as_str().expect("an id")).is_some());
}

#[tokio::test]
async fn switches_clock_and_tokens_can_be_set() {
    let (server, client) = looker(Options::ordinary(1)).await;
    let answer = control(&server, Method::PUT, "faults", Some(json!({"lag": {"reads": 1}, "read_only": true}))).await;
    assert_eq!((answer.status, &answer.json()["read_only"]), (200, &json!(true)));
    assert!(server.faults().read_only);
    let refused = control(&server, Method::PUT, "faults", Some(json!({"red_only": true}))).await;
    assert!(refused.status == 400 && refused.json()["error"].as_str().expect("a sentence").contains("red_only"));
    assert!(server.faults().read_only, "a refused set changes nothing");
    assert_eq!(control(&server, Method::PUT, "clock", Some(json!({"offset_seconds": 60}))).await.status, 200);
    assert_eq!(server.clock().offset_seconds(), 60);
    assert_eq!(client.get("/user").await.status, 200);
    assert_eq!(control(&server, Method::POST, "tokens/revoke", None).await.status, 200);
    assert_eq!(client.get("/user").await.status, 401);
}

#[tokio::test]
async fn an_unknown_control_path_lists_the_known_ones() {
    let (server, _) = monocloud(Options::ordinary(1)).await;
    let answer = control(&server, Method::GET, "help", None).await;
    assert!(answer.status == 404 && answer.text.contains("PUT /_control/faults"));
}

#[tokio::test]
async fn the_program_prints_one_line_with_addresses_and_credentials_that_work() {
    for provider in ["pingone", "looker", "monocloud"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args([provider, "--users", "50", "--seed", "7", "--population", "awkward"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line: Value =
            serde_json::from_str(&lines.next_line().await.expect("readable").expect("a line")).expect("JSON");
        assert_eq!(line["provider"], json!(provider));
        let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name} in {line}")).to_owned();
        let request = match provider {
            "pingone" => {
                let url = format!("{}/{}/as/token", text("authURL"), text("workerEnvironmentID"));
                let request = http().post(url).basic_auth(text("clientID"), Some(text("clientSecret")));
                request.form(&[("grant_type", "client_credentials")])
            }
            "looker" => {
                let form = [("client_id", text("clientID")), ("client_secret", text("clientSecret"))];
                http().post(format!("{}/api/4.0/login", text("baseURL"))).form(&form)
            }
            _ => http().get(format!("{}/api/users", text("baseURL"))).header("x-api-key", text("apiKey")),
        };
        assert_eq!(whole(request).await.expect("an answer").status, 200, "{provider}");
        child.kill().await.expect("ended");
    }
}
