//! Was that right? By the provider's own records, the truth of its accounts, and the API server's records.

use std::collections::BTreeMap;

use serde_json::Value;
use testbed::proxy::{Call, Record};

use crate::bed::View;
use crate::points::{KUBERNETES, STATUS};
use crate::site::{Act, PAGE, Site, Truth, USERS};
use crate::tenant::Vendor;

/// Pages of a whole listing.
pub const PAGES: u64 = (USERS / PAGE) as u64;
/// The first thing that an operator asks is who it is.
pub const WHO_AM_I: &str = "create authentication.k8s.io/selfsubjectreviews";

/// Whether the policy waits for nothing but people or a human, and has been looked at if somebody asked for it.
pub fn is_at_rest(view: &View) -> bool {
    let asked = &view.0["metadata"]["annotations"]["passwordreset.dev/reconcile"];
    let has_looked = asked.is_null() || *asked == view.0["status"]["lastHandledReconcile"];
    has_looked && view.is_current() && view.condition("Reconciling").is_empty() && !view.condition("Ready").is_empty()
}

/// How many people really are what, in the words of `counts`.
struct Numbers {
    enforced: i64,
    done: i64,
    cleared: i64,
}

impl Numbers {
    fn of(truth: &BTreeMap<String, Truth>) -> Self {
        let count = |wanted: fn(&Truth) -> bool| truth.values().filter(|truth| wanted(truth)).count() as i64;
        Self {
            enforced: count(|t| t.marked),
            done: count(|t| !t.marked && t.changed),
            cleared: count(|t| !t.marked && !t.changed),
        }
    }
}

/// What status says that the truth at that moment does not bear out.
pub fn false_claims(status: &Value, truth: &BTreeMap<String, Truth>) -> Vec<String> {
    let numbers = Numbers::of(truth);
    let says = |type_: &str| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.filter(|c| c["type"] == type_).any(|c| c["status"] == "True")
    };
    let mut claims = Vec::new();
    if says("Enforced") && numbers.cleared > 0 {
        claims.push(format!("status says Enforced while {} are neither marked nor changed", numbers.cleared));
    }
    if says("Changed") && numbers.done < truth.len() as i64 {
        claims.push(format!("status says Changed while {} of {} have changed", numbers.done, truth.len()));
    }
    let changed = status["counts"]["changed"].as_i64().unwrap_or_default()
        + status["counts"]["compliant"].as_i64().unwrap_or_default();
    if changed > truth.values().filter(|t| t.changed).count() as i64 {
        claims.push(format!("status counts {changed} as changed, which is more than there are"));
    }
    claims
}

/// What says that a policy is not at rest.
pub fn unrest(view: &View) -> Option<String> {
    let said = || format!("Ready {}, Reconciling {}", view.condition("Ready"), view.condition("Reconciling"));
    (!is_at_rest(view)).then(said)
}

/// How status differs from the truth at rest, if it does.
pub fn differs(view: &View, truth: &BTreeMap<String, Truth>) -> Option<String> {
    if let Some(unrest) = unrest(view) {
        return Some(unrest);
    }
    let numbers = Numbers::of(truth);
    let wanted =
        [("enforced", numbers.enforced), ("cleared", numbers.cleared), ("pending", 0), ("failed", 0), ("unknown", 0)];
    for (name, number) in wanted {
        if view.count(name) != number {
            return Some(format!("{name} is {}, in truth {number}", view.count(name)));
        }
    }
    let done = view.count("changed") + view.count("compliant");
    if done != numbers.done {
        return Some(format!("changed and compliant are {done}, in truth {}", numbers.done));
    }
    let wanted = match (numbers.cleared, numbers.enforced) {
        (0, 0) => ("True Changed", "True Enforced"),
        (0, _) => ("True Enforced", "True Enforced"),
        _ => ("False RequirementCleared", "False RequirementCleared"),
    };
    let (ready, enforced) = (view.condition("Ready"), view.condition("Enforced"));
    let as_wanted = ready == wanted.0 && enforced.split(' ').next() == wanted.1.split(' ').next();
    (!as_wanted).then(|| format!("Ready is {ready} and Enforced is {enforced}, not {wanted:?}"))
}

