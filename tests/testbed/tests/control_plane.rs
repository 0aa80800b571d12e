//! Does the real API server start, count, restart and go away?

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use testbed::control_plane::{self, ControlPlane, Options, create_namespace, manifests, shared};

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

async fn put(client: &Client, namespace: &str, name: &str) {
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &config_map(name)).await.unwrap();
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_server_says_the_version_that_was_built() {
    let client = shared().await.unwrap().client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.git_version, format!("v{}", testbed::tools::kubernetes_version()));
}

#[tokio::test]
async fn every_request_is_counted_once() {
    let plane = shared().await.unwrap();
    let client = plane.client().await.unwrap();
    let namespace = create_namespace(&client, "counted").await.unwrap();
    for name in ["a", "b", "c"] {
        put(&client, &namespace, name).await;
    }
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 3);
    let events = plane.audit().await.unwrap();
    let count =
        |verb: &str| events.iter().filter(|event| event.namespace == namespace && event.is(verb, "configmaps")).count();
    assert_eq!((count("create"), count("list"), count("get")), (3, 1, 0));
}

#[tokio::test]
async fn a_service_account_without_a_role_is_refused_and_the_log_names_it() {
    let plane = shared().await.unwrap();
    let admin = plane.client().await.unwrap();
    let namespace = create_namespace(&admin, "powerless").await.unwrap();
    let kubeconfig = plane.service_account_kubeconfig(&namespace, "operator").await.unwrap();
    let client = control_plane::client(&kubeconfig).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let error = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "{error}");
    let refused: Vec<_> = plane
        .audit()
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.is_by_service_account(&namespace, "operator"))
        .collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].is("list", "configmaps") && refused[0].is_forbidden());
    assert!(!refused[0].is_write());
}

const THINGS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
---
apiVersion: example.org/v1
kind: Thing
metadata: {name: first}
spec: {size: 1}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: things}
rules: [{apiGroups: [example.org], resources: [things], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: things}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: things}
subjects: [{kind: ServiceAccount, name: reader}]
";

#[tokio::test]
async fn a_service_account_may_do_what_an_applied_role_says_and_no_more() {
    let plane = shared().await.unwrap();
    let admin = plane.client().await.unwrap();
    let namespace = create_namespace(&admin, "applied").await.unwrap();
    let things = THINGS.replace("name: reader", &format!("name: reader, namespace: {namespace}"));
    manifests::apply(&admin, &namespace, &things).await.unwrap();

    let kubeconfig = plane.service_account_kubeconfig(&namespace, "reader").await.unwrap();
    let reader = control_plane::client(&kubeconfig).await.unwrap();
    let read = |path: &str| {
        let uri = format!("/apis/example.org/v1/namespaces/{namespace}/things{path}");
        let request = http::Request::get(uri).body(Vec::new()).unwrap();
        reader.request_text(request)
    };
    // The API server learns of new Roles by watching, a moment after they are written.
    let deadline = Instant::now() + Duration::from_secs(60);
    let first = loop {
        match read("/first").await {
            Ok(text) => break text,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert!(first.contains(r#""size":1"#), "{first}");
    assert!(read("").await.is_err(), "a list was not granted");
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_its_name() {
    let client = shared().await.unwrap().client().await.unwrap();
    let bogus = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, bogus: 1}";
    let error = manifests::apply(&client, "default", bogus).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("cannot apply ConfigMap x"), "{error}");
    assert!(error.contains("bogus"), "{error}");
}

#[tokio::test]
async fn namespaces_of_one_prefix_differ() {
    let client = shared().await.unwrap().client().await.unwrap();
    let first = create_namespace(&client, "same").await.unwrap();
    let second = create_namespace(&client, "same").await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn objects_and_tokens_outlive_a_restart_of_the_server() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().await.unwrap();
    let namespace = create_namespace(&client, "kept").await.unwrap();
    put(&client, &namespace, "kept").await;
    let kubeconfig = plane.service_account_kubeconfig(&namespace, "operator").await.unwrap();

    plane.stop_api_server();
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    assert!(maps.get("kept").await.is_err(), "a stopped server answered");

    plane.restart_api_server().await.unwrap();
    assert!(maps.get_opt("kept").await.unwrap().is_some());
    let account = control_plane::client(&kubeconfig).await.unwrap();
    let error = Api::<Namespace>::all(account).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "known, but without rights: {error}");
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_no_process_and_no_file() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let folder = plane.folder().to_owned();
    let processes = plane.processes();
    assert_eq!(processes.len(), 2);
    assert!(processes.iter().all(|(_, pid)| is_alive(*pid)));
    plane.stop();
    assert!(processes.iter().all(|(_, pid)| !is_alive(*pid)));
    assert!(!folder.exists());
}

/// Runs this very test binary as a victim: it starts a control plane, says so in a file and is killed.
#[tokio::test]
async fn a_killed_test_process_leaves_no_process_and_no_file() {
    const REPORT: &str = "TESTBED_VICTIM_REPORT";
    if let Ok(report) = std::env::var(REPORT) {
        let plane = shared().await.unwrap();
        let pids: Vec<String> = plane.processes().iter().map(|(_, pid)| pid.to_string()).collect();
        let text = format!("{}\n{}", plane.folder().display(), pids.join("\n"));
        std::fs::write(format!("{report}.new"), text).unwrap();
        std::fs::rename(format!("{report}.new"), report).unwrap();
        std::future::pending::<()>().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_test_process_leaves_no_process_and_no_file"])
        .env(REPORT, &report)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    wait_until("the victim's report", || report.exists()).await;
    let report = std::fs::read_to_string(&report).unwrap();
    let mut lines = report.lines();
    let files = std::path::PathBuf::from(lines.next().unwrap());
    let pids: Vec<u32> = lines.map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)) && files.exists());

    victim.kill().await.unwrap();
    wait_until("the programs' end", || pids.iter().all(|pid| !is_alive(*pid))).await;
    wait_until("the files' removal", || !files.exists()).await;
}

async fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
