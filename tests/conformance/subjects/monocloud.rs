//! MonoCloud.

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::provider::http::HttpSettings;
use password_reset_operator::provider::{Provider, monocloud};
use simulators::{Credentials, Handle, Options};
use url::Url;

use super::simulated::Vendor;

/// See the module.
pub struct MonoCloud;

impl Vendor for MonoCloud {
    const CAPABILITIES: &'static Capabilities = &monocloud::CAPABILITIES;
    const TOKENS: bool = false;
    const PAGE_SIZE: &'static str = "size";
    const NOBODY: &'static str = "zzzzzzzzzzzzzzzzzzzzz";

    async fn start(options: Options) -> std::io::Result<Handle> {
        simulators::MonoCloud::start(options).await
    }

    fn is_authentication(_path: &str) -> bool {
        false
    }

    fn connect(
        _tenant: &Handle,
        origins: &[Url],
        credentials: Credentials,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider> {
        let base_url = origins[0].clone();
        let config = monocloud::MonoCloudConfig { base_url, api_key: credentials.api_key.into(), page_size };
        Box::new(monocloud::MonoCloud::connect(config, settings).expect("a client"))
    }
}
