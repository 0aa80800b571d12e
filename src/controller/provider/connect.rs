//! From a provider block and its Secret to a connection. The one place that knows all providers.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::api::identity_provider::{
    IdentityProviderSpec, Keycloak, Looker, MonoCloud, PingOne, RateLimit, Region, TokenEndpointAuthMethod,
};
use crate::controller::credentials;
use crate::controller::references::Content;
use crate::plan::capabilities::Capabilities;
use crate::plan::failure::ProviderFault;
use crate::provider::http::{ClientAuth, HttpSettings, Limiter, Limits, Network, Origin};
use crate::provider::{ErrorKind, Provider, ProviderError, keycloak, looker, monocloud, pingone};

/// What the objects that a provider refers to hold.
pub struct Material {
    /// The Secret's name, for messages.
    pub secret_name: String,
    /// The Secret.
    pub secret: Arc<Content>,
    /// Certificates that replace the system's roots.
    pub ca_bundle: Option<Vec<u8>>,
}

/// Why there is no connection.
pub struct ConnectError {
    /// The fault to show.
    pub fault: ProviderFault,
    /// What is wrong and what to do.
    pub message: String,
}

impl From<ProviderError> for ConnectError {
    fn from(error: ProviderError) -> Self {
        let fault = match error.kind {
            ErrorKind::TlsFailed => ProviderFault::TlsFailed,
            ErrorKind::EndpointRefused => ProviderFault::EndpointRefused,
            _ => ProviderFault::InvalidSpec,
        };
        Self { fault, message: error.message }
    }
}

impl From<&RateLimit> for Limits {
    fn from(limit: &RateLimit) -> Self {
        let positive = |n: i32| u32::try_from(n).unwrap_or(1).max(1);
        Limits {
            requests_per_second: f64::from(limit.requests_per_second),
            burst: positive(limit.burst),
            max_concurrent_requests: positive(limit.max_concurrent_requests),
        }
    }
}

/// The identity of the tenant that a spec names: objects with the same one share a limiter and their protected users.
///
/// *Errors*: a sentence, where the spec names no provider or an address that cannot be read.
pub fn tenant_id(spec: &IdentityProviderSpec) -> Result<String, String> {
    let block = &spec.block;
    match (&block.ping_one, &block.looker, &block.mono_cloud, &block.keycloak) {
        (Some(ping_one), None, None, None) => Ok(ping_one.environment_id.to_lowercase()),
        (None, Some(looker), None, None) => Ok(origin(&looker.base_url)?.to_string()),
        (None, None, Some(mono_cloud), None) => Ok(origin(&mono_cloud.base_url)?.to_string()),
        (None, None, None, Some(keycloak)) => Ok(format!("{} {}", origin(&keycloak.base_url)?, keycloak.realm)),
        _ => Err("exactly one provider block has to be set".to_owned()),
    }
}

/// Connects: reads the credential, checks that it may go where the spec points, and makes the client. Sends nothing.
pub fn connect(
    spec: &IdentityProviderSpec,
    material: &Material,
    limiter: Arc<Limiter>,
    network: Network,
) -> Result<Arc<dyn Provider>, ConnectError> {
    let block = &spec.block;
    let connecting = Connecting { spec, material, limiter, network };
    match (&block.ping_one, &block.looker, &block.mono_cloud, &block.keycloak) {
        (Some(ping_one), None, None, None) => connecting.ping_one(ping_one),
        (None, Some(looker), None, None) => connecting.looker(looker),
        (None, None, Some(mono_cloud), None) => connecting.mono_cloud(mono_cloud),
        (None, None, None, Some(keycloak)) => connecting.keycloak(keycloak),
        _ => Err(invalid("set exactly one of pingOne, looker, monoCloud, keycloak".to_owned())),
    }
}

struct Connecting<'a> {
    spec: &'a IdentityProviderSpec,
    material: &'a Material,
    limiter: Arc<Limiter>,
    network: Network,
}

