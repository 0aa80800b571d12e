//! Runs one simulator until it is killed. The first line on standard output is JSON with the addresses and credentials.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::json;
use simulators::{Faults, Handle, Looker, Mix, MonoCloud, Options, PingOne, Population};

/// A simulator of PingOne, Looker or MonoCloud on 127.0.0.1.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which vendor.
    provider: Provider,
    /// How many users.
    #[arg(long, default_value_t = 100)]
    users: u32,
    /// Two runs with one seed have equal users, ids and credentials.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Port; 0 for a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// PingOne: port of the token endpoint; 0 for a free one.
    #[arg(long, default_value_t = 0)]
    auth_port: u16,
    /// `ordinary`, `awkward`, or a JSON list such as [["disabled",{"count":3}],["without_effect",{"per_mille":10}]].
    #[arg(long, default_value = "ordinary")]
    population: String,
    /// File with switches as JSON, as `PUT /_control/faults` takes them.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// The moment that generated times are relative to, such as 2026-01-31T00:00:00Z; the start if absent.
    #[arg(long)]
    epoch: Option<jiff::Timestamp>,
    /// Looker: the API user has an e-mail credential of its own.
    #[arg(long)]
    api_user_has_credential: bool,
    /// PingOne: the worker application lives in an environment of its own.
    #[arg(long)]
    separate_worker_environment: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Provider {
    Pingone,
    Looker,
    Monocloud,
}

fn mix(text: &str) -> anyhow::Result<Mix> {
    match text {
        "ordinary" => Ok(Mix::Ordinary),
        "awkward" => Ok(Mix::Awkward),
        list => Ok(Mix::Classes(
            serde_json::from_str(list)
                .context("--population is neither `ordinary` nor `awkward` nor a JSON list of classes")?,
        )),
    }
}

fn options(arguments: &Arguments) -> anyhow::Result<Options> {
    let population = Population { users: arguments.users, seed: arguments.seed, mix: mix(&arguments.population)? };
    let mut options = Options::new(population);
    if let Some(path) = &arguments.faults {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        options.faults =
            serde_json::from_str::<Faults>(&text).with_context(|| format!("{} holds no switches", path.display()))?;
    }
    options.epoch = arguments.epoch;
    options.port = arguments.port;
    options.auth_port = arguments.auth_port;
    options.api_user_has_credential = arguments.api_user_has_credential;
    options.separate_worker_environment = arguments.separate_worker_environment;
    Ok(options)
}

fn announcement(provider: Provider, handle: &Handle) -> serde_json::Value {
    let credentials = handle.credentials();
    let mut line = json!({"baseURL": handle.base_url(), "control": format!("{}/_control/summary", handle.base_url())});
    match provider {
        Provider::Pingone => {
            line["provider"] = "pingone".into();
            line["authURL"] = handle.auth_url().into();
            line["environmentID"] = handle.environment_id().into();
            line["workerEnvironmentID"] = handle.worker_environment_id().into();
        }
        Provider::Looker => {
            line["provider"] = "looker".into();
            line["apiUserID"] = handle.api_user_id().into();
        }
        Provider::Monocloud => line["provider"] = "monocloud".into(),
    }
    if matches!(provider, Provider::Monocloud) {
        line["apiKey"] = credentials.api_key.into();
    } else {
        line["clientID"] = credentials.client_id.into();
        line["clientSecret"] = credentials.client_secret.into();
    }
    line
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = options(&arguments)?;
    let port = arguments.port;
    let handle = match arguments.provider {
        Provider::Pingone => PingOne::start(options).await,
        Provider::Looker => Looker::start(options).await,
        Provider::Monocloud => MonoCloud::start(options).await,
    }
    .with_context(|| format!("cannot start on port {port} of 127.0.0.1"))?;
    println!("{}", announcement(arguments.provider, &handle));
    std::future::pending().await
}
