//! Whatever stands in headers, addresses, Secrets, ConfigMaps and our own objects.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use password_reset_operator::api::password_reset_policy::UserListFormat;
use password_reset_operator::api::{
    ALLOWED_ORIGINS_ANNOTATION, ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy,
};
use password_reset_operator::controller::credentials;
use password_reset_operator::controller::references::Content;
use password_reset_operator::plan::desired::{Sources, protected_keys, resolve};
use password_reset_operator::plan::ledger::{AccountKey, CampaignKey, Epoch, Ledger, Retention};
use password_reset_operator::plan::userlist;
use password_reset_operator::provider::http::{
    Auth, Base, Http, HttpSettings, Limiter, Limits, NextLink, Origin, Trail, bounded, http_date, next_link,
};
use password_reset_operator::provider::{keycloak, looker, monocloud, pingone};
use sha2::{Digest, Sha256};
use url::Url;

/// The longest key that a Secret may have.
const LONGEST_NAME: usize = 253;

fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == b'\n')
}

fn text(input: &[u8]) -> &str {
    let valid = std::str::from_utf8(input).map_or_else(|error| error.valid_up_to(), str::len);
    std::str::from_utf8(&input[..valid]).unwrap_or_default()
}

/// Each line is a `Link` header; all of it is a cursor too.
pub fn links(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for value in lines(input).take(100).filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(http::header::LINK, value);
    }
    if let NextLink::At(link) = next_link(&headers) {
        assert!(!link.contains(['<', '>']) || link.contains('<'), "a link ends where its bracket closes: {link}");
        assert!(!link.contains('>'), "a link ends where its bracket closes: {link}");
    }
    if let Some((trail, position)) = Trail::split(text(input)) {
        assert_eq!(Trail::split(&trail.join(position)), Some((trail, position)));
        let _ = trail.step(position);
    }
}

/// A time or a pause.
pub fn times(input: &[u8]) {
    let text = text(input);
    let _ = http_date(text);
    let pause = bounded(text.trim().parse().unwrap_or(u64::MAX)).as_secs();
    assert!((1..=900).contains(&pause), "{pause} s");
}

/// The first line is a base URL, the others are segments.
pub fn addresses(input: &[u8]) {
    let mut parts = text(input).split('\n');
    let Ok(url) = Url::parse(parts.next().unwrap_or_default()) else { return };
    let Some(origin) = Origin::of(&url) else { return };
    let Ok(base) = Base::new(url, &["api", "4.0"]) else { return };
    assert_eq!(*base.origin(), origin, "a base has the origin of its address");
    let segments: Vec<&str> = parts.take(8).collect();
    let Ok(url) = base.url("a test", &segments) else { return };
    assert_eq!(Origin::of(&url), Some(origin), "segments lead nowhere else");
    let top = base.url("a test", &[]).expect("the base itself");
    let below: Vec<&str> = url.path().strip_prefix(top.path()).expect("below the base").split('/').skip(1).collect();
    assert_eq!(below.len(), segments.len(), "a segment stays one: {url}");
    assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
}

/// A list of users, in each format.
pub fn user_list(input: &[u8]) {
    for format in [UserListFormat::ID, UserListFormat::Username, UserListFormat::Email] {
        match userlist::parse(input, format) {
            Ok(list) => assert!(list.entries.iter().all(|(key, _)| userlist::well_formed(key))),
            Err(invalid) => assert!(invalid.to_string().len() < 300),
        }
    }
}

/// The campaign that the corpus belongs to.
fn campaign() -> CampaignKey {
    CampaignKey {
        tenant: "https://idp.example".to_owned(),
        namespace: "security".to_owned(),
        policy: "inc-4711".to_owned(),
        epoch: Epoch::Cutoff(1_700_000_000),
    }
}

