//! PingOne.

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::provider::http::{ClientAuth, HttpSettings};
use password_reset_operator::provider::{Provider, pingone};
use simulators::{Credentials, Handle, Options};
use url::Url;

use super::simulated::Vendor;

/// See the module.
pub struct PingOne;

impl Vendor for PingOne {
    const CAPABILITIES: &'static Capabilities = &pingone::CAPABILITIES;
    const TOKENS: bool = true;
    const PAGE_SIZE: &'static str = "limit";
    const NOBODY: &'static str = "3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11";

    async fn start(options: Options) -> std::io::Result<Handle> {
        simulators::PingOne::start(options).await
    }

    fn is_authentication(path: &str) -> bool {
        path.ends_with("/as/token")
    }

    fn connect(
        tenant: &Handle,
        origins: &[Url],
        credentials: Credentials,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider> {
        let config = pingone::PingOneConfig {
            environment_id: tenant.environment_id(),
            worker_environment_id: None,
            client_auth: ClientAuth::Basic,
            api_base: origins[0].clone(),
            auth_base: origins[1].clone(),
            client_id: credentials.client_id,
            client_secret: credentials.client_secret.into(),
            page_size,
        };
        Box::new(pingone::PingOne::connect(config, settings).expect("a client"))
    }

    fn population(tenant: &Handle, index: u32) -> Option<&'static str> {
        Some(tenant.population_at(index))
    }
}