/// What was done to people that must not have been.
pub async fn harm(site: &Site, records: &[(&'static str, Vec<Record>)]) -> Vec<String> {
    let mut problems = Vec::new();
    let cleared = site.who(Act::Clears);
    let writes = site.writes().await;
    for account in &site.due {
        let of_account: Vec<_> = writes.iter().filter(|write| write.account == *account).collect();
        // What somebody did before the operator kept what it was told.
        let unknown = |act: Act| site.when(account, act).is_some_and(|at| !is_recorded(site, account, records, at));
        // Where changes do not show, people of the open batch who complied meanwhile are asked once more. That they are no
        // more than a batch (25) is not asked here: few comply in a campaign.
        let asked_anyway = site.vendor() == Vendor::Looker && unknown(Act::Complies);
        // A mark that was taken away before anybody had seen it: the account is due like any other.
        let permitted = if asked_anyway || unknown(Act::Clears) { 2 } else { 1 };
        let mut wrong = |what: &str| problems.push(format!("{account}: {what}"));
        for write in &of_account {
            if write.after_change && !asked_anyway {
                wrong("asked after the password was changed");
            }
            if write.again {
                wrong("asked again while the mark was set");
            }
        }
        if of_account.len() > permitted {
            wrong(&format!("{} writes, {permitted} permitted", of_account.len()));
        }
    }
    for (account, truth) in site.truth().await {
        if !truth.marked && !truth.changed && !cleared.contains(&account) {
            problems.push(format!("{account}: lost: neither marked nor changed, and nobody cleared it"));
        }
    }
    let mut stories = Vec::new();
    for problem in &problems {
        let account = problem.split(':').next().unwrap_or_default();
        if site.due.contains(account) {
            stories.push(format!("{problem}\n{}", site.story(account).await));
        } else {
            stories.push(problem.clone());
        }
    }
    stories
}

/// Whether an operator had the answer to a write to the account, and wrote its ledger or the end of a pass afterwards,
/// which comes after the ledger, all of it before a moment and before the next operator began: it was told, and kept it.
fn is_recorded(site: &Site, account: &str, records: &[(&'static str, Vec<Record>)], before: u64) -> bool {
    let all = |kubernetes: bool| {
        let chosen = records.iter().filter(move |(name, _)| (*name == KUBERNETES) == kubernetes);
        chosen.flat_map(|(_, records)| records)
    };
    let good = |status: Option<u16>| status.is_some_and(|status| status < 300);
    let told = all(false)
        .filter(|record| good(record.told))
        .filter(|record| site.written_by(&record.call).as_deref() == Some(account))
        .filter_map(|record| record.answered)
        .min();
    let kept = |after: u64| {
        let keeps = |record: &&Record| {
            let ledger = record.call.template.ends_with(" configmaps") && record.call.method != "GET";
            ledger || record.call.template == STATUS && says_enforced(&record.call)
        };
        let begins = |record: &&Record| record.call.template == WHO_AM_I;
        let next = all(true).filter(begins).map(|record| record.arrived).filter(|arrived| *arrived > after).min();
        let end = next.map_or(before, |next| next.min(before));
        let stored = all(true).filter(|record| good(record.status)).filter(keeps);
        stored.map(|record| record.arrived).any(|arrived| arrived > after && arrived < end)
    };
    told.is_some_and(kept)
}

/// Whether a status says that nobody is left to be required.
fn says_enforced(call: &Call) -> bool {
    let status: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let conditions = status["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|c| c["type"] == "Enforced").any(|c| c["status"] == "True")
}

/// Whether a call lists people.
pub fn lists_people(vendor: Vendor, call: &Call) -> bool {
    let path = call.template.split(' ').next_back().unwrap_or_default();
    match vendor {
        Vendor::Looker => path.contains("/users"),
        _ => path.ends_with("/users"),
    }
}
