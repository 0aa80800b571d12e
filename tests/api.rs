//! Does the API keep its promises to objects of another version, and is the schema one that every API server takes?

use password_reset_operator::api::conditions::{ConditionType, FailureCategory, Reason};
use password_reset_operator::api::identity_provider::{IdentityProviderSpec, ProviderType, RateLimit};
use password_reset_operator::api::password_reset_policy::{AccountState, Mode, ReasonType, Scope, Strategy};
use password_reset_operator::api::{self, ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};

const PROVIDER: &str = r#"{
    "apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider", "metadata": { "name": "p" },
    "spec": { "keycloak": { "baseURL": "https://sso.corp.example", "realm": "staff",
                            "credentialsSecretRef": { "name": "s" } } }
}"#;

fn provider(change: impl FnOnce(&mut Value)) -> IdentityProvider {
    let mut object: Value = serde_json::from_str(PROVIDER).expect("JSON");
    change(&mut object);
    serde_json::from_value(object).expect("decodes")
}

#[test]
fn a_provider_this_version_does_not_know_decodes_as_none_of_those_it_knows() {
    let newer = provider(|object| object["spec"] = json!({ "okta": { "domain": "corp.okta.com" } }));
    assert_eq!(newer.spec.block.provider_type(), None);
    assert_eq!(newer.spec.block.credentials_secret_ref(), None);
    assert_eq!(newer.spec.rate_limit, RateLimit::default());
}

#[test]
fn fields_and_words_of_a_newer_version_do_not_stop_decoding() {
    let newer = provider(|object| {
        object["spec"]["keycloak"]["organization"] = json!("acme");
        object["spec"]["guardrails"] = json!({ "maxWrites": 10 });
        object["status"] = json!({ "type": "Okta", "capabilities": ["Telepathy"], "moon": { "phase": 3 },
            "conditions": [{ "type": "Ready", "status": "False", "reason": "MoonPhase", "message": "",
                             "lastTransitionTime": "2026-11-20T22:00:00Z", "moon": true }] });
    });
    assert_eq!(newer.spec.block.provider_type(), Some(ProviderType::Keycloak));
    assert_eq!(newer.status.expect("a status").type_.as_deref(), Some("Okta"));

    let policy: PasswordResetPolicy = serde_json::from_value(json!({
        "apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy", "metadata": { "name": "p" },
        "spec": { "mode": "Observe", "requirement": { "maxPasswordAgeDays": 90 }, "rollout": { "waves": [1] },
                  "targets": [{ "name": "a", "providerRef": { "name": "p" }, "scope": "Tenant", "moon": 1 }] },
        "status": { "counts": { "targeted": 1, "moonstruck": 1 },
                    "failures": [{ "target": "a", "subject": "u1", "category": "Moonstruck",
                                   "firstSeen": "2026-11-20T22:00:00Z" }] },
    }))
    .expect("decodes");
    let status = policy.status.expect("a status");
    assert_eq!(status.counts.expect("counts").targeted, 1);
    assert_eq!(status.failures[0].category, "Moonstruck");
}

#[test]
fn what_is_left_out_means_the_same_here_as_at_the_api_server() {
    let spec = provider(|_| ()).spec;
    assert_eq!((spec.probe_period_seconds, spec.observe_period_seconds(), spec.suspend), (300, 900, false));
    let policy: PasswordResetPolicy = serde_json::from_value(json!({
        "apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy", "metadata": { "name": "p" },
        "spec": { "mode": "Enforce", "requirement": { "maxPasswordAgeDays": 90 },
                  "targets": [{ "name": "a", "providerRef": { "name": "p" }, "scope": "Tenant" }] },
    }))
    .expect("decodes");
    let target = &policy.spec.targets[0];
    assert_eq!((policy.spec.mode, target.scope, target.strategy), (Mode::Enforce, Scope::Tenant, Strategy::PerUser));
    assert_eq!(target.account_states, [AccountState::Active]);
}

#[test]
fn looker_is_looked_at_once_a_day_unless_told_otherwise() {
    let looker = json!({ "looker": { "baseURL": "https://corp.example", "credentialsSecretRef": { "name": "s" } } });
    let spec: IdentityProviderSpec = serde_json::from_value(looker.clone()).expect("decodes");
    assert_eq!(spec.observe_period_seconds(), 86_400);
    let mut told = looker;
    told["observePeriodSeconds"] = json!(60);
    let spec: IdentityProviderSpec = serde_json::from_value(told).expect("decodes");
    assert_eq!(spec.observe_period_seconds(), 60);
}

#[test]
fn a_cluster_provider_is_offered_to_the_namespaces_it_names_and_to_no_other() {
    let offered = |namespaces: Value| -> ClusterIdentityProvider {
        let mut object: Value = serde_json::from_str(PROVIDER).expect("JSON");
        object["kind"] = json!("ClusterIdentityProvider");
        object["spec"]["allowedNamespaces"] = namespaces;
        serde_json::from_value(object).expect("decodes")
    };
    let some = offered(json!(["security", "it"])).spec;
    assert!(some.allows("security") && some.allows("it"));
    assert!(!some.allows("secur") && !some.allows("") && !some.allows("*"));
    assert!(offered(json!(["*"])).spec.allows("anything"));
    assert_eq!(some.provider.block.provider_type(), Some(ProviderType::Keycloak));
}

