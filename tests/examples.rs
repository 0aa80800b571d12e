//! Do the examples work as they stand, and together?

mod support {
    pub mod api_server;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use password_reset_operator::api::password_reset_policy::{ProviderKind, UserListSource};
use password_reset_operator::api::{self, ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};
use support::api_server::{ApiServer, CLUSTER_PROVIDER, Kind, POLICY, PROVIDER};

/// What `kubectl apply` can keep in its annotation; the API server's limit for all annotations of an object.
const ANNOTATION_LIMIT: usize = 262_144;
const OPERATOR_NAMESPACE: &str = "password-reset-system";
const OPERATOR_ACCOUNT: &str = "password-reset-operator";

/// One document of one file.
struct Example {
    file: String,
    object: Value,
}

impl Example {
    fn kind(&self) -> &str {
        self.object["kind"].as_str().expect("a kind")
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().expect("a name")
    }

    fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.kind() == kind && self.namespace() == namespace && self.name() == name
    }
}

fn files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))
        .expect("examples/")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    names
}

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)).expect("a file")
}

fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    for file in files() {
        let documents: Vec<Value> = serde_yaml::from_multiple(&text(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        all.extend(documents.into_iter().map(|object| Example { file: file.clone(), object }));
    }
    all
}

fn path_of(example: &Example) -> Kind {
    let kind = |api, name, plural| Kind { api, name, plural, namespaced: true };
    match example.kind() {
        "Secret" => kind("api/v1", "Secret", "secrets"),
        "ConfigMap" => kind("api/v1", "ConfigMap", "configmaps"),
        "Role" => kind("apis/rbac.authorization.k8s.io/v1", "Role", "roles"),
        "RoleBinding" => kind("apis/rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
        "IdentityProvider" => PROVIDER,
        "ClusterIdentityProvider" => CLUSTER_PROVIDER,
        "PasswordResetPolicy" => POLICY,
        other => panic!("{}: no example should need a {other}", example.file),
    }
}

async fn create_namespaces(client: Client, names: &BTreeSet<&str>) {
    let namespaces: Api<Namespace> = Api::all(client);
    for &name in names {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        match namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => drop(result.expect("a namespace")),
        }
    }
}

#[tokio::test]
async fn the_api_server_accepts_every_example() {
    let server = ApiServer::with_crds().await;
    let all = examples();
    let namespaces: BTreeSet<&str> = all.iter().map(Example::namespace).filter(|name| !name.is_empty()).collect();
    create_namespaces(server.client.clone(), &namespaces).await;
    for example in &all {
        if let Err(refusal) = server.try_create_object(path_of(example), &example.object).await {
            panic!("{}: {} {} was refused: {refusal}", example.file, example.kind(), example.name());
        }
    }
    assert_eq!(all.iter().map(|example| &example.file).collect::<BTreeSet<_>>().len(), files().len());
}

#[test]
fn every_file_is_listed_with_its_situation() {
    let index = text("README.md");
    for file in files() {
        assert!(index.contains(&format!("[{file}]({file})")), "examples/README.md does not list {file}");
    }
}

/// The objects in the examples that the operator must read, with the file that needs them.
fn read_by_the_operator(all: &[Example]) -> Vec<(&str, &'static str, String, String)> {
    let mut needed = Vec::new();
    for example in all {
        let mut needs = |kind, namespace: &str, name: &str| {
            needed.push((example.file.as_str(), kind, namespace.to_owned(), name.to_owned()));
        };
        let object = example.object.clone();
        let (spec, namespace) = match example.kind() {
            "IdentityProvider" => {
                (serde_json::from_value::<IdentityProvider>(object).expect("valid").spec, example.namespace())
            }
            "ClusterIdentityProvider" => (
                serde_json::from_value::<ClusterIdentityProvider>(object).expect("valid").spec.provider,
                OPERATOR_NAMESPACE,
            ),
            "PasswordResetPolicy" => {
                let policy: PasswordResetPolicy = serde_json::from_value(object).expect("valid");
                for target in policy.spec.targets {
                    let excluded = target.exclude.unwrap_or_default().users_from;
                    for UserListSource { secret_ref, config_map_ref, .. } in
                        target.users_from.into_iter().chain(excluded)
                    {
                        secret_ref.iter().for_each(|list| needs("Secret", example.namespace(), &list.name));
                        config_map_ref.iter().for_each(|list| needs("ConfigMap", example.namespace(), &list.name));
                    }
                }
                continue;
            }
            _ => continue,
        };
        needs("Secret", namespace, &spec.block.credentials_secret_ref().expect("a block").name);
        spec.tls.iter().for_each(|tls| needs("ConfigMap", namespace, &tls.ca_bundle_config_map_ref.name));
    }
    needed
}

#[test]
fn what_an_example_refers_to_is_in_the_examples_and_the_operator_may_read_it() {
    let all = examples();
    let needed = read_by_the_operator(&all);
    assert!(needed.len() >= 8, "{needed:?}");
    for (file, kind, namespace, name) in needed {
        assert!(
            all.iter().any(|example| example.file == file && example.is(kind, &namespace, &name)),
            "{file}: {kind} {namespace}/{name} is missing"
        );
        let resource = if kind == "Secret" { "secrets" } else { "configmaps" };
        let rule = json!({
            "apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get", "list", "watch"],
        });
        let role = all.iter().find(|example| {
            example.file == file
                && example.kind() == "Role"
                && example.namespace() == namespace
                && example.object["rules"].as_array().is_some_and(|rules| rules.contains(&rule))
        });
        let role = role.unwrap_or_else(|| panic!("{file}: no Role with {rule}")).name();
        let subject = json!({ "kind": "ServiceAccount", "name": OPERATOR_ACCOUNT, "namespace": OPERATOR_NAMESPACE });
        assert!(
            all.iter().any(|example| example.file == file
                && example.kind() == "RoleBinding"
                && example.namespace() == namespace
                && example.object["roleRef"]["name"] == role
                && example.object["subjects"] == json!([subject])),
            "{file}: no RoleBinding of {role} to {subject}"
        );
    }
}