/// A head shard, and the same bytes as a sealed one; as they are, and with a checksum that is right.
pub fn ledger(input: &[u8]) {
    let mut mended = input.to_vec();
    if let Some(content) = input.len().checked_sub(8) {
        mended.truncate(content);
        let sum = Sha256::digest(&mended);
        mended.extend_from_slice(&sum[..8]);
    }
    for bytes in [input, &mended] {
        let _ = Ledger::load(campaign(), Retention::All, vec![(1, bytes.to_vec())]);
        let Ok(mut ledger) = Ledger::load(campaign(), Retention::All, vec![(0, bytes.to_vec())]) else { continue };
        let accounts = ledger.len();
        let open = ledger.open();
        ledger.close_unsent(&open);
        assert!(ledger.len() <= accounts, "closing adds nobody");
        ledger.forget(&AccountKey(0));
        for image in ledger.dirty_shards() {
            ledger.written(&image);
        }
        assert!(ledger.dirty_shards().is_empty(), "what is written is clean");
    }
}

/// Each line is an annotation of a ledger: name, `=`, value.
pub fn campaign_key(input: &[u8]) {
    let annotations: BTreeMap<String, String> = text(input)
        .split('\n')
        .take(100)
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Some(key) = CampaignKey::from_annotations(&annotations) {
        assert_eq!(CampaignKey::from_annotations(&key.annotations()), Some(key.clone()));
        assert!(key.shard_name(u16::MAX).len() <= 63);
        assert!(key.labels().values().all(|value| value.len() <= 63));
    }
}

/// The first line is the annotation with the allowed origins, the rest is the value.
pub fn credentials(input: &[u8]) {
    let split = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let origins = String::from_utf8_lossy(&input[..split]).into_owned();
    let content = Content {
        labels: BTreeMap::new(),
        annotations: [(ALLOWED_ORIGINS_ANNOTATION.to_owned(), origins)].into(),
        data: [
            ("apiKey".to_owned(), input[split..].to_vec()),
            (text(&input[..input.len().min(LONGEST_NAME)]).to_owned(), Vec::new()),
        ]
        .into(),
    };
    for key in ["apiKey", "clientSecret"] {
        if let Err(message) = credentials::value(&content, "idp", key) {
            assert!(message.len() < 3_000, "a message is {} bytes long", message.len());
        }
    }
    let urls = [Url::parse("https://idp.example:8443/api").expect("an address")];
    if credentials::bound_to(&content, "idp", &[&urls[0]]).is_ok() {
        assert!(content.annotations[ALLOWED_ORIGINS_ANNOTATION].to_ascii_lowercase().contains("8443"));
    }
}

/// A CA bundle.
pub fn ca_bundle(input: &[u8]) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let limits = Limits { requests_per_second: 1.0, burst: 1, max_concurrent_requests: 1 };
    let mut settings = HttpSettings::new(Limiter::new(limits), Vec::new());
    settings.ca_bundle = Some(input.to_vec());
    let _ = Http::new(settings, Auth::Header(http::header::AUTHORIZATION, "k".into()));
}

/// One of our objects as JSON, as it may have been written before its CRD was changed.
pub fn objects(input: &[u8]) {
    let capabilities =
        [&pingone::CAPABILITIES, &looker::CAPABILITIES, &monocloud::CAPABILITIES, &keycloak::CAPABILITIES];
    let users = match serde_json::from_slice::<IdentityProvider>(input) {
        Ok(provider) => Some(provider.spec.protected_users),
        Err(_) => None,
    };
    let _ = serde_json::from_slice::<ClusterIdentityProvider>(input);
    for capabilities in capabilities {
        if let Some(users) = &users {
            let _ = protected_keys(users, "IdentityProvider/idp", capabilities);
        }
    }
    let Ok(policy) = serde_json::from_slice::<PasswordResetPolicy>(input) else { return };
    let list: &[u8] = b"quokka@corp.example\nquokka\n";
    let lists = vec![Ok(list); 8];
    for index in 0..policy.spec.targets.len().min(32) {
        for capabilities in capabilities {
            let sources =
                Sources { spec: &policy.spec, index, capabilities, users_from: &lists, exclude_users_from: &lists };
            if let Err(stop) = resolve(&sources) {
                assert!(!stop.message.is_empty());
            }
        }
    }
}
