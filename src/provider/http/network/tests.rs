use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::HeaderName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::client::{Auth, Http, HttpSettings};
use super::super::limiter::{Limiter, Limits};
use super::super::origin::Base;
use super::super::request::Request;
use super::*;
use crate::provider::{ErrorKind, ProviderError};

/// A server that answers every request, closes each connection, and counts connections and bytes.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Self { port: listener.local_addr().unwrap().port(), connections: Arc::default(), bytes: Arc::default() };
        let (connections, bytes) = (server.connections.clone(), server.bytes.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 4096];
                bytes.fetch_add(stream.read(&mut buffer).await.unwrap_or(0), Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }
}

/// A name service that gives each of `answers` once, in order, and the last one for ever.
fn answering(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let answer = answers[n.min(answers.len() - 1)].clone();
        async move { Ok(answer) }.boxed()
    });
    (lookup, asked)
}

fn network(allowed: &[&str], api_servers: Vec<(String, u16)>, lookup: Lookup) -> Network {
    Network::with_lookup(AddressRules::parse(allowed).unwrap(), None, api_servers, lookup)
}

fn client(url: &str, network: Network) -> (Http, Base) {
    let base = Base::new(Url::parse(url).unwrap(), &[]).unwrap();
    let limiter = Limiter::new(Limits { requests_per_second: 10_000.0, burst: 10_000, max_concurrent_requests: 8 });
    let settings = HttpSettings { network, ..HttpSettings::new(limiter, vec![base.origin().clone()]) };
    let auth = Auth::Header(HeaderName::from_static("x-api-key"), SecretString::from("k3y"));
    (Http::new(settings, auth).unwrap(), base)
}

async fn ask((http, base): &(Http, Base)) -> Result<u16, ProviderError> {
    let write =
        Request::write("w", http::Method::POST, base.url("test", &["thing"]).unwrap(), &(Arc::new(|| true) as _));
    http.send(write).await.map(|answer| answer.status.as_u16())
}

fn refused(result: Result<u16, ProviderError>, says: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::EndpointRefused, false), "{error}");
    assert!(error.message.contains(says) && error.message.contains("ALLOWED_ADDRESSES"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address_is_refused_and_nothing_is_sent() {
    let server = Server::start().await;
    for (answer, says) in [
        (&["127.0.0.1"][..], "a loopback address"),
        (&["::1"], "a loopback address"),
        (&["::ffff:127.0.0.1"], "a loopback address"),
        (&["169.254.169.254"], "a cloud's metadata service"),
        (&["fe80::1", "127.0.0.1"], "a link-local address"),
    ] {
        let (lookup, _) = answering(&[answer]);
        let client = client(&format!("http://idp.example:{}", server.port), network(&[], vec![], lookup));
        refused(ask(&client).await, says);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn of_a_names_addresses_only_the_allowed_ones_are_connected_to() {
    let server = Server::start().await;
    // The first is not allowed although it would answer.
    let (lookup, _) = answering(&[&["127.0.0.1", "127.0.0.2"]]);
    let strange = client(&format!("http://idp.example:{}", server.port), network(&["127.0.0.2"], vec![], lookup));
    let error = ask(&strange).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, false), "nobody listens at 127.0.0.2");
    assert_eq!(server.connections(), 0);
    let (lookup, _) = answering(&[&["127.0.0.2", "127.0.0.1"]]);
    let usual = client(&format!("http://idp.example:{}", server.port), network(&["127.0.0.1"], vec![], lookup));
    assert_eq!(ask(&usual).await, Ok(200));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_name_is_judged_at_each_connection_anew() {
    let server = Server::start().await;
    let (lookup, asked) = answering(&[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1"]]);
    let client = client(&format!("http://idp.example:{}", server.port), network(&["127.0.0.1"], vec![], lookup));
    assert_eq!(ask(&client).await, Ok(200));
    let bytes = server.bytes();
    refused(ask(&client).await, "metadata");
    assert_eq!((server.connections(), server.bytes()), (1, bytes), "nothing more was sent");
    assert_eq!(ask(&client).await, Ok(200));
    assert_eq!((asked.load(Ordering::SeqCst), server.connections()), (3, 2));
}

#[tokio::test]
async fn an_address_written_as_a_number_is_checked_however_it_is_written() {
    let server = Server::start().await;
    let port = server.port;
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "0"] {
        let (lookup, asked) = answering(&[&["192.0.2.1"]]);
        let client = client(&format!("http://{host}:{port}"), network(&[], vec![], lookup));
        refused(ask(&client).await, if host == "0" { "an unspecified address" } else { "a loopback address" });
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{host}");
    }
    assert_eq!(server.connections(), 0);
    let (lookup, _) = answering(&[&["192.0.2.1"]]);
    assert_eq!(ask(&client(&format!("http://127.1:{port}"), network(&["127.0.0.0/8"], vec![], lookup))).await, Ok(200));
}

#[tokio::test]
async fn the_api_server_is_refused_under_any_name_and_by_number() {
    let server = Server::start().await;
    let (lookup, _) = answering(&[&["10.9.8.7"]]);
    // Everything, the API server's name included, resolves to that address.
    let servers = vec![("kubernetes.default.svc".to_owned(), server.port), ("[fd00::7]".to_owned(), 443)];
    let network = network(&[], servers, lookup);
    refused(ask(&client(&format!("http://idp.example:{}", server.port), network.clone())).await, "API server");
    network.find_api_server().await.unwrap();
    refused(ask(&client(&format!("http://10.9.8.7:{}", server.port), network.clone())).await, "API server");
    refused(ask(&client("https://[fd00::7]", network.clone())).await, "API server");
    let elsewhere = Url::parse("http://10.9.8.7:1").unwrap();
    assert_eq!(network.check_literal(&elsewhere), Ok(()));
}

#[tokio::test]
async fn while_the_api_servers_name_was_never_resolved_no_name_is_trusted() {
    let server = Server::start().await;
    let lookup: Lookup = Arc::new(|name| {
        let answer = if name == "idp.example" {
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        } else {
            Err(io::ErrorKind::TimedOut.into())
        };
        async move { answer }.boxed()
    });
    let network = network(&["127.0.0.1"], vec![("kube.example".to_owned(), 443)], lookup);
    let error = ask(&client(&format!("http://idp.example:{}", server.port), network)).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, false));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn behind_a_proxy_names_go_to_it_unresolved_and_numbers_are_still_checked() {
    let proxy = Server::start().await;
    let address = SecretString::from(format!("http://user:pa%40ss@127.0.0.1:{}", proxy.port));
    let network = Network::new(AddressRules::default(), Some(&address), vec![]).unwrap();
    assert!(!format!("{network:?}").contains("ss@"));
    assert_eq!(ask(&client("http://idp.invalid", network.clone())).await, Ok(200));
    let seen = proxy.connections();
    assert_eq!(seen, 1);
    refused(ask(&client("http://169.254.169.254", network)).await, "metadata");
    assert_eq!(proxy.connections(), seen);
}

#[test]
fn a_proxy_address_that_cannot_be_used_is_refused_without_showing_it() {
    for bad in [
        "proxy.example:3128",
        "ftp://user:hunter2@proxy.example",
        "http://",
        "socks5://hunter2@proxy.example",
        "hunter2",
    ] {
        let error = Network::new(AddressRules::default(), Some(&SecretString::from(bad)), vec![]).unwrap_err();
        assert!(error.starts_with("PROXY_URL is no address") && !error.contains("hunter2"), "{error}");
    }
    assert!(Network::new(AddressRules::default(), Some(&SecretString::from(" ")), vec![]).is_ok(), "as if not set");
}
