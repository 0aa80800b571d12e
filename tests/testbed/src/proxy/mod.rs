//! What if a call fails at exactly this moment? A reverse proxy for HTTP/1.1 in front of any server, that can break calls.
//!
//! ```text
//!  caller ─► socket ─► rules "before" ─► upstream ─► rules "after forward" ─► caller has the answer ─► rules "after answer"
//!              │                            └─► events (watches, line by line)
//!              └─ reset, silence, refusal of whole connections
//! ```
//!
//! A [`Proxy`] listens on 127.0.0.1, passes every call on with its `Host` header, streams watches and remembers each call with
//! its number and its place among the calls of the same [template](Call::template). A [`Rule`] names calls, a [`Phase`]
//! and an [`Action`]; its hook may do anything else at that moment, such as killing the caller. A call that is on its way to the
//! server arrives there even when its caller is gone by then.
//!
//! Whole connections: [`Proxy::refuse`], [`Proxy::reset_connections`], [`Proxy::black_hole`] (nothing passes, nothing ends, until it is
//! switched off), [`Proxy::strand_connections`] (the same for good, for those that are open; new ones work). By call:
//! [`Proxy::silence`] and [`Proxy::hold`]. Watches: [`Proxy::rewrite_events`].

mod call;
mod forward;
mod gate;
mod rule;
mod socket;
pub mod template;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::body::Bytes;
use reqwest::Certificate;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use call::{Call, Record};
pub use gate::Gate;
pub use rule::{Action, Answer, Hook, Phase, Rule};

use crate::control_plane::ControlPlane;
use forward::Switchboard;
use socket::Sockets;
use template::Template;

/// A moment, counted over all proxies of this process: what happened earlier has a smaller number.
pub fn moment() -> u64 {
    static MOMENTS: AtomicU64 = AtomicU64::new(0);
    MOMENTS.fetch_add(1, Ordering::SeqCst) + 1
}

/// The server behind a proxy.
#[derive(Debug, Clone)]
pub struct Upstream {
    url: String,
    authority: Option<Vec<u8>>,
    template: Template,
}

impl Upstream {
    /// A server that is reached in the clear, `http://host:port`. Calls are told apart by [`template::by_ids`].
    pub fn plain(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), authority: None, template: template::by_ids }
    }

    /// The API server. Callers speak to the proxy in the clear, and send a bearer token as usual: client certificates end here.
    pub fn api_server(plane: &ControlPlane) -> Result<Self> {
        let authority = std::fs::read(plane.authority_path()).context("the API server's authority cannot be read")?;
        Ok(Self { url: plane.server().to_owned(), authority: Some(authority), template: template::kubernetes })
    }
}

/// A running proxy. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    board: Arc<Switchboard>,
    sockets: Arc<Sockets>,
    _stop: watch::Sender<()>,
}

impl Proxy {
    /// Listens on a free port. *Errors*: no port is free, or the authority is no certificate.
    pub async fn start(upstream: Upstream) -> Result<Self> {
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none());
        if let Some(authority) = &upstream.authority {
            http = http.tls_certs_only([Certificate::from_pem(authority)?]);
        }
        let board = Arc::new(Switchboard::new(upstream.url, upstream.template, http.build()?));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = watch::channel(());
        let sockets = Arc::new(Sockets::default());
        tokio::spawn(socket::serve(listener, Arc::clone(&sockets), Arc::clone(&board), stopped));
        Ok(Self { url, board, sockets, _stop: stop })
    }

    /// The proxy's address, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every call that came so far, in the order of arrival.
    pub fn records(&self) -> Vec<Record> {
        self.board.records()
    }

    /// Forgets the calls that came so far; the next one is the first again.
    pub fn forget(&self) {
        self.board.forget();
    }

    /// Adds a rule; its calls are counted from now on. Of several that apply to a call in a phase all hooks run, oldest first, and
    /// the first action counts that is more than `Pass`.
    pub fn rule(&self, rule: Rule) {
        self.board.rules().push(rule.armed());
    }

    /// Takes all rules away; calls that a rule holds or delays stay held or delayed.
    pub fn clear_rules(&self) {
        self.board.rules().clear();
    }

    /// A gate that every call passes before rules and server. It is open at first.
    pub fn hold(&self) -> &Gate {
        &self.board.gate
    }

    /// Calls that `on` chooses get no answer, and watches that it chooses no events, until [`Proxy::end_silence`]; the connections
    /// stay up. Events that came meanwhile arrive then.
    pub fn silence(&self, on: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.board.silence(Some(Arc::new(on)));
    }

    /// Ends what [`Proxy::silence`] began.
    pub fn end_silence(&self) {
        self.board.silence(None);
    }

    /// Shows every event (a line of JSON, without the line's end) of the watches that `on` chooses to `rewrite`, and passes on
    /// what it returns: nothing to drop it, two to double it; what is kept can be returned later in another order. It applies to
    /// open watches as well.
    pub fn rewrite_events(
        &self,
        on: impl Fn(&Call) -> bool + Send + Sync + 'static,
        rewrite: impl FnMut(&Call, Bytes) -> Vec<Bytes> + Send + 'static,
    ) {
        self.board.rewrite(Some((Arc::new(on), Box::new(rewrite))));
    }

    /// Events pass unchanged again.
    pub fn keep_events(&self) {
        self.board.rewrite(None);
    }

    /// While it is on no byte passes on any connection, and none is closed: a network that swallows everything.
    pub fn black_hole(&self, on: bool) {
        if on { self.sockets.light.close() } else { self.sockets.light.open() }
    }

    /// No byte passes any more on the connections that are open now, and none of them is closed: a router that forgot them.
    pub fn strand_connections(&self) {
        self.sockets.strand();
    }

    /// Resets every open connection. What came on it and was not sent on never is.
    pub fn reset_connections(&self) {
        self.sockets.reset();
    }

    /// While it is on every new connection is reset at once.
    pub fn refuse(&self, on: bool) {
        self.sockets.refusing.store(on, Ordering::SeqCst);
    }
}

/// Nothing here panics while it holds a lock; a hook that panics must not blind everybody else.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
