//! Certificates that must not be believed, and one that is believed again when its authority is.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use simulators::{Handle, MonoCloud, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, fast, merge};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = about.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(about, key), pem }
    }

    /// What a server needs with a certificate for `name`, as changed by `change`.
    pub fn serving(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let mut about = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut about);
        let key = KeyPair::generate().expect("a key");
        let certificate = about.signed_by(&key, &self.issuer).expect("a certificate");
        config(certificate.der().clone(), &key)
    }
}

/// Signed by nobody but itself.
fn self_signed(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec![name.to_owned()]).expect("a name").self_signed(&key);
    config(certificate.expect("a certificate").der().clone(), &key)
}

fn config(certificate: rustls::pki_types::CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("protocol versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).expect("a usable certificate"))
}

/// A TLS server in front of a simulator, whose certificate can be changed.
struct Front {
    port: u16,
    current: Arc<Mutex<(Arc<ServerConfig>, CancellationToken)>>,
}

impl Front {
    async fn start(simulator: &Handle, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let current = Arc::new(Mutex::new((config, CancellationToken::new())));
        let (shared, target) = (current.clone(), simulator.base_url().trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, end) = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let target = target.clone();
                tokio::spawn(async move {
                    let Ok(mut inside) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return };
                    let mut outside = TcpStream::connect(target).await.expect("the simulator");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        () = end.cancelled() => {}
                    }
                });
            }
        });
        Self { port, current }
    }

    /// Another certificate from now on; open connections end.
    fn change(&self, config: Arc<ServerConfig>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, end) = std::mem::replace(&mut *current, (config, CancellationToken::new()));
        end.cancel();
    }
}

/// A server that speaks nothing newer than TLS 1.0: it answers any greeting with a ServerHello of that version.
async fn tls_1_0() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            // Version, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression (RFC 2246 §7.4.1.3).
            let hello = [&[3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
            let handshake = [&[2, 0, 0, hello.len() as u8][..], &hello].concat();
            let record = [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat();
            let _ = stream.write_all(&record).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    port
}

async fn put_authorities(bed: &Bed, name: &str, pem: &str) {
    bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": pem}}))
        .await;
}

async fn provider(bed: &Bed, name: &str, host: &str, port: u16, simulator: &Handle) {
    let url = format!("https://{host}:{port}");
    let block = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": name}},
        "tls": {"caBundleConfigMapRef": {"name": "authorities"}}});
    let secret = json!({"apiKey": simulator.credentials().api_key});
    bed.provider(name, &[&url], secret, block, fast()).await;
}

/// I30.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_expired_self_signed_or_for_another_name_is_refused_before_anything_is_sent() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("certificates").await;
    put_authorities(&bed, "authorities", &authority.pem).await;
    bed.grant("configmaps", "authorities").await;
    bed.start().await;
    let expired = |about: &mut CertificateParams| about.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let early = |about: &mut CertificateParams| about.not_before = rcgen::date_time_ymd(2999, 1, 1);
    let unknown = "signed by an unknown authority; give its CA certificate with tls.caBundleConfigMapRef";
    let cases = [
        ("expired", authority.serving("127.0.0.1", expired), "its certificate has expired"),
        ("early", authority.serving("127.0.0.1", early), "its certificate is not valid yet"),
        ("self-signed", self_signed("127.0.0.1"), unknown),
        ("stranger", stranger.serving("127.0.0.1", |_| {}), unknown),
        ("other-name", authority.serving("idp.example", |_| {}), "its certificate is for another name"),
        ("other-number", authority.serving("127.0.0.2", |_| {}), "its certificate is for another name"),
    ];
    let mut fronts = Vec::new();
    for (name, config, _) in &cases {
        let front = Front::start(&simulator, config.clone()).await;
        provider(&bed, name, "127.0.0.1", front.port, &simulator).await;
        fronts.push(front);
    }
    provider(&bed, "tls-1-0", "127.0.0.1", tls_1_0().await, &simulator).await;
    provider(&bed, "no-tls", "127.0.0.1", port_of(&simulator), &simulator).await;
    for (name, _, says) in &cases {
        let view = bed.provider_says(name, "Ready", "False TLSFailed", &[says]).await;
        assert_eq!(view.condition("Stalled"), "True TLSFailed", "{name}");
    }
    for name in ["tls-1-0", "no-tls"] {
        bed.provider_says(name, "Ready", "False TLSFailed", &["the TLS handshake failed"]).await;
    }
    assert_eq!(simulator.counters().total(), 0, "not one request was sent");

    // A good certificate is enough, without a restart.
    for ((name, _, _), front) in cases.iter().zip(&fronts) {
        front.change(authority.serving("127.0.0.1", |_| {}));
        bed.patch_provider(name, json!({"spec": {"pageSize": 50}})).await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
    }
}

fn port_of(simulator: &Handle) -> u16 {
    simulator.base_url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// I30.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_stops_a_run_and_the_new_one_in_its_config_map_heals_it_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let simulator = MonoCloud::start(Options::ordinary(40)).await.expect("a simulator");
    let front = Front::start(&simulator, old.serving("localhost", |_| {})).await;
    let mut bed = Bed::new("rotated-ca").await;
    put_authorities(&bed, "authorities", &old.pem).await;
    bed.grant("configmaps", "authorities").await;
    bed.start().await;
    provider(&bed, "mc", "localhost", front.port, &simulator).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let mut slow = json!({"rateLimit": {"requestsPerSecond": 20, "burst": 1, "maxConcurrentRequests": 1}});
    merge(&mut slow, json!({"probePeriodSeconds": 300}));
    bed.patch_provider("mc", json!({"spec": slow})).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    while simulator.requirements().len() < 5 {
        simulator.recorded(simulator.ledger().len() + 1).await;
    }
    front.change(new.serving("localhost", |_| {}));
    bed.provider_says("mc", "Ready", "False TLSFailed", &["unknown authority"]).await;
    let written = simulator.requirements().len();
    assert!(written < 40, "the run was stopped");
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let both = json!({"data": {"ca.crt": format!("{}{}", old.pem, new.pem)}});
    maps.patch("authorities", &PatchParams::default(), &Patch::Merge(both)).await.expect("the bundle is changed");
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((policy.count("enforced"), policy.count("failed")), (40, 0));
    assert!(simulator.requirements().values().all(|times| *times == 1));
}