#[test]
fn no_role_grants_more_than_reading_objects_by_name() {
    for example in examples().iter().filter(|example| example.kind() == "Role") {
        for rule in example.object["rules"].as_array().expect("rules") {
            assert_eq!(rule["verbs"], json!(["get", "list", "watch"]), "{}", example.file);
            let names = rule["resourceNames"].as_array().map_or(0, Vec::len);
            assert_eq!(names, 1, "{}: one object a rule, by name", example.file);
        }
    }
}

#[test]
fn every_policy_refers_to_a_provider_of_the_examples() {
    let all = examples();
    for example in all.iter().filter(|example| example.kind() == "PasswordResetPolicy") {
        let policy: PasswordResetPolicy = serde_json::from_value(example.object.clone()).expect("valid");
        for target in policy.spec.targets {
            let namespace = match target.provider_ref.kind {
                ProviderKind::IdentityProvider => example.namespace(),
                ProviderKind::ClusterIdentityProvider => "",
            };
            assert!(
                all.iter().any(|other| other.is(
                    target.provider_ref.kind.as_str(),
                    namespace,
                    &target.provider_ref.name
                )),
                "{}: {:?} is in no example",
                example.file,
                target.provider_ref
            );
        }
    }
}

#[test]
fn every_credential_is_bound_to_the_origins_its_provider_names_and_every_list_is_labelled() {
    let all = examples();
    let secret = |namespace: &str, name: &str| {
        all.iter().find(|example| example.is("Secret", namespace, name)).expect("the Secret").object.clone()
    };
    for example in &all {
        let urls: Vec<String> = ["/spec/looker/baseURL", "/spec/monoCloud/baseURL", "/spec/keycloak/baseURL"]
            .iter()
            .chain(&["/spec/pingOne/baseURL", "/spec/pingOne/authURL"])
            .filter_map(|path| example.object.pointer(path)?.as_str().map(str::to_owned))
            .collect();
        if urls.is_empty() {
            continue;
        }
        let provider: IdentityProvider = serde_json::from_value(example.object.clone()).expect("valid");
        let reference = provider.spec.block.credentials_secret_ref().expect("a block");
        let secret = secret(example.namespace(), &reference.name);
        let allowed = secret["metadata"]["annotations"][api::ALLOWED_ORIGINS_ANNOTATION].as_str().unwrap_or_default();
        let allowed: Vec<&str> = allowed.split(' ').collect();
        for url in urls {
            let origin = url::Url::parse(&url).expect("a URL").origin().ascii_serialization();
            assert!(allowed.contains(&origin.as_str()), "{}: {origin} is not in {allowed:?}", example.file);
        }
    }
    let mut lists = 0;
    for example in all.iter().filter(|example| example.kind() == "PasswordResetPolicy") {
        let policy: PasswordResetPolicy = serde_json::from_value(example.object.clone()).expect("valid");
        for list in policy.spec.targets.iter().flat_map(|target| &target.users_from) {
            let Some(reference) = &list.secret_ref else { continue };
            let labels = secret(example.namespace(), &reference.name)["metadata"]["labels"].clone();
            assert_eq!(labels[api::USER_LIST_LABEL], api::USER_LIST_LABEL_VALUE, "{}", example.file);
            lists += 1;
        }
    }
    assert_eq!(lists, 1);
}

