//! Entry point: settings → telemetry → [`controller::run`].

use anyhow::Context as _;
use clap::Parser;
use password_reset_operator::{controller, settings::Settings, telemetry};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    leave_no_core().context("core dumps cannot be switched off")?;
    telemetry::logs::start(&settings.log).context("LOG is not a valid filter")?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed first"))?;
    controller::run(settings).await
}

/// A core dump would hold every credential. The limit is for those in files; one that is piped to a program, as systemd
/// does, obeys the other (core(5)).
fn leave_no_core() -> rustix::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}
