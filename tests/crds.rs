//! Does a real API server enforce what the CRDs promise?
//!
//! Every validation rule is met by one object that is accepted and one that is refused, with the field and the
//! sentence that the user reads; [`every_rule_is_covered`] keeps the two tables complete. The examples are tried in
//! `tests/examples.rs`.

mod support {
    pub mod api_server;
}

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use password_reset_operator::api;
use serde_json::{Value, json};
use support::api_server::{ApiServer, CLUSTER_PROVIDER, Kind, POLICY, PROVIDER, Refusal};

/// An object that is accepted, one that is refused, and what the refusal says at which field.
struct Case {
    kinds: &'static [Kind],
    field: &'static str,
    says: &'static str,
    accepted: Value,
    refused: Value,
}

/// The same for a change of an object that exists.
struct Change {
    kinds: &'static [Kind],
    field: &'static str,
    says: &'static str,
    from: Value,
    accepted: Value,
    refused: Value,
}

const PROVIDERS: &[Kind] = &[PROVIDER, CLUSTER_PROVIDER];
const POLICIES: &[Kind] = &[POLICY];

const ENVIRONMENT: &str = "3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11";
const URL_SHAPE: &str = "must be scheme, host, port and path only";
const PLAIN_HTTP: &str = "plain http:// is accepted for 127.0.0.1, localhost and [::1] only";
const IDENTIFIES: &str = "identifies the tenant and cannot be changed";

fn ping_one(fields: Value) -> Value {
    let block = json!({ "environmentID": ENVIRONMENT, "credentialsSecretRef": { "name": "s" } });
    json!({ "pingOne": merged(block, fields) })
}

fn ping_one_at(base: &str, auth: &str) -> Value {
    ping_one(json!({ "baseURL": base, "authURL": auth }))
}

fn looker(url: &str) -> Value {
    json!({ "looker": { "baseURL": url, "credentialsSecretRef": { "name": "s" } } })
}

fn mono_cloud(url: &str) -> Value {
    json!({ "monoCloud": { "baseURL": url, "credentialsSecretRef": { "name": "s" } } })
}

fn keycloak(fields: Value) -> Value {
    let block =
        json!({ "baseURL": "https://sso.corp.example", "realm": "staff", "credentialsSecretRef": { "name": "s" } });
    json!({ "keycloak": merged(block, fields) })
}

/// A provider with one more field beside its block.
fn provider_with(fields: Value) -> Value {
    merged(looker("https://looker.corp.example"), fields)
}

/// A policy with these fields instead of the usual ones.
fn policy(fields: Value) -> Value {
    let usual = json!({
        "mode": "Observe",
        "requirement": { "passwordChangedAfter": "2026-11-20T22:00:00Z" },
        "targets": [{ "name": "staff", "providerRef": { "name": "p" }, "scope": "Tenant" }],
    });
    merged(usual, fields)
}

/// A policy whose one target has these fields instead of the usual ones.
fn target(fields: Value) -> Value {
    let usual = json!({ "name": "staff", "providerRef": { "name": "p" }, "scope": "Tenant" });
    policy(json!({ "targets": [merged(usual, fields)] }))
}

fn selected(fields: Value) -> Value {
    target(merged(json!({ "scope": "Selected", "groups": ["contractors"] }), fields))
}

fn requirement(fields: Value) -> Value {
    policy(json!({ "requirement": fields }))
}

fn merged(mut into: Value, fields: Value) -> Value {
    let (Value::Object(to), Value::Object(from)) = (&mut into, fields) else { panic!("both must be objects") };
    to.extend(from);
    into
}

