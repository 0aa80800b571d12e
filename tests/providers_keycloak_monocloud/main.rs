//! Do the Keycloak and MonoCloud providers say and do what they promise, on a real Keycloak and on the MonoCloud simulator?
//!
//! Counts come from the other side: a counting proxy in front of Keycloak and its admin events, the simulator's counters
//! and ledger.

mod keycloak;
mod monocloud;
#[path = "../support/proxy.rs"]
mod proxy;

use std::sync::Arc;

use password_reset_operator::plan::observed::{Account, Listing};
use password_reset_operator::provider::http::{AddressRules, HttpSettings, Limiter, Limits, Network, Origin};
use password_reset_operator::provider::{Gate, Provider, ProviderError};
use url::Url;

/// Settings without pressure, bound to the origin of `url`.
fn settings(url: &Url) -> HttpSettings {
    let limits = Limits { requests_per_second: 10_000.0, burst: 10_000, max_concurrent_requests: 8 };
    let here = AddressRules::parse(&["127.0.0.0/8"]).expect("a network");
    let network = Network::new(here, None, Vec::new()).expect("a way out");
    HttpSettings { network, ..HttpSettings::new(Limiter::new(limits), vec![Origin::of(url).expect("an http origin")]) }
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("an address")
}

fn open() -> Gate {
    Arc::new(|| true)
}

fn closed() -> Gate {
    Arc::new(|| false)
}

/// A listing to its end, page by page.
async fn pages(provider: &dyn Provider, listing: &Listing) -> Result<Vec<Vec<Account>>, ProviderError> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let page = provider.list(listing, cursor.as_ref()).await?;
        pages.push(page.accounts);
        assert!(pages.len() < 1_000, "the listing does not end");
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(pages),
        }
    }
}

async fn everybody(provider: &dyn Provider) -> Vec<Account> {
    pages(provider, &Listing::Tenant).await.expect("a listing").concat()
}