#[test]
fn the_names_in_json_are_those_of_the_documentation() {
    let written = json!({
        "pingOne": { "environmentID": "e", "workerEnvironmentID": "w", "baseURL": "https://a", "authURL": "https://b",
                     "credentialsSecretRef": { "name": "s" } },
        "rateLimit": { "requestsPerSecond": 30, "burst": 30, "maxConcurrentRequests": 8 },
        "protectedUsers": [{ "username": "break-glass-1" }, { "email": "root@corp.example" }, { "id": "1" }],
        "suspend": true, "access": "ReadOnly", "observePeriodSeconds": 60, "probePeriodSeconds": 60, "pageSize": 100,
        "tls": { "caBundleConfigMapRef": { "name": "ca", "key": "ca.crt" } },
    });
    let spec: IdentityProviderSpec = serde_json::from_value(written.clone()).expect("decodes");
    assert_eq!(serde_json::to_value(spec).expect("JSON"), written);
    let written = json!({
        "mode": "Enforce", "reason": { "type": "Compromise", "reference": "INC-4711" },
        "requirement": { "passwordChangedAfter": "2026-11-20T22:00:00Z" },
        "targets": [{
            "name": "workforce", "providerRef": { "kind": "ClusterIdentityProvider", "name": "pingone-prod" },
            "scope": "Selected", "users": [{ "email": "alice@corp.example" }, { "username": "bob" }, { "id": "8f4c" }],
            "usersFrom": [{ "format": "Email", "secretRef": { "name": "leak", "key": "users.txt" } },
                          { "format": "ID", "configMapRef": { "name": "list", "key": "ids" } }],
            "groups": ["contractors"], "populations": ["Staff"],
            "exclude": { "groups": ["contractors-kiosk"] },
            "missingUsers": "Skip", "accountStates": ["Active", "Locked", "Disabled"], "strategy": "PerUser",
        }],
        "action": { "sessions": "Revoke" }, "readyWhen": "Changed", "suspend": false,
    });
    let spec: api::password_reset_policy::PasswordResetPolicySpec =
        serde_json::from_value(written.clone()).expect("decodes");
    assert_eq!(serde_json::to_value(spec).expect("JSON"), written);
}

#[test]
fn the_more_urgent_reason_comes_first() {
    use ReasonType::{Compliance, Compromise, Exercise, Hygiene, SuspectedCompromise};
    let mut shuffled = [Exercise, Compliance, Compromise, Hygiene, SuspectedCompromise];
    shuffled.sort();
    assert_eq!(shuffled, [Compromise, SuspectedCompromise, Compliance, Hygiene, Exercise]);
}

/// What the API server asks of `conditions[].type` and `conditions[].reason`, and what monitoring was built upon.
#[test]
fn every_word_can_stand_in_a_condition_and_none_is_said_twice() {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let categories = FailureCategory::ALL.iter().map(|category| category.as_str());
    let mut words: Vec<&str> = reasons.chain(categories).chain([ConditionType::DriftDetected.as_str()]).collect();
    let count = words.len();
    assert_eq!(count, 37 + 6 + 1);
    for word in &words {
        assert!(word.starts_with(|first: char| first.is_ascii_uppercase()), "{word}");
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric()) && word.len() <= 64, "{word}");
    }
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
    for reason in Reason::ALL {
        assert!(reason.description().ends_with('.') && reason.remedy().ends_with('.'), "{reason}");
        assert!(!reason.description().contains('|') && !reason.remedy().contains('|'), "{reason}: breaks the table");
    }
}

/// The rules of structural schemas, and the formats that OpenAPI v3 knows. A server that is newer or stricter than the
/// one of the tests refuses, or warns about, anything else.
#[test]
fn the_schemas_are_structural() {
    for crd in api::crds() {
        let schema =
            crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()).expect("a schema");
        structural(&serde_json::to_value(schema).expect("JSON"), &crd.spec.names.kind);
    }
}

fn structural(schema: &Value, path: &str) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("{path}: not an object"));
    assert!(schema.contains_key("type"), "{path}: no type");
    for keyword in ["$ref", "const", "patternProperties", "oneOf", "anyOf", "allOf", "not", "uniqueItems"] {
        assert!(!schema.contains_key(keyword), "{path}: {keyword}");
    }
    assert!(!(schema.contains_key("properties") && schema.contains_key("additionalProperties")), "{path}: both");
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        assert!(["int32", "int64", "date-time"].contains(&format), "{path}: format {format}");
    }
    let is = |kind: &str| schema["type"] == kind;
    let in_spec = path.contains(".spec");
    if in_spec && is("string") && !schema.contains_key("enum") && !schema.contains_key("format") {
        assert!(schema.contains_key("maxLength") && schema.contains_key("minLength"), "{path}: unbounded string");
    }
    if in_spec && is("integer") {
        assert!(schema.contains_key("minimum") && schema.contains_key("maximum"), "{path}: unbounded number");
    }
    if is("array") {
        assert!(schema.contains_key("maxItems"), "{path}: unbounded list");
        structural(&schema["items"], &format!("{path}[]"));
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        structural(field, &format!("{path}.{name}"));
        if in_spec {
            let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(description.ends_with('.'), "{path}.{name}: kubectl explain has no sentence to say");
        }
    }
}
