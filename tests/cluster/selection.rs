//! Who is meant: lists, groups, populations, exclusions, states, and users who are not there.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulators::{Class, Faults, Options, Population, Share, User};
use testbed::keycloak::realm::RealmOptions;

use crate::bed::{Bed, View, fast};
use crate::history::{History, look_again};
use crate::tenant::{Tenant, Vendor, groups};

struct Stage {
    bed: Bed,
    tenant: Tenant,
    history: History,
}

impl Stage {
    async fn new(vendor: Vendor, options: Options) -> Self {
        let tenant = Tenant::simulated(vendor, options).await;
        let mut bed = Bed::new("selection").await;
        bed.start().await;
        tenant.connect(&bed, "tenant", fast()).await;
        let history = History::of(&bed, "inc").await;
        Self { bed, tenant, history }
    }

    /// A policy with one target, to which `extra` is added.
    async fn policy(&self, extra: Value) {
        let mut target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected"});
        crate::bed::merge(&mut target, extra);
        self.bed.policy("inc", self.tenant.policy("tenant", json!({"targets": [target]}))).await;
    }

    async fn enforced(&self, what: &str) -> View {
        let enforced = |p: &View| p.is_current() && p.condition("Enforced") == "True Enforced";
        self.bed.policy_until("inc", what, enforced).await
    }

    /// Exactly those that are wanted were written to, once each.
    async fn assert_written(&self, wanted: impl Fn(&User) -> bool) {
        let users = self.tenant.simulator().users();
        let expected: BTreeSet<String> = users.iter().filter(|user| wanted(user)).map(|user| user.id.clone()).collect();
        assert!(!expected.is_empty(), "somebody is meant");
        let written = self.tenant.written().await;
        assert_eq!(written.keys().cloned().collect::<BTreeSet<_>>(), expected);
        assert!(written.values().all(|times| *times == 1));
        self.history.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_in_every_format_from_secrets_and_config_maps_and_a_change_is_seen_at_once() {
    let stage = Stage::new(Vendor::MonoCloud, Options::ordinary(60)).await;
    let users = stage.tenant.simulator().users();
    // A byte-order mark, comments, blank lines, both ends of line, capitals and duplicates.
    let by_email = format!(
        "\u{feff}# from the report\r\n{}\r\n\r\n  {}  \n{}\n",
        users[0].email,
        users[1].email.to_uppercase(),
        users[0].email
    );
    let by_name = format!("{}\n{}\n", users[2].username, users[0].username);
    let by_id = |more: &str| format!("{}\n{more}", users[3].id);
    let label = json!({"passwordreset.dev/user-list": "true"});
    let Stage { bed, .. } = &stage;
    bed.secret("by-email", json!({}), label.clone(), json!({"users.txt": by_email})).await;
    bed.secret("by-id", json!({}), label.clone(), json!({"users.txt": by_id("")})).await;
    bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-name"}, "data": {"users.txt": by_name}})).await;
    bed.grant("configmaps", "by-name").await;
    stage
        .policy(json!({"usersFrom": [
            {"format": "Email", "secretRef": {"name": "by-email", "key": "users.txt"}},
            {"format": "Username", "configMapRef": {"name": "by-name", "key": "users.txt"}},
            {"format": "ID", "secretRef": {"name": "by-id", "key": "users.txt"}},
        ]}))
        .await;
    let seen = stage.enforced("the listed are required").await;
    assert_eq!((seen.count("targeted"), seen.count("enforced")), (4, 4), "{:#}", seen.0["status"]);
    stage.assert_written(|user| user.index < 4).await;
    bed.secret("by-id", json!({}), label, json!({"users.txt": by_id(&users[4].id)})).await;
    bed.policy_until("inc", "one more", |p| p.count("enforced") == 5 && p.condition("Enforced") == "True Enforced")
        .await;
    stage.assert_written(|user| user.index < 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_bound_the_list_of_a_settled_policy_is_read_at_each_look_and_its_watch_ends() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(20)).await;
    let users = tenant.simulator().users();
    let mut bed = Bed::new("bound").await;
    bed.set("MAX_WATCHED_LISTS", "0");
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.list_in_config_map("leak", "users.txt", &users[0].email).await;
    let lists = json!([{"format": "Email", "configMapRef": {"name": "leak", "key": "users.txt"}}]);
    let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "usersFrom": lists});
    bed.policy("inc", tenant.policy("tenant", json!({"targets": [target]}))).await;
    bed.policy_until("inc", "the first one", |p| p.condition("Enforced") == "True Enforced").await;

