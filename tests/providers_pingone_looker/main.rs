//! Do the PingOne and Looker providers say and do what they promise, on their simulators?
//!
//! Counts and truth come from the simulators' counters, ledgers and user tables, never from the providers.

mod looker;
mod pingone;

use std::sync::Arc;

use password_reset_operator::plan::observed::{Account, ChangeTime, Credential, Listing, Mark};
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::http::{AddressRules, HttpSettings, Limiter, Limits, Network, Origin};
use password_reset_operator::provider::{Gate, Provider, ProviderError};
use url::Url;

/// Settings without pressure, bound to these origins.
fn settings(origins: &[&str]) -> HttpSettings {
    let limits = Limits { requests_per_second: 10_000.0, burst: 10_000, max_concurrent_requests: 8 };
    let here = AddressRules::parse(&["127.0.0.0/8"]).expect("a network");
    let network = Network::new(here, None, Vec::new()).expect("a way out");
    let origins = origins.iter().map(|o| Origin::of(&url(o)).expect("an origin")).collect();
    HttpSettings { network, ..HttpSettings::new(Limiter::new(limits), origins) }
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

/// A listing to its end.
async fn rows(provider: &dyn Provider, listing: &Listing) -> Result<Vec<Account>, ProviderError> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    for _ in 0..1_000 {
        let page = provider.list(listing, cursor.as_ref()).await?;
        rows.extend(page.accounts);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(rows),
        }
    }
    panic!("the listing does not end");
}

/// Requires a change of everybody with a local, unmarked, unlocked, enabled password that was not changed at or after the
/// cutoff, the way a campaign does, and returns (completed, written, seen in the write's own answer).
async fn campaign(provider: &dyn Provider, cutoff: jiff::Timestamp) -> (u64, u64, u64) {
    let (mut completed, mut written, mut seen) = (0, 0, 0);
    for row in rows(provider, &Listing::Tenant).await.expect("a listing") {
        completed += u64::from(row.mark == Mark::NotGiven && row.credential == Credential::NotGiven);
        let account = provider.complete(row).await.expect("a read");
        let new = matches!(account.changed, ChangeTime::At(at) if at >= cutoff)
            || account.credential_created.is_some_and(|at| at >= cutoff);
        let due = account.credential == Credential::Local
            && account.mark == Mark::Unmarked
            && account.disabled == Some(false)
            && account.locked == Some(false);
        if !due || new {
            continue;
        }
        let applied = provider.apply(&Step::RequireChange(account.id.clone()), &open()).await.expect("a write");
        written += u64::from(applied.written);
        match applied.seen {
            Some(shown) => {
                assert_eq!((shown.id, shown.mark), (account.id, Mark::Marked));
                seen += 1;
            }
            None => {
                provider.read_back(&account.id).await.expect("a read-back");
            }
        }
    }
    (completed, written, seen)
}

/// Nothing about people and no secret stands in the text of an error.
fn assert_clean(error: &ProviderError) {
    let text = format!("{error} {error:?}").to_lowercase();
    for canary in [simulators::PERSONAL_CANARY, simulators::SECRET_CANARY, "filter=", "cursor=", "?"] {
        assert!(!text.contains(canary), "{text}");
    }
}