/// A policy whose one target has every list as long, and every entry as long, as the schema allows.
fn largest_target() -> Value {
    let text = |n: usize, length: usize| format!("{n:0length$}");
    let users: Vec<Value> = (0..100).map(|n| json!({ "email": text(n, 320) })).collect();
    let names: Vec<String> = (0..100).map(|n| text(n, 256)).collect();
    let lists: Vec<Value> = (0..16)
        .map(|n| json!({ "format": "Username", "secretRef": { "name": text(n, 253), "key": text(n, 253) } }))
        .collect();
    let selection = json!({ "users": users, "usersFrom": lists, "groups": names, "populations": names });
    let mut target = selection.clone();
    target["name"] = text(0, 63).into();
    target["providerRef"] = json!({ "kind": "ClusterIdentityProvider", "name": text(0, 253) });
    target["scope"] = "Selected".into();
    target["exclude"] = selection;
    json!({
        "apiVersion": "passwordreset.dev/v1alpha1",
        "kind": "PasswordResetPolicy",
        "metadata": { "name": "largest" },
        "spec": {
            "mode": "Observe",
            "reason": { "type": "SuspectedCompromise", "reference": text(0, 256) },
            "requirement": { "passwordChangedAfter": "2026-11-20T22:00:00Z" },
            "targets": [target],
        },
    })
}

#[tokio::test]
async fn plain_kubectl_apply_has_room_for_every_example_every_crd_and_a_target_with_every_list_full() {
    let mut largest = largest_target();
    let crds = api::crds().into_iter().map(|crd| serde_json::to_value(crd).expect("JSON"));
    for object in examples().into_iter().map(|example| example.object).chain(crds).chain([largest.clone()]) {
        let size = object.to_string().len();
        assert!(size < ANNOTATION_LIMIT, "{} {}: {size} bytes", object["kind"], object["metadata"]["name"]);
    }
    // As kubectl sends it: with a copy of itself in an annotation.
    let copy = largest.to_string();
    largest["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/last-applied-configuration": copy });
    let server = ApiServer::with_crds().await;
    if let Err(refusal) = server.try_create_object(POLICY, &largest).await {
        panic!("refused: {refusal}");
    }
}
