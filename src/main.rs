//! Entry point: settings → telemetry → [`controller::run`].

use anyhow::Context as _;
use clap::Parser;
use password_reset_operator::{controller, settings::Settings, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    telemetry::logs::start(&settings.log).context("LOG is not a valid filter")?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed first"))?;
    controller::run(settings).await
}
