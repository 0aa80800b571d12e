//! Which files of the repository are written by the code, and with what content?
//!
//! Pure: [`generated_files`] returns them, `cargo run --bin generate` writes them, and a test in
//! `tests/repository.rs` compares them with what is committed.

use std::fmt::Write as _;

use serde_json::Value;

use crate::api::conditions::SaidBy;
use crate::api::{self, FailureCategory, Reason};
use crate::plan::capabilities::{Capabilities, Paging, Visibility};
use crate::provider::{keycloak, looker, monocloud, pingone};

/// The command that writes the files.
pub const COMMAND: &str = "cargo run --bin generate";

/// A part of a page that is written by hand: its page, and what stands between its two marks.
pub struct Section {
    /// The page, from the root of the repository.
    pub page: &'static str,
    /// The name in the mark.
    pub name: &'static str,
    /// The content, which ends with a line break.
    pub content: String,
}

impl Section {
    /// `text` with this section renewed. `None` where the page has no such marks.
    pub fn renewed(&self, text: &str) -> Option<String> {
        let begin = format!("<!-- generated: {} -->\n", self.name);
        let start = text.find(&begin)? + begin.len();
        let end = start + text[start..].find("<!-- end of generated -->")?;
        Some(format!("{}{}{}", &text[..start], self.content, &text[end..]))
    }
}

/// Every generated part of a page.
pub fn generated_sections() -> Vec<Section> {
    vec![Section { page: "README.md", name: "providers", content: providers() }]
}

/// What each provider shows and can do, from its capabilities.
fn providers() -> String {
    let all = [&pingone::CAPABILITIES, &looker::CAPABILITIES, &monocloud::CAPABILITIES, &keycloak::CAPABILITIES];
    let mut table = String::from("| |");
    let row = |table: &mut String, head: &str, cell: &dyn Fn(&Capabilities) -> String| {
        let cells: Vec<String> = all.iter().map(|capabilities| cell(capabilities)).collect();
        writeln!(table, "| {head} | {} |", cells.join(" | ")).expect("a String takes everything");
    };
    let yes = |has: bool| if has { "yes" } else { "no" }.to_owned();
    let names: Vec<&str> = all.iter().map(|capabilities| capabilities.name).collect();
    writeln!(table, " {} |\n|---|{}", names.join(" | "), "---|".repeat(all.len())).expect("a String takes everything");
    row(&mut table, "a change is seen by", &|c| {
        match c.visibility {
            Visibility::MarkAndChangeTime => "its time",
            Visibility::MarkAndSignIn => "mark gone and a sign-in since",
        }
        .to_owned()
    });
    row(&mut table, "calls per account that is due", &|c| {
        let dates = c.visibility == Visibility::MarkAndChangeTime && !c.list_shows_change_time;
        let read = u32::from(dates || !c.list_shows_mark);
        format!(
            "{}, and its share of {}",
            c.calls_per_write + read,
            match c.paging {
                Paging::Cursor => "one listing",
                Paging::Offset => "two listings",
            }
        )
    });
    row(&mut table, "users by", &|c| {
        let keys = [(c.keys.id, "id"), (c.keys.username, "username"), (c.keys.email, "email")];
        keys.iter().filter(|(has, _)| *has).map(|(_, key)| *key).collect::<Vec<_>>().join(", ")
    });
    row(&mut table, "groups", &|c| yes(c.groups));
    row(&mut table, "populations", &|c| yes(c.populations));
    row(&mut table, "`sessions: Revoke`", &|c| yes(c.revoke_sessions));
    row(&mut table, "`strategy: TenantNative`", &|c| yes(c.tenant_native));
    row(&mut table, "looked at again every", &|c| format!("{} min", c.observe_period_seconds / 60));
    row(&mut table, "side effects of requiring", &|c| c.side_effects.to_owned());
    row(&mut table, "limits", &|c| c.limits.to_owned());
    table
}

/// Every generated file: its path from the root of the repository, and its whole content.
pub fn generated_files() -> Vec<(String, String)> {
    let mut files = crds();
    files.push(("docs/reasons.md".to_owned(), reasons()));
    files
}

/// `<group>_<plural>.yaml`, one for each kind, in `crds/` and once more in the chart: Helm takes no file, nor a link to
/// one, from outside a chart.
fn crds() -> Vec<(String, String)> {
    api::crds()
        .iter()
        .flat_map(|crd| {
            let mut plain = serde_json::to_value(crd).expect("a CRD is plain data");
            whole_numbers(&mut plain);
            let yaml = serde_yaml::to_string(&plain).expect("plain data always has a YAML form");
            let text = format!("# Written by `{COMMAND}` from src/api/. Do not edit.\n{yaml}");
            let name = format!("crds/{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            [(format!("charts/password-reset-operator/{name}"), text.clone()), (name, text)]
        })
        .collect()
}

/// Writes `10` where the schema's bounds, which are floating-point numbers, would appear as `10.0`: the API server
/// answers with `10`, and GitOps tools compare texts.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15) {
                *number = (whole as i64).into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The words that conditions, events and metrics use.
fn reasons() -> String {
    let mut page = format!(
        "<!-- Written by `{COMMAND}` from src/api/conditions.rs. Do not edit. -->\n\n\
         # Reasons\n\n\
         The `reason` of a condition (the STATUS column of `kubectl get`), of an event, and the label of a metric is one\n\
         of these words. Words may be added, none is renamed. The message beside it says what is meant in your case.\n\n\
         | Reason | Said by | Meaning | What to do |\n|---|---|---|---|\n"
    );
    for reason in Reason::ALL {
        let said_by = match reason.said_by() {
            SaidBy::Provider => "provider",
            SaidBy::Policy => "policy",
            SaidBy::Both => "provider, policy",
        };
        let (meaning, remedy) = (reason.description(), reason.remedy());
        writeln!(page, "| `{reason}` | {said_by} | {meaning} | {remedy} |").expect("a String takes any text");
    }
    page.push_str(
        "\n\"provider\" is an IdentityProvider or a ClusterIdentityProvider, \"policy\" a PasswordResetPolicy.\n\n\
         # Failure categories\n\n\
         Each entry of a policy's `status.failures` carries one of these.\n\n\
         | Category | Meaning |\n|---|---|\n",
    );
    for category in FailureCategory::ALL {
        writeln!(page, "| `{category}` | {} |", category.description()).expect("a String takes any text");
    }
    page.push_str(
        "\n# Why an account is skipped\n\n\
         The message of a condition counts them: `Protected` (or the operator's own account), `NoPassword`, `Federated`\n\
         (another system keeps the password), `Service`, `Active`, `Locked` and `Disabled` (`accountStates` lacks the state;\n\
         looked at again with each pass), `Gone` (it was listed once and is not any more), `Missing` (named by the policy,\n\
         unknown to the provider, and `missingUsers` is `Skip`).\n\n\
         # Condition types\n\n\
         `Ready` is the summary. `Reconciling`: it goes on by itself. `Stalled`: a human must act. `ProviderReady`,\n\
         `Enforced` and `Changed` say how far a policy is, `Enforceable` whether a provider acts on a requirement. `Suspended`\n\
         and `DriftDetected` are there only while they are true.\n",
    );
    page
}
