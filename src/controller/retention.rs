//! How long is the ledger of a campaign kept that nobody wants any more?
//!
//! A ledger outlives its policy, so that the same policy applied again asks nobody twice. After the retention it goes, and
//! so does that of a policy that was deleted and created anew with another requirement.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::PolicyObject;
use super::context::Context;
use crate::plan::desired;

/// When a ledger was first seen without its policy, as an annotation on its head.
const ORPHANED: &str = "passwordreset.dev/policy-gone-since";
/// How often the ledgers are looked through.
const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Looks through the ledgers for ever.
pub async fn run(context: &Context) {
    loop {
        if let Err(error) = sweep(context, Timestamp::now()).await {
            tracing::warn!(%error, "ledgers could not be looked through; tried again later");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn sweep(context: &Context, now: Timestamp) -> Result<(), kube::Error> {
    let served = context.settings.namespaces();
    for (key, head) in context.ledgers.heads().await? {
        let (namespace, policy) = (key.namespace.as_str(), key.policy.as_str());
        // Of namespaces that are not served, nothing is known.
        if !served.is_empty() && !served.contains(&key.namespace) {
            continue;
        }
        let exists = match context.policies.get(Some(namespace), policy).as_deref() {
            Some(PolicyObject { 0: Ok(policy) }) => desired::epoch(&policy.spec).is_none_or(|epoch| epoch == key.epoch),
            // One that does not decode is there all the same.
            Some(_) => true,
            None => false,
        };
        let since = head.annotations().get(ORPHANED).and_then(|s| s.parse::<Timestamp>().ok());
        match (exists, since) {
            (true, Some(_)) => annotate(context, &head.name_any(), None).await?,
            (false, None) => annotate(context, &head.name_any(), Some(now)).await?,
            (false, Some(since)) if is_over(since, context.settings.ledger_retention_days, now) => {
                tracing::info!(
                    namespace,
                    policy,
                    "the ledger of a policy that is gone has reached its retention and is deleted"
                );
                context.ledgers.delete(&key).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_over(since: Timestamp, days: u32, now: Timestamp) -> bool {
    let hours = i64::from(days) * 24;
    since.checked_add(hours.hours()).is_ok_and(|end| end <= now)
}

async fn annotate(context: &Context, name: &str, since: Option<Timestamp>) -> Result<(), kube::Error> {
    let value = since.map(|s| s.to_string());
    let patch = json!({"metadata": {"annotations": {ORPHANED: value}}});
    context.ledgers.api().patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_goes_when_its_days_are_over_and_not_before() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(!is_over(since, 90, "2026-03-31T23:59:59Z".parse().unwrap()));
        assert!(is_over(since, 90, "2026-04-01T00:00:00Z".parse().unwrap()));
    }
}