impl Connecting<'_> {
    fn ping_one(self, block: &PingOne) -> Result<Arc<dyn Provider>, ConnectError> {
        let (api_base, auth_base) = match (block.region, &block.base_url, &block.auth_url) {
            (Some(region), None, None) => hosts(region),
            (None, Some(base), Some(auth)) => {
                let urls = (url(base).map_err(invalid)?, url(auth).map_err(invalid)?);
                self.bound_to(&[&urls.0, &urls.1])?;
                urls
            }
            _ => return Err(invalid("give either region, or both baseURL and authURL".to_owned())),
        };
        let http = self.http(&[&api_base, &auth_base]);
        let config = pingone::PingOneConfig {
            environment_id: block.environment_id.clone(),
            worker_environment_id: block.worker_environment_id.clone(),
            api_base,
            auth_base,
            client_id: self.client_id()?,
            client_secret: self.value("clientSecret")?,
            client_auth: match block.token_endpoint_auth_method.unwrap_or_default() {
                TokenEndpointAuthMethod::ClientSecretBasic => ClientAuth::Basic,
                TokenEndpointAuthMethod::ClientSecretPost => ClientAuth::Body,
            },
            page_size: self.page_size(&pingone::CAPABILITIES),
        };
        Ok(Arc::new(pingone::PingOne::connect(config, http)?))
    }

    fn looker(self, block: &Looker) -> Result<Arc<dyn Provider>, ConnectError> {
        let base_url = url(&block.base_url).map_err(invalid)?;
        self.bound_to(&[&base_url])?;
        let http = self.http(&[&base_url]);
        let config = looker::LookerConfig {
            base_url,
            client_id: self.client_id()?,
            client_secret: self.value("clientSecret")?,
            page_size: self.page_size(&looker::CAPABILITIES),
        };
        Ok(Arc::new(looker::Looker::connect(config, http)?))
    }

    fn mono_cloud(self, block: &MonoCloud) -> Result<Arc<dyn Provider>, ConnectError> {
        let base_url = url(&block.base_url).map_err(invalid)?;
        self.bound_to(&[&base_url])?;
        let http = self.http(&[&base_url]);
        let config = monocloud::MonoCloudConfig {
            base_url,
            api_key: self.value("apiKey")?,
            page_size: self.page_size(&monocloud::CAPABILITIES),
        };
        Ok(Arc::new(monocloud::MonoCloud::connect(config, http)?))
    }

    fn keycloak(self, block: &Keycloak) -> Result<Arc<dyn Provider>, ConnectError> {
        let base_url = url(&block.base_url).map_err(invalid)?;
        self.bound_to(&[&base_url])?;
        let http = self.http(&[&base_url]);
        let config = keycloak::KeycloakConfig {
            base_url,
            realm: block.realm.clone(),
            auth_realm: block.auth_realm.clone(),
            client_id: self.client_id()?,
            client_secret: self.value("clientSecret")?,
            page_size: self.page_size(&keycloak::CAPABILITIES),
        };
        Ok(Arc::new(keycloak::Keycloak::connect(config, http)?))
    }

    fn http(&self, urls: &[&Url]) -> HttpSettings {
        let origins = urls.iter().filter_map(|url| Origin::of(url)).collect();
        HttpSettings {
            network: self.network.clone(),
            ca_bundle: self.material.ca_bundle.clone(),
            ..HttpSettings::new(self.limiter.clone(), origins)
        }
    }

    fn page_size(&self, capabilities: &Capabilities) -> u32 {
        self.spec.page_size.and_then(|size| u32::try_from(size).ok()).unwrap_or(capabilities.page_size)
    }

    fn value(&self, key: &str) -> Result<SecretString, ConnectError> {
        credentials::value(&self.material.secret, &self.material.secret_name, key).map_err(secret_invalid)
    }

    /// An identifier rather than a secret: it names the client in every request.
    fn client_id(&self) -> Result<String, ConnectError> {
        Ok(self.value("clientID")?.expose_secret().to_owned())
    }

    fn bound_to(&self, urls: &[&Url]) -> Result<(), ConnectError> {
        credentials::bound_to(&self.material.secret, &self.material.secret_name, urls).map_err(secret_invalid)
    }
}

fn invalid(message: String) -> ConnectError {
    ConnectError { fault: ProviderFault::InvalidSpec, message }
}

fn secret_invalid(message: String) -> ConnectError {
    ConnectError { fault: ProviderFault::SecretInvalid, message }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| {
        format!("the URL in the provider block cannot be read ({error}); write https://host[:port][/path]")
    })
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::of(&url(text)?).ok_or_else(|| "the URL in the provider block must start with https://".to_owned())
}

/// The API and the auth host of a PingOne region (developer.pingidentity.com, "PingOne API requests").
fn hosts(region: Region) -> (Url, Url) {
    let tld = match region {
        Region::NA => "com",
        Region::CA => "ca",
        Region::EU => "eu",
        Region::AP => "asia",
        Region::AU => "com.au",
        Region::SG => "sg",
    };
    let parse =
        |host: &str| Url::parse(&format!("https://{host}.pingone.{tld}")).expect("a host of fixed parts is a URL");
    (parse("api"), parse("auth"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(block: serde_json::Value) -> IdentityProviderSpec {
        serde_json::from_value(block).expect("a spec")
    }

    #[test]
    fn a_tenant_is_what_its_provider_calls_it_however_the_url_is_spelt() {
        let secret = serde_json::json!({"name": "s"});
        let id = |block| tenant_id(&spec(block)).unwrap();
        let ping = |environment: &str| serde_json::json!({"pingOne": {"environmentID": environment, "region": "EU", "credentialsSecretRef": secret}});
        assert_eq!(id(ping("3F0C1F7E-7a52-4c5a-9a36-6d7c7c3b0a11")), id(ping("3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11")));
        let looker = |url: &str| serde_json::json!({"looker": {"baseURL": url, "credentialsSecretRef": secret}});
        assert_eq!(id(looker("https://Corp.looker.com:443/api/4.0/")), id(looker("https://corp.looker.com")));
        assert_ne!(id(looker("https://corp.looker.com:19999")), id(looker("https://corp.looker.com")));
        let keycloak = |realm: &str| serde_json::json!({"keycloak": {"baseURL": "https://kc.example/auth", "realm": realm, "credentialsSecretRef": secret}});
        assert_ne!(id(keycloak("a")), id(keycloak("b")));
    }

    #[test]
    fn a_spec_without_a_known_provider_names_no_tenant() {
        assert!(tenant_id(&spec(serde_json::json!({}))).is_err());
    }
}
