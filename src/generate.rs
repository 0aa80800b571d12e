//! Which files of the repository are written by the code, and with what content?
//!
//! Pure: [`generated_files`] returns them, `cargo run --bin generate` writes them, and a test in
//! `tests/repository.rs` compares them with what is committed.

use std::fmt::Write as _;

use serde_json::Value;

use crate::api::conditions::SaidBy;
use crate::api::{self, FailureCategory, Reason};

/// The command that writes the files.
pub const COMMAND: &str = "cargo run --bin generate";

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
    page
}
