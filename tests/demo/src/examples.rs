//! How do the files in `examples/` become objects of this demo?
//!
//! Only what must differ is replaced: addresses, credentials, the namespaces, the date, and the rate limit. Everything
//! else is applied as a reader of the examples sees it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use simulators::Kind;
use testbed::keycloak::realm::OPERATOR_CLIENT;

use crate::cluster::Cluster;
use crate::repository;
use crate::tenants::{Service, Tenant};

/// The policy's name in the example.
pub const POLICY: &str = "everywhere";
const POLICY_FILE: &str = "examples/policy-all-four.yaml";
const ALLOWED_ORIGINS: &str = "passwordreset.dev/allowed-origins";

/// The objects of `examples/provider-*.yaml` that connect `tenant`.
pub fn provider(tenant: &Tenant, cluster: &Cluster) -> Result<Vec<Value>> {
    let file = match &tenant.service {
        Service::Simulated(Kind::PingOne, _) => "examples/provider-pingone.yaml",
        Service::Simulated(Kind::Looker, _) => "examples/provider-looker.yaml",
        Service::Simulated(Kind::MonoCloud, _) => "examples/provider-monocloud.yaml",
        Service::Keycloak(..) => "examples/provider-keycloak.yaml",
    };
    let mut objects = repository::documents(file)?;
    for object in &mut objects {
        place(object, cluster);
        match object["kind"].as_str() {
            Some("Secret") => fill_secret(object, tenant),
            Some("IdentityProvider") => connect(object, tenant),
            _ => {}
        }
    }
    Ok(objects)
}

/// The policy of `examples/policy-all-four.yaml`; `exclude` gives, by target, the ids to leave out.
pub fn policy(cluster: &Cluster, cutoff: &str, exclude: &[(String, Vec<String>)]) -> Result<Value> {
    let mut policy = repository::documents(POLICY_FILE)?.into_iter().next().context("the example holds no policy")?;
    place(&mut policy, cluster);
    policy["spec"]["requirement"]["passwordChangedAfter"] = json!(cutoff);
    for target in policy["spec"]["targets"].as_array_mut().into_iter().flatten() {
        let left_out = exclude.iter().find(|(name, _)| target["name"] == name.as_str());
        if let Some((_, ids)) = left_out {
            let users: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
            target["exclude"] = json!({ "users": users });
        }
    }
    Ok(policy)
}

/// Moves an object, and what it says about ServiceAccounts, to the namespaces of this run.
fn place(object: &mut Value, cluster: &Cluster) {
    object["metadata"]["namespace"] = json!(cluster.namespace);
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        subject["namespace"] = json!(cluster.operator_namespace);
    }
}

fn fill_secret(secret: &mut Value, tenant: &Tenant) {
    let (data, origins) = match &tenant.service {
        Service::Simulated(Kind::MonoCloud, handle) => {
            (json!({"apiKey": handle.credentials().api_key}), handle.base_url())
        }
        Service::Simulated(kind, handle) => {
            let credentials = handle.credentials();
            let origins = match kind {
                Kind::PingOne => format!("{} {}", handle.base_url(), handle.auth_url()),
                _ => handle.base_url(),
            };
            (json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret}), origins)
        }
        Service::Keycloak(realm, keycloak) => {
            (json!({"clientID": OPERATOR_CLIENT, "clientSecret": realm.client_secret()}), keycloak.url().to_owned())
        }
    };
    secret["stringData"] = data;
    secret["metadata"]["annotations"][ALLOWED_ORIGINS] = json!(origins);
}

fn connect(provider: &mut Value, tenant: &Tenant) {
    let spec = &mut provider["spec"];
    match &tenant.service {
        Service::Simulated(Kind::PingOne, handle) => {
            let block = &mut spec["pingOne"];
            if let Some(block) = block.as_object_mut() {
                block.remove("region");
            }
            block["environmentID"] = json!(handle.environment_id());
            block["baseURL"] = json!(format!("{}/v1", handle.base_url()));
            block["authURL"] = json!(handle.auth_url());
        }
        Service::Simulated(Kind::Looker, handle) => spec["looker"]["baseURL"] = json!(handle.base_url()),
        Service::Simulated(Kind::MonoCloud, handle) => spec["monoCloud"]["baseURL"] = json!(handle.base_url()),
        Service::Keycloak(realm, keycloak) => {
            spec["keycloak"]["baseURL"] = json!(keycloak.url());
            spec["keycloak"]["realm"] = json!(realm.name());
        }
    }
    // The example's limit, or the default of 10 a second, is right for a real tenant and too slow to watch.
    spec["rateLimit"] = json!({"requestsPerSecond": 200, "burst": 200, "maxConcurrentRequests": 8});
}
