//! Whatever a server answers: status, headers and body, through the whole client of each provider.
//!
//! The first line of an input says what is asked (`> list`), the rest is the answer: head, empty line, body. The length
//! of the body is added where the head does not give one. The same answer comes to every request of the operation, so
//! that a listing which names a next page goes on for ever unless the client notices.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use password_reset_operator::plan::observed::{Account, AccountId, Listing, SetKind, UserKey};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::http::{
    AddressRules, ClientAuth, HttpSettings, Limiter, Limits, Network, Origin,
};
use password_reset_operator::provider::keycloak::{Keycloak, KeycloakConfig};
use password_reset_operator::provider::looker::{Looker, LookerConfig};
use password_reset_operator::provider::monocloud::{MonoCloud, MonoCloudConfig};
use password_reset_operator::provider::pingone::{PingOne, PingOneConfig};
use password_reset_operator::provider::{Gate, Provider, ProviderError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// Stands in the texts of the corpus. An `@` cannot be in a code, so no error may show it.
const CANARY: &str = "quokka@";
/// Who is asked for.
const ID: &str = "3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11";
/// Pages of one listing that are asked for.
const PAGES: usize = 4;
/// What one operation may ask at most: no answer that repeats itself makes a client go on.
const MOST_REQUESTS: u64 = 2_600;
/// The longest pause that an answer may bring about, by its head (a `Retry-After`, a quota that is used up) or its body.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// An answer, sent to whoever asks for something else than a token, or to everybody.
struct Answer {
    bytes: Vec<u8>,
    tokens_too: bool,
}

/// A server and a client on one thread.
struct Arena {
    runtime: tokio::runtime::Runtime,
    base: Url,
    answer: Arc<Mutex<Arc<Answer>>>,
    requests: Arc<AtomicU64>,
}

thread_local! {
    static ARENA: OnceCell<Arena> = const { OnceCell::new() };
}

impl Arena {
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let base = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("an address");
        let answer = Arc::new(Mutex::new(Arc::new(Answer { bytes: Vec::new(), tokens_too: false })));
        let requests = Arc::new(AtomicU64::new(0));
        runtime.spawn(serve(listener, answer.clone(), requests.clone()));
        Self { runtime, base, answer, requests }
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<Arc<Answer>>>, requests: Arc<AtomicU64>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.clone();
        tokio::spawn(async move {
            // A client that does not like the answer hangs up, which is its right.
            let _ = converse(socket, &answer, &requests).await;
        });
    }
}

