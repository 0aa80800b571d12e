//! How does the test bed itself call Keycloak's admin API?
//!
//! As the administrator of the realm `master`, who is another client than the operator in every ledger. A call that is not
//! answered with 2xx is an error that shows Keycloak's own words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

/// The user name of the administrator.
pub(crate) const USER: &str = "admin";
/// The realm `master` issues tokens for 60 s.
const TOKEN_LIFE: Duration = Duration::from_secs(40);

/// A session of the administrator; clones share it.
#[derive(Clone)]
pub(crate) struct Admin(Arc<Session>);

struct Session {
    server: String,
    password: String,
    http: reqwest::Client,
    token: Mutex<Option<(String, Instant)>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.0.server)
    }
}

#[derive(serde::Deserialize)]
struct Token {
    access_token: String,
}

impl Admin {
    pub(crate) fn new(server: String, password: String) -> Result<Self> {
        let http = reqwest::Client::builder()
            // Pooled connections belong to a runtime, and every test has its own.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self(Arc::new(Session { server, password, http, token: Mutex::new(None) })))
    }

    pub(crate) fn server(&self) -> &str {
        &self.0.server
    }

    pub(crate) fn password(&self) -> &str {
        &self.0.password
    }

    /// Follows no redirects and keeps no cookies.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    /// `path` begins after `/admin/realms/`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.call(Method::GET, path, None).await?;
        response.json().await.with_context(|| format!("the answer to GET {path} cannot be read"))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<()> {
        self.call(Method::PUT, path, Some(body)).await.map(drop)
    }

    pub(crate) async fn delete(&self, path: &str, body: Option<&Value>) -> Result<()> {
        self.call(Method::DELETE, path, body).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response> {
        let url = format!("{}/admin/realms{path}", self.server());
        let mut request = self.http().request(method.clone(), url).bearer_auth(self.token().await?);
        if let Some(body) = body {
            request = request.json(body);
        }
        successful(&format!("{method} {path}"), request.send().await?).await
    }

    async fn token(&self) -> Result<String> {
        let mut token = self.0.token.lock().await;
        if let Some((text, at)) = &*token
            && at.elapsed() < TOKEN_LIFE
        {
            return Ok(text.clone());
        }
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.server());
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", USER),
            ("password", &self.0.password),
        ];
        let asked = Instant::now();
        let response = self.http().post(url).form(&form).send().await?;
        let response = successful("the administrator's sign-in", response).await?;
        let text = response.json::<Token>().await?.access_token;
        *token = Some((text.clone(), asked));
        Ok(text)
    }
}

async fn successful(what: &str, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    bail!("Keycloak answered {status} to {what}: {text}");
}
