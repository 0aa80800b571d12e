//! Who may read which Secret or list, bound to which origin; what is said when it cannot be read, and that it heals by
//! itself: by watch where the object changes, within half a minute where a right is granted.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use simulators::{MonoCloud, Options, SECRET_CANARY};

use crate::bed::{Bed, SERVICE_ACCOUNT, fast};
use crate::objects::ALLOWED_ORIGINS;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_used_is_named_with_its_key_and_never_its_content_and_heals_when_corrected() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("secret").await;
    bed.start().await;
    bed.grant("secrets", "mc").await;
    bed.bare_monocloud("mc", &simulator).await;
    bed.provider_says("mc", "Ready", "False SecretNotFound", &["Secret mc", &bed.namespace, "create it"]).await;
    let view = bed.provider_says("mc", "Stalled", "True SecretNotFound", &[]).await;
    assert_eq!(view.condition("Reconciling"), "", "never both");

    let key = simulator.credentials().api_key;
    let mib = format!("{key}{}", "x".repeat((1 << 20) - key.len()));
    let not_text = [key.as_bytes(), &[0xff, 0xfe]].concat();
    let cases: [(&str, &[u8], &str); 6] = [
        ("apikey", key.as_bytes(), "has no key `apiKey`"),
        ("apiKey", b"", "is empty"),
        ("apiKey", b"\n", "is empty"),
        ("apiKey", mib.as_bytes(), "holds 1048576 bytes"),
        ("apiKey", &not_text, "is not UTF-8"),
        ("apiKey", format!("{key}\nmore").leak().as_bytes(), "line break"),
    ];
    for (name, value, sentence) in cases {
        bed.put_key("mc", &simulator, name, value).await;
        let view = bed.provider_says("mc", "Ready", "False SecretInvalid", &["Secret mc", "`apiKey`", sentence]).await;
        assert!(view.is_current() && !view.0["status"].to_string().contains(SECRET_CANARY), "{view:?}");
    }
    assert_eq!(simulator.counters().connections, 0, "nothing is sent with a credential that is no credential");

    bed.put_key("mc", &simulator, "apiKey", format!("{key}\r\n").as_bytes()).await;
    let view = bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    assert_eq!(view.condition("Stalled"), "");
    bed.delete_secret("mc").await;
    bed.provider_says("mc", "Ready", "False SecretNotFound", &["Secret mc"]).await;
    assert!(!bed.everything_public().await.contains(SECRET_CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_goes_nowhere_until_its_secret_names_the_origin() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("origin").await;
    bed.start().await;
    bed.grant("secrets", "mc").await;
    let (url, key) = (simulator.base_url(), simulator.credentials().api_key);
    let line = format!("{ALLOWED_ORIGINS}: \"{url}\"");
    let data: [(&str, &[u8]); 1] = [("apiKey", key.as_bytes())];
    bed.put_secret(&bed.namespace, "mc", None, false, &data).await;
    bed.bare_monocloud("mc", &simulator).await;
    bed.provider_says("mc", "Ready", "False SecretInvalid", &["does not say", &line]).await;
    for other in ["https://other.example", &url.replace("http:", "https:"), &url[..url.len() - 1], "*"] {
        bed.put_secret(&bed.namespace, "mc", Some((ALLOWED_ORIGINS, other)), false, &data).await;
        bed.provider_says("mc", "Ready", "False SecretInvalid", &["does not allow", &line]).await;
    }
    assert_eq!(simulator.counters().connections, 0);
    let both = format!("https://other.example {url}");
    bed.put_secret(&bed.namespace, "mc", Some((ALLOWED_ORIGINS, &both)), false, &data).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    // Taking it back counts as well.
    bed.put_secret(&bed.namespace, "mc", None, false, &data).await;
    bed.provider_says("mc", "Ready", "False SecretInvalid", &[&line]).await;
}

/// Does what the two `kubectl` lines of a message say.
async fn obey(bed: &Bed, message: &str) {
    let lines: Vec<Vec<&str>> = message
        .lines()
        .filter(|line| line.starts_with("kubectl create "))
        .map(|line| line.split(' ').collect())
        .collect();
    assert_eq!(lines.len(), 2, "{message}");
    let flag = |line: &[&str], name: &str| {
        let found = line.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
    };
    let (role, binding) = (&lines[0], &lines[1]);
    assert_eq!((role[2], role[4], binding[2], binding[4]), ("role", "-n", "rolebinding", "-n"));
    let verbs = flag(role, "--verb");
    let made: Role = serde_json::from_value(json!({"metadata": {"name": role[3]}, "rules": [{"apiGroups": [""],
        "resources": [flag(role, "--resource")], "resourceNames": [flag(role, "--resource-name")], "verbs": verbs.split(',').collect::<Vec<_>>()}]}))
    .expect("a Role");
    let account = flag(binding, "--serviceaccount");
    let (namespace, name) = account.split_once(':').expect("namespace:name");
    let bound: RoleBinding = serde_json::from_value(json!({"metadata": {"name": binding[3]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": flag(binding, "--role")},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}]}))
    .expect("a RoleBinding");
    let create = PostParams::default();
    Api::<Role>::namespaced(bed.client.clone(), role[5]).create(&create, &made).await.expect("the first line works");
    Api::<RoleBinding>::namespaced(bed.client.clone(), binding[5])
        .create(&create, &bound)
        .await
        .expect("the second line works");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_told_with_the_lines_that_grant_it_disturbs_nothing_else_and_heals_after_the_grant() {
    let (simulator, other) = (
        MonoCloud::start(Options::ordinary(3)).await.expect("a simulator"),
        MonoCloud::start(Options::ordinary(3)).await.expect("a simulator"),
    );
    let mut bed = Bed::new("forbidden").await;
    bed.start().await;
    bed.put_key("mc", &simulator, "apiKey", simulator.credentials().api_key.as_bytes()).await;
    bed.bare_monocloud("mc", &simulator).await;
    bed.monocloud("other", &other, fast()).await;
    let list = other.user_at(0).email;
    bed.put_secret(&bed.namespace, "leak", None, true, &[("users.txt", list.as_bytes())]).await;
    bed.enforce("listed", "other", json!({"scope": "Selected", "usersFrom": [{"format": "Email", "secretRef": {"name": "leak", "key": "users.txt"}}]})).await;
    bed.enforce("all", "other", json!({"scope": "Selected", "users": [{"email": other.user_at(1).email}]})).await;

    let account = format!("--serviceaccount={}:{SERVICE_ACCOUNT}", bed.operator_namespace);
    let provider =
        bed.provider_says("mc", "Ready", "False SecretForbidden", &["Secret mc", "--resource-name=mc", &account]).await;
    assert_eq!(provider.condition("Stalled"), "True SecretForbidden");
    let policy = bed
        .policy_says(
            "listed",
            "Ready",
            "False UserListForbidden",
            &["spec.targets[0].usersFrom[0]", "Secret leak", "--resource-name=leak", &account],
        )
        .await;
    assert_eq!(policy.condition("Stalled"), "True UserListForbidden");
    bed.policy_says("all", "Ready", "True Enforced", &[]).await;
    bed.provider_says("other", "Ready", "True Verified", &[]).await;

    obey(&bed, &provider.message("Ready")).await;
    obey(&bed, &policy.message("Ready")).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let policy = bed.policy_says("listed", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 1);
    assert_eq!(other.requirements().len(), 2);

    // Nothing is ever read but single objects, by name.
    for event in bed.audit().await.iter().filter(|event| event.resource == "secrets") {
        assert_eq!(event.namespace, bed.namespace);
        assert!(["list", "watch"].contains(&event.verb.as_str()), "{event:?}");
        assert!(event.uri.contains("fieldSelector=metadata.name%3D"), "{event:?}");
    }
}

/// As GitOps does that prunes a grant and applies it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_taken_away_and_given_back_heals() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("regranted").await;
    bed.lacks_rights();
    bed.set("WATCH_TIMEOUT_SECONDS", "2");
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let bindings = Api::<RoleBinding>::namespaced(bed.client.clone(), &bed.namespace);
    bindings.delete("read-secrets-mc", &DeleteParams::default()).await.expect("it is deleted");
    bed.provider_says("mc", "Ready", "False SecretForbidden", &[]).await;
    bed.grant("secrets", "mc").await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
}

/// A grant that lacks one verb: what may be listed and not watched is no ground to sign in again and again.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_list_and_not_watch_is_told_so_once_and_calls_nobody() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("no-watch").await;
    bed.lacks_rights();
    bed.start().await;
    bed.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "half"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mc"], "verbs": ["get", "list"]}]}))
        .await;
    bed.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "half"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "half"},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": bed.operator_namespace}]}),
    )
    .await;
    bed.put_key("mc", &simulator, "apiKey", simulator.credentials().api_key.as_bytes()).await;
    bed.bare_monocloud("mc", &simulator).await;
    bed.provider_says("mc", "Ready", "False SecretForbidden", &[]).await;
    let refused = async || bed.audit().await.iter().filter(|e| e.is("watch", "secrets") && e.code == 403).count();
    let (calls, before) = (simulator.counters().total(), refused().await);
    let tried_again = async {
        while refused().await < before + 2 {
            tokio::time::sleep(Duration::from_millis(200)).await
        }
    };
    tokio::time::timeout(bed.deadline, tried_again).await.expect("it is tried every half minute");
    assert_eq!(simulator.counters().total(), calls, "nobody is called in between");
    bed.provider_says("mc", "Ready", "False SecretForbidden", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_only_from_what_says_that_it_is_one() {
    let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("lists").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.grant("secrets", "leak").await;
    bed.enforce(
        "inc",
        "mc",
        json!({"scope": "Selected", "usersFrom": [
        {"format": "Email", "secretRef": {"name": "leak", "key": "users.txt"}}]}),
    )
    .await;
    let path = "spec.targets[0].usersFrom[0]: ";
    let said = bed
        .policy_says("inc", "Ready", "False UserListNotFound", &[path, "Secret leak does not exist", "create it"])
        .await;
    assert_eq!(said.condition("Stalled"), "True UserListNotFound");

    let list = format!(
        "\u{feff}# from the CERT\r\n{}\r\n\r\n{}\r\n",
        simulator.user_at(0).email,
        simulator.user_at(0).email.to_uppercase()
    );
    let data: [(&str, &[u8]); 1] = [("users.txt", list.as_bytes())];
    let namespace = bed.namespace.clone();
    bed.put_secret(&namespace, "leak", None, false, &data).await;
    bed.policy_says(
        "inc",
        "Ready",
        "False UserListInvalid",
        &[path, "label it: passwordreset.dev/user-list: \"true\""],
    )
    .await;
    bed.put_secret(&namespace, "leak", Some((ALLOWED_ORIGINS, "https://a.example")), true, &data).await;
    bed.policy_says("inc", "Ready", "False UserListInvalid", &[path, ALLOWED_ORIGINS, "a Secret of its own"]).await;
    bed.put_secret(&namespace, "leak", None, true, &[("other.txt", list.as_bytes())]).await;
    bed.policy_says("inc", "Ready", "False UserListNotFound", &[path, "has no key `users.txt`"]).await;
    bed.put_secret(&namespace, "leak", None, true, &[("users.txt", b"# nobody\n\n")]).await;
    bed.policy_says("inc", "Ready", "False UserListInvalid", &[path, "names nobody"]).await;
    bed.put_secret(&namespace, "leak", None, true, &[("users.txt", b"ok@people.example\nb\xff\n")]).await;
    bed.policy_says("inc", "Ready", "False UserListInvalid", &[path, "line 2 is not UTF-8"]).await;
    assert_eq!(simulator.requirements().len(), 0, "nothing was written before");

    bed.put_secret(&namespace, "leak", None, true, &data).await;
    let said = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((said.count("targeted"), said.count("enforced")), (1, 1));
    // A longer list is acted on by itself.
    let longer = format!("{list}{}\n", simulator.user_at(1).email);
    bed.put_secret(&namespace, "leak", None, true, &[("users.txt", longer.as_bytes())]).await;
    bed.policy_until("inc", "the new line is acted on", |view| view.count("enforced") == 2).await;
    assert!(simulator.requirements().values().all(|times| *times == 1));
}