async fn converse(mut socket: TcpStream, answer: &Answer, requests: &AtomicU64) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    while request.len() < head + length.unwrap_or(0) {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    requests.fetch_add(1, Ordering::Relaxed);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let bytes: &[u8] = if !answer.tokens_too && (path.ends_with("/token") || path.ends_with("/login")) {
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{\"access_token\": \"t\"}"
    } else {
        &answer.bytes
    };
    socket.write_all(bytes).await?;
    socket.shutdown().await
}

/// Splits an input into what is asked and what is answered.
fn script(input: &[u8], tokens_too: bool) -> (String, Answer) {
    let (asked, rest) = match input.strip_prefix(b"> ").and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        Some(at) => (String::from_utf8_lossy(&input[2..at + 2]).trim().to_owned(), &input[at + 3..]),
        None => ("list".to_owned(), input),
    };
    let split = rest.windows(2).position(|two| two == b"\n\n");
    let (head, body) = split.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 2..]));
    let mut bytes = Vec::with_capacity(input.len() + 100);
    for line in head.split(|byte| *byte == b'\n') {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    let lower = head.to_ascii_lowercase();
    let framed = ["content-length", "transfer-encoding"]
        .iter()
        .any(|name| lower.windows(name.len()).any(|window| window == name.as_bytes()));
    if !framed {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    (asked, Answer { bytes, tokens_too })
}

fn drive(input: &[u8], tokens_too: bool, connect: fn(&Url, HttpSettings) -> Box<dyn Provider>) {
    ARENA.with(|arena| {
        let arena = arena.get_or_init(Arena::new);
        let (asked, answer) = script(input, tokens_too);
        *arena.answer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(answer);
        arena.requests.store(0, Ordering::Relaxed);
        let result = arena.runtime.block_on(async {
            let limits = Limits { requests_per_second: 1e6, burst: 1_000_000, max_concurrent_requests: 8 };
            let limiter = Limiter::new(limits);
            let mut settings = HttpSettings::new(limiter.clone(), vec![Origin::of(&arena.base).expect("an origin")]);
            let here = AddressRules::parse(&["127.0.0.0/8"]).expect("a network");
            settings.network = Network::new(here, None, Vec::new()).expect("a way out");
            // Reading the system's roots would take far longer than the answer.
            settings.ca_bundle = Some(include_bytes!("../corpus/ca_bundle/one.pem").to_vec());
            settings.patience = Duration::ZERO;
            settings.deadline = Duration::from_secs(20);
            let provider = connect(&arena.base, settings);
            let result = ask(&*provider, &asked).await;
            let pause = limiter.blocked_for();
            assert!(pause.is_none_or(|pause| pause <= LONGEST_PAUSE), "the tenant would rest for {pause:?}");
            result
        });
        let requests = arena.requests.load(Ordering::Relaxed);
        assert!(requests <= MOST_REQUESTS, "{asked}: {requests} requests");
        if let Err(error) = result {
            let said = format!("{error} {error:?}");
            assert!(!said.contains(CANARY), "an error shows the answer: {said}");
            assert!(said.len() < 2_000, "an error is {} bytes long", said.len());
            assert!(error.retry_after.is_none_or(|pause| pause <= LONGEST_PAUSE), "{:?}", error.retry_after);
        }
    });
}

/// Asks what the input says; something else where it says nothing known.
async fn ask(provider: &dyn Provider, asked: &str) -> Result<(), ProviderError> {
    let id = AccountId(ID.to_owned());
    let gate: Gate = Arc::new(|| true);
    match asked {
        "find" => {
            provider.find(&UserKey::Id(ID.to_owned())).await?;
            let _ = provider.find(&UserKey::Username("quokka".to_owned())).await;
            provider.find(&UserKey::Email("quokka@corp.example".to_owned())).await.map(|_| ())
        }
        "read" => {
            provider.read_back(&id).await?;
            provider.read(&id).await.map(|_| ())
        }
        "complete" => provider.complete(Account::unknown(ID, Timestamp::UNIX_EPOCH)).await.map(|_| ()),
        "sets" => {
            let _ = provider.sets(SetKind::Population, "sales").await;
            let _ = provider.sets(SetKind::Group, ID).await;
            provider.sets(SetKind::Group, "/sales").await.map(|_| ())
        }
        "verify" => provider.verify(true).await.map(|_| ()),
        "write" => {
            let _ = provider.apply(&Step::RequireEverybody, &gate).await;
            provider.apply(&Step::RequireChange(id), &gate).await.map(|_| ())
        }
        "sessions" => provider.apply(&Step::RevokeSessions(id), &gate).await.map(|_| ()),
        "members" => list(provider, &Listing::Group(ID.to_owned())).await,
        _ => list(provider, &Listing::Tenant).await,
    }
}

async fn list(provider: &dyn Provider, listing: &Listing) -> Result<(), ProviderError> {
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = provider.list(listing, cursor.as_ref()).await?;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// Answers of PingOne.
pub fn pingone(input: &[u8]) {
    drive(input, false, connect_pingone);
}

/// Answers of a token endpoint.
pub fn token(input: &[u8]) {
    drive(input, true, connect_pingone);
}

fn connect_pingone(base: &Url, settings: HttpSettings) -> Box<dyn Provider> {
    let config = PingOneConfig {
        environment_id: ID.to_owned(),
        worker_environment_id: None,
        client_auth: ClientAuth::Basic,
        api_base: base.clone(),
        auth_base: base.clone(),
        client_id: "c".to_owned(),
        client_secret: "s".into(),
        page_size: 200,
    };
    Box::new(PingOne::connect(config, settings).expect("a client"))
}

/// Answers of Looker.
pub fn looker(input: &[u8]) {
    drive(input, false, |base, settings| {
        let (client_id, client_secret) = ("c".to_owned(), "s".into());
        let config = LookerConfig { base_url: base.clone(), client_id, client_secret, page_size: 200 };
        Box::new(Looker::connect(config, settings).expect("a client"))
    });
}

/// Answers of MonoCloud.
pub fn monocloud(input: &[u8]) {
    drive(input, false, |base, settings| {
        let config = MonoCloudConfig { base_url: base.clone(), api_key: "k".into(), page_size: 200 };
        Box::new(MonoCloud::connect(config, settings).expect("a client"))
    });
}

/// Answers of Keycloak.
pub fn keycloak(input: &[u8]) {
    drive(input, false, |base, settings| {
        let config = KeycloakConfig {
            base_url: base.clone(),
            realm: "corp".to_owned(),
            auth_realm: None,
            client_id: "c".to_owned(),
            client_secret: "s".into(),
            page_size: 200,
        };
        Box::new(Keycloak::connect(config, settings).expect("a client"))
    });
}