    bed.list_in_config_map("leak", "users.txt", &format!("{}\n{}", users[0].email, users[1].email)).await;
    look_again(&bed, "inc", "now").await;
    bed.policy_until("inc", "both", |p| p.count("enforced") == 2).await;
    assert_eq!(tenant.written().await.len(), 2);
    let audit = bed.audit().await;
    assert!(audit.iter().any(|event| event.is("get", "configmaps") && event.name == "leak"), "read, not watched");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_are_not_there_fail_or_are_skipped_as_the_policy_says() {
    let stage = Stage::new(Vendor::PingOne, Options::ordinary(10)).await;
    let there = stage.tenant.simulator().user_at(0).email;
    let users = json!([{"email": there}, {"email": "left@corp.example"}, {"username": "left-too"}]);
    stage.policy(json!({"users": users})).await;
    let failed = |p: &View| p.condition("Enforced") == "False PartiallyFailed";
    let seen = stage.bed.policy_until("inc", "two are missing", failed).await;
    assert_eq!(
        (seen.condition("Ready"), seen.condition("Stalled")),
        ("False PartiallyFailed".into(), "True PartiallyFailed".into())
    );
    assert_eq!(
        (seen.count("failed"), seen.count("enforced"), seen.count("targeted")),
        (2, 1, 3),
        "{:#}",
        seen.0["status"]
    );
    let failures = seen.0["status"]["failures"].as_array().cloned().unwrap_or_default();
    let subjects: Vec<&str> = failures.iter().filter_map(|f| f["subject"].as_str()).collect();
    assert_eq!(subjects, ["spec.targets[0].users[1]", "spec.targets[0].users[2]"]);
    assert!(failures.iter().all(|f| f["category"] == "NotFound" && f["target"] == "some"), "{failures:?}");
    let mut spec = seen.0["spec"]["targets"].clone();
    spec[0]["missingUsers"] = json!("Skip");
    stage.bed.patch_policy("inc", json!({"spec": {"targets": spec}})).await;
    let seen = stage.enforced("the missing are skipped").await;
    assert_eq!(
        (seen.count("skipped"), seen.count("enforced"), seen.count("failed")),
        (2, 1, 0),
        "{:#}",
        seen.0["status"]
    );
    assert!(
        seen.0["status"].get("failures").is_none_or(|f| f.as_array().is_some_and(Vec::is_empty)),
        "{:#}",
        seen.0["status"]
    );
    stage.assert_written(|user| user.index == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_select_their_direct_members_and_exclusions_take_some_away() {
    for vendor in [Vendor::MonoCloud, Vendor::Looker, Vendor::PingOne] {
        let named = groups(&[("leaked", 4, 1), ("kiosk", 8, 1)]);
        let stage = Stage::new(vendor, Options { groups: named, ..Options::ordinary(64) }).await;
        let spared = stage.tenant.simulator().user_at(5);
        assert_eq!(spared.groups, ["leaked"]);
        stage
            .policy(json!({"groups": ["leaked"], "exclude": {"groups": ["kiosk"], "users": [{"id": spared.id}]}}))
            .await;
        let seen = stage.enforced("the members are required").await;
        assert_eq!((seen.count("targeted"), seen.count("enforced")), (7, 7), "{vendor:?}: {:#}", seen.0["status"]);
        stage.assert_written(|user| user.index % 8 == 5 && user.index != 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn populations_of_pingone_select_and_exclude_by_their_exact_name() {
    let stage = Stage::new(Vendor::PingOne, Options::ordinary(60)).await;
    stage
        .policy(json!({"populations": ["Partners", "Partners Asia"], "exclude": {"populations": ["Partners Asia"]}}))
        .await;
    stage.enforced("the partners are required").await;
    let handle = stage.tenant.simulator();
    stage.assert_written(|user| handle.population_at(user.index) == "Partners").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_other_states_are_skipped_until_the_policy_names_their_state() {
    let some = Share::Count(4);
    for (vendor, classes) in [
        (Vendor::PingOne, &[Class::Disabled, Class::AccountLocked][..]),
        (Vendor::MonoCloud, &[Class::Disabled, Class::Blocked]),
        (Vendor::Looker, &[Class::Disabled, Class::CredentialDisabled]),
    ] {
        let classes: Vec<(Class, Share)> = classes.iter().map(|class| (*class, some)).collect();
        let stage = Stage::new(vendor, Options::new(Population::with(40, &classes))).await;
        let everybody = |states: Value| json!([{"name": "some", "providerRef": {"name": "tenant"}, "scope": "Tenant", "accountStates": states}]);
        stage.policy(json!({"scope": "Tenant"})).await;
        let seen = stage.enforced("the active are required").await;
        let api_user = i64::from(vendor == Vendor::Looker);
        assert_eq!(
            (seen.count("enforced"), seen.count("skipped")),
            (32, 8 + api_user),
            "{vendor:?}: {:#}",
            seen.0["status"]
        );
        stage.assert_written(|user| user.class == Class::Ordinary).await;
        let patch = json!({"spec": {"targets": everybody(json!(["Active", "Locked", "Disabled"]))}});
        stage.bed.patch_policy("inc", patch).await;
        let seen = stage.enforced("the others as well").await;
        assert_eq!(
            (seen.count("enforced"), seen.count("skipped")),
            (40, api_user),
            "{vendor:?}: {:#}",
            seen.0["status"]
        );
        stage.assert_written(|user| user.class != Class::ApiUser).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_users_of_any_object_of_a_tenant_are_never_written() {
    let stage = Stage::new(Vendor::MonoCloud, Options::ordinary(12)).await;
    let Stage { bed, tenant, .. } = &stage;
    let (first, second) = (tenant.simulator().user_at(0), tenant.simulator().user_at(1));
    bed.patch_provider("tenant", json!({"spec": {"protectedUsers": [{"username": first.username}]}})).await;
    let mut other = fast();
    crate::bed::merge(&mut other, json!({"protectedUsers": [{"email": second.email}]}));
    tenant.connect(bed, "same-tenant", other).await;
    bed.provider_until("same-tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    // Named by id, by a list, or as part of everybody: it makes no difference.
    stage.policy(json!({"scope": "Tenant"})).await;
    let seen = stage.enforced("all others are required").await;
    assert_eq!((seen.count("enforced"), seen.count("skipped")), (10, 2), "{:#}", seen.0["status"]);
    stage.assert_written(|user| user.index > 1).await;
    let named = json!([{"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": [{"id": first.id}, {"id": second.id}]}]);
    bed.patch_policy("inc", json!({"spec": {"targets": named}})).await;
    let seen = stage.enforced("both are skipped").await;
    assert_eq!((seen.count("skipped"), seen.count("targeted")), (2, 2), "{:#}", seen.0["status"]);
    look_again(bed, "inc", "second").await;
    stage.assert_written(|user| user.index > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_lists_and_exclusions_of_keycloak_select_as_those_of_the_others_do() {
    let members = ["user-0001", "user-0002", "user-0003"];
    let options = RealmOptions::default().users(8).group("leaked", &members).group("kiosk", &["user-0002"]);
    let tenant = Tenant::keycloak(options).await;
    let mut bed = Bed::new("selection").await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    let history = History::of(&bed, "inc").await;
    let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "groups": ["leaked"],
        "users": [{"username": "USER-0005"}, {"email": "User-0006@example.org"}, {"email": "user-0003@example.org"}],
        "exclude": {"groups": ["kiosk"], "users": [{"username": "user-0006"}]}});
    bed.policy("inc", tenant.policy("tenant", json!({"targets": [target]}))).await;
    let enforced = |p: &View| p.condition("Enforced") == "True Enforced";
    let seen = bed.policy_until("inc", "the selected are required", enforced).await;
    assert_eq!((seen.count("targeted"), seen.count("enforced")), (3, 3), "{:#}", seen.0["status"]);
    let written = tenant.written().await;
    assert_eq!(written.keys().collect::<Vec<_>>(), ["user-0001", "user-0003", "user-0005"]);
    assert!(written.values().all(|times| *times == 1));
    history.assert_sound();
}

/// Rows are compared with what excludes and protects, for PingOne does not say whether its search minds case.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_another_case_excludes_and_selects_though_the_search_is_strict() {
    let strict = Faults { exact_eq: true, ..Faults::default() };
    let stage = Stage::new(Vendor::PingOne, Options::ordinary(40).faults(strict)).await;
    let users = stage.tenant.simulator().users();
    let with_capitals = |user: &&User| user.email != user.email.to_lowercase();
    let spared = users.iter().find(with_capitals).expect("an address with capitals");
    let plain = users.iter().find(|user| !with_capitals(user)).expect("an address without");
    stage.policy(json!({"scope": "Tenant", "exclude": {"users": [{"email": spared.email.to_lowercase()}]}})).await;
    let seen = stage.enforced("everybody but one").await;
    assert_eq!(seen.count("enforced"), 39, "{:#}", seen.0["status"]);
    stage.assert_written(|user| user.id != spared.id).await;
    let listed = json!({"targets": [{"name": "one", "providerRef": {"name": "tenant"}, "scope": "Selected",
        "users": [{"email": plain.email.to_uppercase()}]}]});
    stage.bed.policy("one", stage.tenant.policy("tenant", listed)).await;
    let seen = stage.bed.policy_until("one", "it is found", |p| p.condition("Enforced") == "True Enforced").await;
    assert_eq!((seen.count("targeted"), seen.count("enforced")), (1, 1), "{:#}", seen.0["status"]);
}
