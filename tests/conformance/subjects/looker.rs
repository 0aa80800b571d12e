//! Looker. Besides the people there is the API user, who has no password.

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::provider::http::HttpSettings;
use password_reset_operator::provider::{ErrorKind, Provider, looker};
use simulators::{Credentials, Handle, Options};
use url::Url;

use super::simulated::Vendor;

/// See the module.
pub struct Looker;

impl Vendor for Looker {
    const CAPABILITIES: &'static Capabilities = &looker::CAPABILITIES;
    const TOKENS: bool = true;
    const PAGE_SIZE: &'static str = "limit";
    const NOBODY: &'static str = "999999";
    const WRITE_TO_NOBODY: ErrorKind = ErrorKind::Forbidden;

    async fn start(options: Options) -> std::io::Result<Handle> {
        simulators::Looker::start(options).await
    }

    fn is_authentication(path: &str) -> bool {
        path.ends_with("/login")
    }

    fn connect(
        _tenant: &Handle,
        origins: &[Url],
        credentials: Credentials,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider> {
        let config = looker::LookerConfig {
            base_url: origins[0].clone(),
            client_id: credentials.client_id,
            client_secret: credentials.client_secret.into(),
            page_size,
        };
        Box::new(looker::Looker::connect(config, settings).expect("a client"))
    }
}
