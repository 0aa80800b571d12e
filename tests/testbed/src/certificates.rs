//! Which certificates and keys does an API server need?
//!
//! A certificate authority, a serving certificate for 127.0.0.1, a client certificate for the administrator and the key
//! that signs ServiceAccount tokens. Client certificates must be X.509 v3 with `clientAuth`: rustls refuses v1.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// Paths of PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority that signed all of the certificates.
    pub authority: PathBuf,
    /// The API server's certificate.
    pub server: PathBuf,
    /// The API server's key.
    pub server_key: PathBuf,
    /// The administrator's certificate: a member of `system:masters`.
    pub admin: PathBuf,
    /// The administrator's key.
    pub admin_key: PathBuf,
    /// The public key that checks ServiceAccount tokens.
    pub tokens: PathBuf,
    /// The private key that signs ServiceAccount tokens.
    pub tokens_key: PathBuf,
}

impl Certificates {
    /// Makes everything anew in `folder`, with elliptic curve keys.
    pub fn create(folder: &Path) -> Result<Self> {
        let paths = Self {
            authority: folder.join("ca.crt"),
            server: folder.join("api.crt"),
            server_key: folder.join("api.key"),
            admin: folder.join("admin.crt"),
            admin_key: folder.join("admin.key"),
            tokens: folder.join("tokens.pub"),
            tokens_key: folder.join("tokens.key"),
        };
        let mut authority = named("password-reset test authority", None);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        fs::write(&paths.authority, authority.self_signed(&key)?.pem())?;
        let authority = Issuer::new(authority, key);

        let mut server = named("kube-apiserver", None);
        server.subject_alt_names = vec![
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::DnsName("localhost".try_into()?),
            SanType::DnsName("kubernetes.default.svc".try_into()?),
        ];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        write_signed(server, &authority, &paths.server, &paths.server_key)?;

        let mut admin = named("admin", Some("system:masters"));
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        write_signed(admin, &authority, &paths.admin, &paths.admin_key)?;

        let tokens = KeyPair::generate()?;
        fs::write(&paths.tokens, tokens.public_key_pem())?;
        write_private(&paths.tokens_key, &tokens.serialize_pem())?;
        Ok(paths)
    }
}

fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}

fn write_signed(
    mut params: CertificateParams,
    authority: &Issuer<'_, KeyPair>,
    certificate: &Path,
    key: &Path,
) -> Result<()> {
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pair = KeyPair::generate()?;
    fs::write(certificate, params.signed_by(&pair, authority)?.pem())?;
    write_private(key, &pair.serialize_pem())
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
