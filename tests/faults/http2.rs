//! HTTP/2, where a stream or a whole connection ends in the middle of things.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use serde_json::json;
use simulators::{MonoCloud, Options, monocloud};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::accounts::is_enforced;
use crate::bed::{Bed, fast, merge};
use crate::tls::Authority;

const USERS: u32 = 40;

/// What happens to the whole connection.
enum Order {
    /// GOAWAY, and what is under way is answered.
    GoAway,
    /// GOAWAY, and nothing is answered any more.
    End,
}

/// A server that speaks nothing but HTTP/2, in front of a simulator, and breaks some of the writes.
struct Front {
    http: reqwest::Client,
    target: String,
    writes: AtomicU32,
    requests: AtomicU32,
}

impl Front {
    async fn start(target: String, mut config: rustls::ServerConfig) -> (u16, Arc<Self>) {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let front = Arc::new(Self { http, target, writes: AtomicU32::new(0), requests: AtomicU32::new(0) });
        let shared = front.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, front) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        front.converse(stream).await;
                    }
                });
            }
        });
        (port, front)
    }

    async fn converse(self: Arc<Self>, stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let (order, mut orders) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                request = connection.accept() => match request {
                    Some(Ok((request, respond))) => {
                        tokio::spawn(self.clone().answer(request, respond, order.clone()));
                    }
                    _ => return,
                },
                Some(order) = orders.recv() => match order {
                    Order::GoAway => connection.graceful_shutdown(),
                    Order::End => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
                },
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        order: mpsc::UnboundedSender<Order>,
    ) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let is_write = request.method() == http::Method::POST;
        let write = if is_write { self.writes.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        if write == 2 {
            return respond.send_reset(Reason::REFUSED_STREAM); // never processed
        }
        let (parts, _) = request.into_parts();
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let key = parts.headers.get("x-api-key").cloned().expect("a key");
        let sent = self.http.request(parts.method, format!("{}{path}", self.target)).header("x-api-key", key);
        let mut answer = sent.header("content-length", 0).send().await.expect("the simulator answers");
        let mut response = http::Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        for hop in ["connection", "content-length", "transfer-encoding"] {
            response.headers_mut().remove(hop);
        }
        match write {
            // It has taken effect, and nobody is told.
            6 => return respond.send_reset(Reason::INTERNAL_ERROR),
            10 => {
                let mut body = respond.send_response(response, false).expect("a stream");
                return body.send_reset(Reason::CANCEL);
            }
            14 => {
                let _ = order.send(Order::GoAway);
            }
            18 => {
                let _ = order.send(Order::End);
                return;
            }
            _ => {}
        }
        let body = answer.bytes().await.expect("a body");
        // The client may be gone by now.
        if let Ok(mut stream) = respond.send_response(response, false) {
            let _ = stream.send_data(body, true);
        }
    }
}

/// I39.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_or_connection_that_ends_under_a_write_is_read_before_it_is_written_again() {
    let authority = Authority::new();
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let config = Arc::unwrap_or_clone(authority.serving("127.0.0.1", |_| {}));
    let (port, front) = Front::start(simulator.base_url(), config).await;
    let mut bed = Bed::new("http2").await;
    bed.shorten("SETTLE_SECONDS", 3);
    bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities"}, "data": {"ca.crt": authority.pem}}))
        .await;
    bed.grant("configmaps", "authorities").await;
    bed.start().await;
    let url = format!("https://127.0.0.1:{port}");
    let mut spec = fast();
    merge(&mut spec, json!({"tls": {"caBundleConfigMapRef": {"name": "authorities"}}}));
    let block = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "mc"}}});
    bed.provider("mc", &[&url], json!({"apiKey": simulator.credentials().api_key}), block, spec).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    is_enforced(&bed, "inc", &simulator, USERS as usize).await;
    assert_eq!(simulator.count(monocloud::FORCE_RESET), u64::from(USERS), "each write arrived once");
    let writes = front.writes.load(Ordering::SeqCst);
    assert!((USERS + 1..=USERS + 8).contains(&writes), "{writes} writes, the refused one twice");
}