fn cases() -> Vec<Case> {
    let mut all = vec![
        Case {
            kinds: PROVIDERS,
            field: "spec",
            says: "give exactly one provider block",
            accepted: looker("https://looker.corp.example"),
            refused: merged(looker("https://looker.corp.example"), keycloak(json!({}))),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec",
            says: "give exactly one provider block",
            accepted: keycloak(json!({})),
            refused: json!({ "suspend": true }),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.pingOne",
            says: "give either region, or both baseURL and authURL",
            accepted: ping_one(json!({ "region": "EU" })),
            refused: ping_one(json!({ "region": "EU", "baseURL": "https://proxy.corp.example" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.pingOne",
            says: "give either region, or both baseURL and authURL",
            accepted: ping_one_at("https://proxy.corp.example/v1", "https://proxy.corp.example/auth"),
            refused: ping_one(json!({ "authURL": "https://proxy.corp.example" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.pingOne.environmentID",
            says: "must be the environment's UUID",
            accepted: ping_one(json!({ "region": "NA" })),
            refused: ping_one(json!({ "region": "NA", "environmentID": "production" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.pingOne.workerEnvironmentID",
            says: "must be the environment's UUID",
            accepted: ping_one(json!({ "region": "NA", "workerEnvironmentID": ENVIRONMENT })),
            refused: ping_one(json!({ "region": "NA", "workerEnvironmentID": "3f0c1f7e" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.keycloak",
            says: "set allowPlainHTTP: true",
            accepted: keycloak(json!({ "baseURL": "http://keycloak.identity.svc:8080", "allowPlainHTTP": true })),
            refused: keycloak(json!({ "baseURL": "http://keycloak.identity.svc:8080" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.keycloak",
            says: "set allowPlainHTTP: true",
            accepted: keycloak(json!({ "baseURL": "http://localhost:8080/auth" })),
            refused: keycloak(json!({ "baseURL": "http://localhost.corp.example", "allowPlainHTTP": false })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.keycloak.baseURL",
            says: "must begin with https://",
            accepted: keycloak(json!({ "baseURL": "https://sso.corp.example/auth/" })),
            refused: keycloak(json!({ "baseURL": "ftp://sso.corp.example", "allowPlainHTTP": true })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.keycloak.baseURL",
            says: URL_SHAPE,
            accepted: keycloak(json!({ "baseURL": "https://[2001:db8::1]:8443" })),
            refused: keycloak(json!({ "baseURL": "https://sso.corp.example#fragment" })),
        },
        Case {
            kinds: PROVIDERS,
            field: "spec.protectedUsers[0]",
            says: "name each user by exactly one of id, username or email",
            accepted: provider_with(json!({ "protectedUsers": [{ "username": "break-glass-1" }] })),
            refused: provider_with(json!({ "protectedUsers": [{ "username": "root", "email": "root@corp.example" }] })),
        },
        Case {
            kinds: &[CLUSTER_PROVIDER],
            field: "spec.allowedNamespaces",
            says: "or the single entry \"*\", not both",
            accepted: provider_with(json!({ "allowedNamespaces": ["*"] })),
            refused: provider_with(json!({ "allowedNamespaces": ["*", "security"] })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.requirement",
            says: "give exactly one of passwordChangedAfter (a date) or maxPasswordAgeDays (an age)",
            accepted: requirement(json!({ "maxPasswordAgeDays": 90 })),
            refused: requirement(json!({ "maxPasswordAgeDays": 90, "passwordChangedAfter": "2026-11-20T22:00:00Z" })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.requirement",
            says: "give exactly one of passwordChangedAfter (a date) or maxPasswordAgeDays (an age)",
            accepted: requirement(json!({ "passwordChangedAfter": "2026-11-20T23:00:00+01:00" })),
            refused: requirement(json!({})),
        },
        Case {
            kinds: POLICIES,
            field: "spec.requirement.passwordChangedAfter",
            says: "write whole seconds",
            accepted: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:01Z" })),
            refused: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:00.5Z" })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.requirement.passwordChangedAfter",
            says: "write whole seconds",
            accepted: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:00Z" })),
            refused: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:00.000001Z" })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.requirement.passwordChangedAfter",
            says: "too far ahead",
            accepted: requirement(json!({ "passwordChangedAfter": "9998-12-31T23:59:59Z" })),
            refused: requirement(json!({ "passwordChangedAfter": "9999-12-31T23:59:59Z" })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets",
            says: "two targets have the same providerRef",
            accepted: policy(json!({ "targets": [
                { "name": "a", "providerRef": { "name": "p" }, "scope": "Tenant" },
                { "name": "b", "providerRef": { "name": "p", "kind": "ClusterIdentityProvider" }, "scope": "Tenant" },
            ] })),
            refused: policy(json!({ "targets": [
                { "name": "a", "providerRef": { "name": "p" }, "scope": "Tenant" },
                { "name": "b", "providerRef": { "name": "p", "kind": "IdentityProvider" }, "scope": "Tenant" },
            ] })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "scope Tenant means everybody: remove users, usersFrom, groups and populations",
            accepted: target(json!({ "exclude": { "groups": ["kiosk"] } })),
            refused: target(json!({ "users": [{ "username": "bob" }] })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "scope Selected selects nobody: give at least one of users, usersFrom, groups or populations",
            accepted: target(json!({ "scope": "Selected", "populations": ["Contractors"] })),
            refused: target(json!({ "scope": "Selected", "users": [] })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "write scope: Tenant, or strategy: PerUser",
            accepted: target(json!({ "strategy": "TenantNative", "accountStates": ["Active", "Disabled"] })),
            refused: selected(json!({ "strategy": "TenantNative", "accountStates": ["Active", "Disabled"] })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "remove exclude, or write strategy: PerUser",
            accepted: target(json!({ "exclude": { "users": [{ "id": "1" }] } })),
            refused: target(json!({
                "strategy": "TenantNative",
                "accountStates": ["Active", "Disabled"],
                "exclude": { "users": [{ "id": "1" }] },
            })),
        },
        Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "add Disabled to accountStates, or write strategy: PerUser",
            accepted: target(json!({ "strategy": "TenantNative", "accountStates": ["Disabled"] })),
            refused: target(json!({ "strategy": "TenantNative" })),
        },
    ];
    for list in ["groups", "populations", "usersFrom"] {
        let entry = if list == "usersFrom" { list_source() } else { json!("contractors") };
        all.push(Case {
            kinds: POLICIES,
            field: "spec.targets[0]",
            says: "scope Tenant means everybody",
            accepted: target(json!({ "scope": "Selected", list: [entry] })),
            refused: target(json!({ list: [entry] })),
        });
    }
    for (field, place) in [("spec.targets[0].users[1]", None), ("spec.targets[0].exclude.users[1]", Some("exclude"))] {
        let users = |second: Value| {
            let users = json!({ "users": [{ "email": "alice@corp.example" }, second] });
            selected(place.map_or(users.clone(), |place| json!({ place: users })))
        };
        all.push(Case {
            kinds: POLICIES,
            field,
            says: "name each user by exactly one of id, username or email",
            accepted: users(json!({ "id": "8f4c2a10" })),
            refused: users(json!({})),
        });
    }
    for (field, place) in
        [("spec.targets[0].usersFrom[0]", None), ("spec.targets[0].exclude.usersFrom[0]", Some("exclude"))]
    {
        let list = |source: Value| {
            let lists = json!({ "usersFrom": [source] });
            selected(place.map_or(lists.clone(), |place| json!({ place: lists })))
        };
        all.push(Case {
            kinds: POLICIES,
            field,
            says: "give exactly one of secretRef or configMapRef",
            accepted: list(list_source()),
            refused: list(merged(list_source(), json!({ "configMapRef": { "name": "leak", "key": "users.txt" } }))),
        });
    }
    for (field, at) in [
        ("spec.looker.baseURL", looker as fn(&str) -> Value),
        ("spec.monoCloud.baseURL", mono_cloud),
        ("spec.pingOne.baseURL", |url| ping_one_at(url, "https://auth.corp.example")),
        ("spec.pingOne.authURL", |url| ping_one_at("https://api.corp.example", url)),
    ] {
        for (accepted, refused) in [
            ("https://corp.example:8443/a/b", "https://user:password@corp.example"),
            ("https://corp.example/", "https://corp.example?next=elsewhere"),
            ("https://127.0.0.1:65535", "https://corp.example#fragment"),
            ("https://[2001:db8::1]", r"https:\\corp.example"),
            ("https://a-b.corp.example/~team", "https://corp.example/%2e%2e"),
            ("https://corp.example/v1", "https://corp.example/v1/.."),
            ("https://corp.example", "https://corp.example:65536"),
            ("HTTPS://corp.example", "https://corp example"),
        ] {
            all.push(Case { kinds: PROVIDERS, field, says: URL_SHAPE, accepted: at(accepted), refused: at(refused) });
        }
        for (accepted, refused) in [
            ("http://127.0.0.1:8080", "http://corp.example"),
            ("http://localhost:8080", "http://127.0.0.1.corp.example"),
            ("http://[::1]:8080", "ftp://127.0.0.1"),
        ] {
            all.push(Case { kinds: PROVIDERS, field, says: PLAIN_HTTP, accepted: at(accepted), refused: at(refused) });
        }
    }
    all
}

fn list_source() -> Value {
    json!({ "format": "Email", "secretRef": { "name": "leak-4711", "key": "users.txt" } })
}

fn changes() -> Vec<Change> {
    let region = json!({ "region": "EU" });
    vec![
        Change {
            kinds: PROVIDERS,
            field: "spec",
            says: "the provider type cannot be changed",
            from: looker("https://corp.example"),
            accepted: merged(looker("https://corp.example"), json!({ "suspend": true })),
            refused: mono_cloud("https://corp.example"),
        },
        Change {
            kinds: PROVIDERS,
            field: "spec.pingOne.environmentID",
            says: IDENTIFIES,
            from: ping_one(region.clone()),
            accepted: ping_one_at("https://proxy.corp.example", "https://proxy.corp.example"),
            refused: ping_one(merged(region, json!({ "environmentID": "00000000-7a52-4c5a-9a36-6d7c7c3b0a11" }))),
        },
        Change {
            kinds: PROVIDERS,
            field: "spec.looker.baseURL",
            says: IDENTIFIES,
            from: looker("https://corp.example"),
            accepted: provider_with(looker("https://corp.example")),
            refused: looker("https://elsewhere.example"),
        },
        Change {
            kinds: PROVIDERS,
            field: "spec.monoCloud.baseURL",
            says: IDENTIFIES,
            from: mono_cloud("https://corp.example"),
            accepted: merged(mono_cloud("https://corp.example"), json!({ "access": "ReadOnly" })),
            refused: mono_cloud("https://elsewhere.example"),
        },
        Change {
            kinds: PROVIDERS,
            field: "spec.keycloak.baseURL",
            says: IDENTIFIES,
            from: keycloak(json!({})),
            accepted: keycloak(json!({ "authRealm": "master" })),
            refused: keycloak(json!({ "baseURL": "https://elsewhere.example" })),
        },
        Change {
            kinds: PROVIDERS,
            field: "spec.keycloak.realm",
            says: IDENTIFIES,
            from: keycloak(json!({})),
            accepted: keycloak(json!({ "credentialsSecretRef": { "name": "rotated" } })),
            refused: keycloak(json!({ "realm": "customers" })),
        },
        Change {
            kinds: POLICIES,
            field: "spec.requirement",
            says: "requirement cannot be changed",
            from: policy(json!({})),
            accepted: policy(json!({ "mode": "Enforce", "suspend": true })),
            refused: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:01Z" })),
        },
        Change {
            kinds: POLICIES,
            field: "spec.requirement",
            says: "requirement cannot be changed",
            from: requirement(json!({ "maxPasswordAgeDays": 90 })),
            accepted: merged(requirement(json!({ "maxPasswordAgeDays": 90 })), json!({ "readyWhen": "Changed" })),
            refused: requirement(json!({ "passwordChangedAfter": "2026-11-20T22:00:00Z" })),
        },
    ]
}

#[tokio::test]
async fn each_rule_accepts_what_is_right_and_refuses_what_is_wrong_with_a_sentence() {
    let server = ApiServer::with_crds().await;
    for Case { kinds, field, says, accepted, refused } in cases() {
        for &kind in kinds {
            if let Err(refusal) = server.try_create(kind, &accepted).await {
                panic!("{} {accepted}\nwas refused: {refusal}", kind.name);
            }
            let refusal = server.try_create(kind, &refused).await.expect_err(&refused.to_string());
            assert_says(&refusal, field, says, &refused);
        }
    }
}

#[tokio::test]
async fn what_identifies_a_tenant_or_a_campaign_cannot_be_changed_and_the_rest_can() {
    let server = ApiServer::with_crds().await;
    for Change { kinds, field, says, from, accepted, refused } in changes() {
        for &kind in kinds {
            let name = server.create(kind, &from).await;
            // An object that differs only in the case's own field, whatever the case left at its default.
            if let Err(refusal) = server.try_replace_spec(kind, &name, &accepted).await {
                panic!("{} from {from} to {accepted}\nwas refused: {refusal}", kind.name);
            }
            let refusal =
                server.try_replace_spec(kind, &name, &refused).await.expect_err(&format!("{from} to {refused}"));
            assert_says(&refusal, field, says, &refused);
        }
    }
}

fn assert_says(refusal: &Refusal, field: &str, says: &str, object: &Value) {
    assert!(
        refusal.causes.iter().any(|cause| cause.field == field && cause.message.contains(says)),
        "{object}\nexpected at {field}: …{says}…\ngot {refusal}"
    );
}

#[test]
fn every_rule_is_covered() {
    let tried: Vec<(Kind, String, &str)> = cases()
        .into_iter()
        .map(|case| (case.kinds, case.field, case.says))
        .chain(changes().into_iter().map(|change| (change.kinds, change.field, change.says)))
        .flat_map(|(kinds, field, says)| kinds.iter().map(move |&kind| (kind, without_indices(field), says)))
        .collect();
    for crd in api::crds() {
        let root = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()).expect("a schema");
        let mut rules = Vec::new();
        visit(root, "", &mut |path, schema| {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                rules.push((path.to_owned(), rule.message.clone().expect("every rule has a message")));
            }
        });
        assert!(!rules.is_empty());
        for (path, message) in rules {
            assert!(
                tried.iter().any(|(kind, field, says)| kind.name == crd.spec.names.kind
                    && *field == path
                    && message.contains(says)),
                "{} {path}: no case for the rule that says {message:?}",
                crd.spec.names.kind
            );
        }
    }
}

fn without_indices(field: &str) -> String {
    field.replace("[0]", "").replace("[1]", "")
}

/// Calls `look` for every schema below `schema` with its path; items of a list have the path of the list.
fn visit<'a>(schema: &'a JSONSchemaProps, path: &str, look: &mut impl FnMut(&str, &'a JSONSchemaProps)) {
    look(path, schema);
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        visit(field, &path, look);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        visit(item, path, look);
    }
}

#[tokio::test]
async fn numbers_and_lists_are_accepted_up_to_their_bounds_and_not_beyond() {
    let server = ApiServer::with_crds().await;
    let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let users = |count: usize| (0..count).map(|n| json!({ "id": n.to_string() })).collect::<Vec<_>>();
    let targets = |count: usize| {
        let one = |n| json!({ "name": format!("t{n}"), "providerRef": { "name": format!("p{n}") }, "scope": "Tenant" });
        policy(json!({ "targets": (0..count).map(one).collect::<Vec<_>>() }))
    };
    let rate = |field: &'static str, value: i64| provider_with(json!({ "rateLimit": { field: value } }));
    let field = |field: &'static str, value: i64| provider_with(json!({ field: value }));
    let age = |days: i64| requirement(json!({ "maxPasswordAgeDays": days }));
    let reference = |length: usize| policy(json!({ "reason": { "type": "Hygiene", "reference": "x".repeat(length) } }));
    for (kind, accepted, refused) in [
        (PROVIDER, field("observePeriodSeconds", 10), field("observePeriodSeconds", 9)),
        (PROVIDER, field("observePeriodSeconds", 604_800), field("observePeriodSeconds", 604_801)),
        (PROVIDER, field("probePeriodSeconds", 10), field("probePeriodSeconds", 9)),
        (PROVIDER, field("probePeriodSeconds", 86_400), field("probePeriodSeconds", 86_401)),
        (PROVIDER, field("pageSize", 1), field("pageSize", 0)),
        (PROVIDER, field("pageSize", 1000), field("pageSize", 1001)),
        (PROVIDER, rate("requestsPerSecond", 1), rate("requestsPerSecond", 0)),
        (PROVIDER, rate("requestsPerSecond", 10_000), rate("requestsPerSecond", 10_001)),
        (PROVIDER, rate("burst", 1), rate("burst", 0)),
        (PROVIDER, rate("maxConcurrentRequests", 256), rate("maxConcurrentRequests", 257)),
        (
            PROVIDER,
            provider_with(json!({ "protectedUsers": users(100) })),
            provider_with(json!({ "protectedUsers": users(101) })),
        ),
        (
            CLUSTER_PROVIDER,
            provider_with(json!({ "allowedNamespaces": names(256) })),
            provider_with(json!({ "allowedNamespaces": names(257) })),
        ),
        (
            CLUSTER_PROVIDER,
            provider_with(json!({ "allowedNamespaces": ["security"] })),
            provider_with(json!({ "allowedNamespaces": [] })),
        ),
        (POLICY, age(1), age(0)),
        (POLICY, age(3650), age(3651)),
        (POLICY, reference(256), reference(257)),
        (POLICY, targets(32), targets(33)),
        (POLICY, targets(1), targets(0)),
        (POLICY, selected(json!({ "users": users(100) })), selected(json!({ "users": users(101) }))),
        (POLICY, selected(json!({ "groups": names(100) })), selected(json!({ "groups": names(101) }))),
        (
            POLICY,
            selected(json!({ "usersFrom": vec![list_source(); 16] })),
            selected(json!({ "usersFrom": vec![list_source(); 17] })),
        ),
        (
            POLICY,
            target(json!({ "exclude": { "users": users(100) } })),
            target(json!({ "exclude": { "users": users(101) } })),
        ),
        (POLICY, target(json!({ "accountStates": ["Locked"] })), target(json!({ "accountStates": [] }))),
    ] {
        if let Err(refusal) = server.try_create(kind, &accepted).await {
            panic!("{accepted}\nwas refused: {refusal}");
        }
        server.try_create(kind, &refused).await.expect_err(&refused.to_string());
    }
}

#[tokio::test]
async fn nothing_dangerous_has_a_default() {
    let server = ApiServer::with_crds().await;
    for (path, field) in [("", "mode"), ("", "requirement"), ("", "targets"), ("/targets/0", "scope")] {
        let mut spec = policy(json!({}));
        let object = spec.pointer_mut(path).and_then(Value::as_object_mut).expect("an object");
        object.remove(field).expect("the field");
        let refusal = server.try_create(POLICY, &spec).await.expect_err(field);
        assert!(refusal.to_string().contains(&format!("{field}: Required value")), "{refusal}");
    }
    let without_namespaces = json!({ "apiVersion": "passwordreset.dev/v1alpha1", "kind": "ClusterIdentityProvider",
        "metadata": { "generateName": "case-" }, "spec": looker("https://corp.example") });
    let refusal = server.try_create_object(CLUSTER_PROVIDER, &without_namespaces).await.expect_err("allowedNamespaces");
    assert!(refusal.to_string().contains("allowedNamespaces: Required value"), "{refusal}");
}

#[tokio::test]
async fn what_is_left_out_gets_the_documented_defaults() {
    let server = ApiServer::with_crds().await;
    let provider = server.try_create(PROVIDER, &looker("https://corp.example")).await.expect("accepted");
    assert_eq!(
        provider["spec"],
        merged(
            looker("https://corp.example"),
            json!({
                "rateLimit": { "requestsPerSecond": 10, "burst": 10, "maxConcurrentRequests": 4 },
                "suspend": false,
                "access": "ReadWrite",
                "probePeriodSeconds": 300,
            })
        )
    );
    let policy = server.try_create(POLICY, &policy(json!({}))).await.expect("accepted");
    assert_eq!(policy["spec"]["action"], json!({ "sessions": "Keep" }));
    assert_eq!(policy["spec"]["readyWhen"], "Enforced");
    assert_eq!(policy["spec"]["suspend"], false);
    assert_eq!(
        policy["spec"]["targets"][0],
        json!({
            "name": "staff",
            "providerRef": { "kind": "IdentityProvider", "name": "p" },
            "scope": "Tenant",
            "strategy": "PerUser",
            "missingUsers": "Fail",
            "accountStates": ["Active"],
        })
    );
}

#[tokio::test]
async fn a_new_object_says_that_nobody_has_looked_at_it() {
    let server = ApiServer::with_crds().await;
    for (kind, spec) in [
        (PROVIDER, looker("https://corp.example")),
        (CLUSTER_PROVIDER, keycloak(json!({}))),
        (POLICY, policy(json!({}))),
    ] {
        let name = server.create(kind, &spec).await;
        assert_eq!(server.read(kind, &name).await["status"], json!({ "observedGeneration": -1 }));
    }
}

#[tokio::test]
async fn a_misspelt_field_is_refused_by_strict_validation() {
    let server = ApiServer::with_crds().await;
    for (kind, spec, field) in [
        (PROVIDER, provider_with(json!({ "suspended": true })), "spec.suspended"),
        (CLUSTER_PROVIDER, provider_with(json!({ "rateLimit": { "rps": 1 } })), "spec.rateLimit.rps"),
        (POLICY, target(json!({ "excludes": {} })), "spec.targets[0].excludes"),
        (POLICY, policy(json!({ "driftPolicy": "Reenforce" })), "spec.driftPolicy"),
    ] {
        let refusal = server.try_create(kind, &spec).await.expect_err(field);
        assert!(refusal.to_string().contains(&format!("unknown field \"{field}\"")), "{refusal}");
    }
}

#[tokio::test]
async fn targets_and_sets_hold_no_entry_twice() {
    let server = ApiServer::with_crds().await;
    let twice = |name: &str| json!({ "name": name, "providerRef": { "name": "p" }, "scope": "Tenant" });
    for (kind, spec, field) in [
        (POLICY, policy(json!({ "targets": [twice("a"), twice("a")] })), "spec.targets[1]"),
        (POLICY, selected(json!({ "groups": ["a", "a"] })), "spec.targets[0].groups[1]"),
        (POLICY, target(json!({ "accountStates": ["Active", "Active"] })), "spec.targets[0].accountStates[1]"),
        (CLUSTER_PROVIDER, provider_with(json!({ "allowedNamespaces": ["a", "a"] })), "spec.allowedNamespaces[1]"),
    ] {
        let refusal = server.try_create(kind, &spec).await.expect_err(field);
        assert_says(&refusal, field, "Duplicate value", &spec);
    }
}

#[tokio::test]
async fn objects_can_be_selected_by_type_and_mode() {
    let server = ApiServer::with_crds().await;
    let looker = server.create(PROVIDER, &looker("https://corp.example")).await;
    let keycloak = server.create(PROVIDER, &keycloak(json!({}))).await;
    server.set_status(PROVIDER, &looker, json!({ "type": "Looker", "observedGeneration": 1 })).await;
    server.set_status(PROVIDER, &keycloak, json!({ "type": "Keycloak", "observedGeneration": 1 })).await;
    assert_eq!(server.select(PROVIDER, "status.type=Looker").await, BTreeSet::from([looker]));
    let observing = server.create(POLICY, &policy(json!({ "mode": "Observe" }))).await;
    let enforcing = server.create(POLICY, &policy(json!({ "mode": "Enforce" }))).await;
    assert_eq!(server.select(POLICY, "spec.mode=Observe").await, BTreeSet::from([observing]));
    assert_eq!(server.select(POLICY, "spec.mode=Enforce").await, BTreeSet::from([enforcing]));
}

#[tokio::test]
async fn kubectl_get_shows_the_promised_columns() {
    let server = ApiServer::with_crds().await;
    let (always, wide) = server.columns(POLICY).await;
    assert_eq!(always, ["Name", "Mode", "Progress", "Changed", "Failed", "Ready", "Status", "Age"]);
    assert_eq!(wide, ["Cutoff", "Targeted", "Enforced", "Pending", "Skipped", "Message"]);
    for kind in [PROVIDER, CLUSTER_PROVIDER] {
        let (always, wide) = server.columns(kind).await;
        assert_eq!(always, ["Name", "Type", "Ready", "Status", "Age"]);
        assert_eq!(wide, ["Tenant", "Users", "Enforceable", "Message"]);
    }
}
