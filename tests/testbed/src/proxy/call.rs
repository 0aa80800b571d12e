//! A call, and what became of it.

use axum::body::Bytes;

/// A call as it came to the proxy.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its place among all calls of this proxy, from 1.
    pub number: u64,
    /// Its place among the calls of the same template, from 1.
    pub nth: u64,
    /// For example `PATCH`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The kind of call; see [`super::template`].
    pub template: String,
    /// What was sent.
    pub body: Bytes,
    /// Whether the answer is a stream of Kubernetes events.
    pub is_watch: bool,
}

/// A call with what became of it. Moments are comparable between all proxies of this process.
#[derive(Debug, Clone)]
pub struct Record {
    /// The call.
    pub call: Call,
    /// When it came.
    pub arrived: u64,
    /// When it was sent on to the server.
    pub forwarded: Option<u64>,
    /// What the server answered, whether the caller saw that or not.
    pub status: Option<u16>,
    /// The server broke the call off, or could not be reached.
    pub failed: bool,
    /// When the caller's socket had taken an answer, of the server or of a rule; for a watch its beginning.
    pub answered: Option<u64>,
    /// What the caller was told then, by the server or by a rule; `None` where it could not read all of it.
    pub told: Option<u16>,
}
