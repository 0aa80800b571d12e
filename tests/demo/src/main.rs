//! `make demo`: one campaign over four identity providers, from nothing to everybody's new password, in front of one's eyes.
//!
//! | file | what it answers |
//! |---|---|
//! | [`stage`] | what has to stand before it begins |
//! | [`campaign`] | what happens, and what is claimed about it |
//! | [`claims`] | was it so |
//! | [`tenants`] | who are the people, and what is true about them |
//! | [`cluster`], [`operator`], [`rights`], [`examples`] | how do cluster, operator and objects come about |
//! | [`status`], [`table`], [`screen`] | how is it read and shown |
//!
//! It shares no code with the operator: it reads status as JSON, and takes its truth from the providers.

mod campaign;
mod claims;
mod cluster;
mod examples;
mod operator;
mod repository;
mod rights;
mod screen;
mod stage;
mod status;
mod table;
mod tenants;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::campaign::Campaign;
use crate::claims::Claims;
use crate::screen::{Ink, Screen, seconds};
use crate::stage::Stage;

/// Shows a campaign of the operator on a real API server, with a real Keycloak and simulators of PingOne, Looker and
/// MonoCloud. In a terminal it stays until Ctrl-C; elsewhere it ends with 0 if and only if every statement it made held.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Use the cluster of this context of your own kubeconfig. What is created there carries a label of this run and is
    /// removed at the end.
    #[arg(long, env = "KUBE_CONTEXT")]
    context: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::new();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&screen, &arguments));
    // A build in progress does not hold up the end; it ends with this process.
    runtime.shutdown_background();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{} {error:#}", screen.ink(Ink::Red, "demo:"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every statement held.
async fn run(screen: &Screen, arguments: &Arguments) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stopped = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    let context = arguments.context.as_deref().filter(|name| !name.is_empty());
    let mut claims = Claims::new(*screen);
    let mut stage = Stage::default();
    let played = tokio::select! {
        played = play(screen, context, &mut stage, &mut claims) => Some(played),
        () = stopped() => None,
    };
    let result = match played {
        Some(Ok(())) => {
            screen.line("");
            screen.line(&format!("{} It took {}.", claims.summary(), seconds(screen.elapsed())));
            if screen.is_interactive() {
                stage.invite(screen);
                stopped().await;
                screen.line("");
            }
            Ok(claims.all_held())
        }
        Some(Err(error)) => Err(error),
        None => {
            screen.line("");
            screen.note("Stopped before the end.");
            Ok(false)
        }
    };
    tokio::select! {
        ended = stage.end(screen) => ended?,
        () = stopped() => screen.note("Stopped while tidying up."),
    }
    result
}

async fn play(screen: &Screen, context: Option<&str>, stage: &mut Stage, claims: &mut Claims) -> Result<()> {
    screen.line(&screen.ink(Ink::Bold, "One campaign over four identity providers"));
    screen.line(&screen.ink(Ink::Dim, "Everything that is started here ends with this command."));
    stage.set(screen, context).await?;
    let mut campaign = Campaign::new(screen, claims, stage)?;
    campaign.install().await?;
    campaign.require_of_everybody().await?;
    campaign.leave_out_who_cannot_be_required().await?;
    campaign.people_change_their_passwords().await?;
    campaign.restart_asks_nobody_twice().await?;
    campaign.compare_with_the_ledgers().await
}
