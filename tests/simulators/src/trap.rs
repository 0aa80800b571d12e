//! Does a credential ever reach an origin that it was not meant for?
//!
//! A [`Trap`] is a foreign origin: redirects and links can be made to lead there. It notes what arrives.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::Response;

use crate::population::SECRET_CANARY;
use crate::socket::Server;

/// A request that reached a [`Trap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Method and target, for example `GET /v1/x?y=z`.
    pub request: String,
    /// Whether a credential or token was anywhere in it: target, headers or body.
    pub secret: bool,
}

/// A foreign origin on 127.0.0.1 that answers 200 with `{}` to everything.
#[derive(Debug)]
pub struct Trap {
    server: Server,
    caught: Arc<Mutex<Vec<Caught>>>,
}

impl Trap {
    /// Starts on a free port.
    pub async fn start() -> io::Result<Trap> {
        let caught = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&caught);
        let server = Server::start(
            0,
            || {},
            move |request, _| {
                let notes = Arc::clone(&notes);
                async move {
                    let (parts, body) = request.into_parts();
                    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
                    let request = format!("{} {}", parts.method, parts.uri);
                    let credential_header =
                        ["authorization", "x-api-key", "cookie"].iter().any(|name| parts.headers.contains_key(*name));
                    let secret = credential_header
                        || request.contains(SECRET_CANARY)
                        || String::from_utf8_lossy(&body).contains(SECRET_CANARY);
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(Caught { request, secret });
                    Response::new(Body::from("{}"))
                }
            },
        )
        .await?;
        Ok(Trap { server, caught })
    }

    /// Scheme and authority, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What arrived so far.
    pub fn caught(&self) -> Vec<Caught> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
