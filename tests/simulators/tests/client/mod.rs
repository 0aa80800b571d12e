//! What a careful caller of the simulators needs in these tests: one request, its whole answer.
#![allow(dead_code, reason = "each test program uses its own part")]

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use simulators::{Handle, Looker, MonoCloud, Options, PingOne};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

/// The rows of a bare array.
pub fn listed(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_array().expect("an array").clone()
}

/// A caller with a credential.
pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
    pub credential: (&'static str, String),
}

impl Client {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.http.request(method, url).header(self.credential.0, &self.credential.1)
    }

    pub async fn send(&self, method: Method, path: &str) -> Answer {
        whole(self.request(method, path)).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }
}

/// Sends and reads everything.
pub async fn whole(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client")
}

/// A MonoCloud and a caller with its key.
pub async fn monocloud(options: Options) -> (Handle, Client) {
    let server = MonoCloud::start(options).await.expect("started");
    let credential = ("x-api-key", server.credentials().api_key);
    let client = Client { http: http(), base: server.base_url(), credential };
    (server, client)
}

/// Logs in to Looker.
pub async fn looker_login(server: &Handle) -> Answer {
    let credentials = server.credentials();
    let form = [("client_id", &credentials.client_id), ("client_secret", &credentials.client_secret)];
    whole(http().post(format!("{}/api/4.0/login", server.base_url())).form(&form)).await.expect("an answer")
}

/// A Looker and a caller who is logged in; paths begin after `/api/4.0`.
pub async fn looker(options: Options) -> (Handle, Client) {
    let server = Looker::start(options).await.expect("started");
    let token = looker_login(&server).await.json()["access_token"].as_str().expect("a token").to_owned();
    let base = format!("{}/api/4.0", server.base_url());
    (server, Client { http: http(), base, credential: ("authorization", format!("token {token}")) })
}

/// Gets a PingOne token with HTTP Basic.
pub async fn pingone_token(server: &Handle) -> Answer {
    let credentials = server.credentials();
    let url = format!("{}/{}/as/token", server.auth_url(), server.worker_environment_id());
    let request = http().post(url).basic_auth(&credentials.client_id, Some(&credentials.client_secret));
    whole(request.form(&[("grant_type", "client_credentials")])).await.expect("an answer")
}

/// A PingOne and a caller with a token; paths begin after the environment.
pub async fn pingone(options: Options) -> (Handle, Client) {
    let server = PingOne::start(options).await.expect("started");
    let token = pingone_token(&server).await.json()["access_token"].as_str().expect("a token").to_owned();
    let base = format!("{}/v1/environments/{}", server.base_url(), server.environment_id());
    (server, Client { http: http(), base, credential: ("authorization", format!("Bearer {token}")) })
}
