//! Policies with mistakes in them: a clear error at the right place, nothing written that should not be, and nothing lost
//! once the mistake is corrected.

use serde_json::{Value, json};
use simulators::{Action, CallFault, Class, Faults, MonoCloud, Options, PingOne, Population, Share, When, monocloud};

use crate::bed::{Bed, cutoff, fast, merge};

/// The samples of failures as `subject category`, sorted.
fn samples(view: &crate::bed::View) -> Vec<String> {
    let failures = view.0["status"]["failures"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<String> = failures
        .iter()
        .map(|f| {
            format!("{} {}", f["subject"].as_str().unwrap_or_default(), f["category"].as_str().unwrap_or_default())
        })
        .collect();
    all.sort();
    all
}

/// A tenant where two users have one address.
fn with_lookalikes() -> Options {
    Options::new(Population::with(40, &[(Class::Lookalike, Share::Count(2))]))
}

fn ambiguous_address(simulator: &simulators::Handle) -> String {
    let users = simulator.users();
    let pair = users.windows(2).find(|pair| pair[0].email == pair[1].email).expect("two share an address");
    pair[0].email.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_selects_or_excludes_and_does_not_resolve_stops_the_target_before_the_first_write() {
    let simulator = PingOne::start(with_lookalikes()).await.expect("a simulator");
    let mut bed = Bed::new("unresolved").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    let both = ambiguous_address(&simulator);
    let good = simulator.user_at(0).email;
    bed.list_in_config_map("malformed", "users.txt", &format!("# leavers\n{good}\nno address\n")).await;
    bed.list_in_config_map("keys", "other.txt", &good).await;
    let namespace = bed.namespace.clone();
    bed.put_secret(&namespace, "unlabelled", None, false, &[("users.txt", good.as_bytes())]).await;
    bed.grant("secrets", "unlabelled").await;
    let list =
        |name: &str| json!({"usersFrom": [{"format": "Email", "configMapRef": {"name": name, "key": "users.txt"}}]});
    let cases: [(&str, Value, &str, &str, &str); 13] = [
        (
            "group",
            json!({"scope": "Selected", "groups": ["sales", "contractor"]}),
            "SelectionNotFound",
            "groups[1]",
            "no such group",
        ),
        ("twins", json!({"scope": "Selected", "groups": ["twins"]}), "SelectionAmbiguous", "groups[0]", "write its id"),
        (
            "prefix",
            json!({"scope": "Selected", "populations": ["Partner"]}),
            "SelectionNotFound",
            "populations[0]",
            "no such group or population",
        ),
        (
            "x-group",
            json!({"exclude": {"groups": ["contractors", "kiosk"]}}),
            "ExclusionUnresolved",
            "exclude.groups[1]",
            "correct or remove it",
        ),
        (
            "x-twins",
            json!({"exclude": {"groups": ["twins"]}}),
            "ExclusionUnresolved",
            "exclude.groups[0]",
            "write the id",
        ),
        (
            "x-prefix",
            json!({"exclude": {"populations": ["Partner"]}}),
            "ExclusionUnresolved",
            "exclude.populations[0]",
            "correct or remove it",
        ),
        (
            "x-no-list",
            json!({"exclude": list("nowhere")}),
            "ExclusionUnresolved",
            "exclude.usersFrom[0]",
            "create role",
        ),
        (
            "x-no-key",
            json!({"exclude": list("keys")}),
            "ExclusionUnresolved",
            "exclude.usersFrom[0]",
            "has no key `users.txt`",
        ),
        (
            "x-line",
            json!({"exclude": list("malformed")}),
            "ExclusionUnresolved",
            "exclude.usersFrom[0]",
            "ConfigMap/malformed users.txt:3 names nobody",
        ),
        (
            "x-label",
            json!({"exclude": {"usersFrom": [{"format": "Email", "secretRef": {"name": "unlabelled", "key": "users.txt"}}]}}),
            "ExclusionUnresolved",
            "exclude.usersFrom[0]",
            "passwordreset.dev/user-list: \"true\"",
        ),
        (
            "x-both",
            json!({"exclude": {"users": [{"username": "leaver"}, {"email": both}]}}),
            "ExclusionUnresolved",
            "exclude.users[1]",
            "more than one",
        ),
        (
            "x-shape",
            json!({"exclude": {"users": [{"email": "no-address"}]}}),
            "ExclusionUnresolved",
            "exclude.users[0]",
            "can name nobody",
        ),
        (
            "list-shape",
            json!({"scope": "Selected", "usersFrom": [{"format": "Email", "configMapRef": {"name": "malformed", "key": "nothing"}}]}),
            "UserListNotFound",
            "usersFrom[0]",
            "has no key",
        ),
    ];
    for (name, target, ..) in &cases {
        let mut whole = json!({"scope": "Tenant"});
        merge(&mut whole, target.clone());
        bed.enforce(name, "p1", whole).await;
    }
    for (name, _, reason, path, sentence) in &cases {
        let path = format!("spec.targets[0].{path}: ");
        let view = bed.policy_says(name, "Ready", &format!("False {reason}"), &[&path, sentence]).await;
        assert_eq!(view.condition("Stalled"), format!("True {reason}"), "{name}");
        assert_eq!(
            (view.condition("Reconciling"), view.0["status"]["targets"][0]["reason"].as_str()),
            (String::new(), Some(*reason)),
            "{name}"
        );
        assert!(view.message("Ready").starts_with(&path), "{}", view.message("Ready"));
        if reason.starts_with("Exclusion") {
            assert!(view.message("Ready").contains("Nothing is written on this target"), "{}", view.message("Ready"));
        }
    }
    assert_eq!(simulator.requirements().len(), 0, "not one write");

    // Corrected, each goes on: the list by itself, the others by their edit.
    bed.list_in_config_map("malformed", "users.txt", &good).await;
    let view = bed.policy_says("x-line", "Ready", "True Enforced", &[]).await;
    let everybody = simulator.users().len() as i64;
    assert_eq!(view.count("targeted"), everybody - 1, "{:#}", view.0["status"]);
    bed.patch_policy(
        "twins",
        json!({"spec": {"targets": [{"name": "target", "providerRef": {"name": "p1"}, "scope": "Selected",
        "groups": [simulator.group_ids("twins")[0]]}]}}),
    )
    .await;
    bed.policy_says("twins", "Ready", "True Enforced", &[]).await;
    assert!(simulator.requirements().values().all(|times| *times == 1));
    let public = bed.everything_public().await;
    assert!(!public.contains(simulators::PERSONAL_CANARY) && !public.contains(simulators::SECRET_CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_group_whose_members_cannot_be_listed_protects_by_stopping() {
    let simulator = MonoCloud::start(Options::ordinary(20)).await.expect("a simulator");
    simulator.set(Faults {
        calls: vec![CallFault::always(monocloud::GROUP_USERS, When::After, Action::TruncatedJson)],
        ..Faults::default()
    });
    let mut bed = Bed::new("cut-short").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant", "exclude": {"groups": ["sales"]}})).await;
    bed.provider_says("mc", "Ready", "False ProviderResponseInvalid", &[]).await;
    assert_eq!(simulator.requirements().len(), 0, "not one write");
    simulator.set(Faults::default());
    let view = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    let members: Vec<String> =
        simulator.users().into_iter().filter(|u| u.groups.iter().any(|g| g == "sales")).map(|u| u.id).collect();
    assert_eq!(view.count("targeted") as usize, 20 - members.len());
    assert!(members.iter().all(|id| !simulator.requirements().contains_key(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_user_who_does_not_resolve_stops_every_policy_on_the_tenant() {
    let simulator = PingOne::start(with_lookalikes()).await.expect("a simulator");
    let mut bed = Bed::new("protected").await;
    bed.start().await;
    let protected = |users: Value| {
        let mut spec = fast();
        merge(&mut spec, json!({"protectedUsers": users}));
        spec
    };
    let chief = simulator.user_at(7);
    bed.pingone("guarded", &simulator, protected(json!([{"username": chief.username}, {"username": "misspelt"}])))
        .await;
    // Another object of the same tenant, without protection of its own.
    bed.pingone("other", &simulator, fast()).await;
    bed.enforce("first", "guarded", json!({"scope": "Tenant"})).await;
    bed.enforce(
        "second",
        "other",
        json!({"scope": "Selected", "users": [{"id": chief.id}, {"id": simulator.user_at(8).id}]}),
    )
    .await;
    let path = format!("IdentityProvider/{}/guarded spec.protectedUsers[1]: ", bed.namespace);
    for name in ["first", "second"] {
        let view = bed
            .policy_says(name, "Ready", "False ProtectedUserUnresolved", &[&path, "Nothing is written on this tenant"])
            .await;
        assert_eq!(view.condition("Stalled"), "True ProtectedUserUnresolved");
    }
    let both = ambiguous_address(&simulator);
    bed.patch_provider("guarded", json!({"spec": {"protectedUsers": [{"username": chief.username}, {"email": both}]}}))
        .await;
    for name in ["first", "second"] {
        bed.policy_says(name, "Ready", "False ProtectedUserUnresolved", &[&path, "more than one"]).await;
    }
    assert_eq!(simulator.requirements().len(), 0, "not one write");
    bed.patch_provider("guarded", json!({"spec": {"protectedUsers": [{"username": chief.username}]}})).await;
    for name in ["first", "second"] {
        let view = bed.policy_says(name, "Ready", "True Enforced", &["Protected 1"]).await;
        assert_eq!(view.count("skipped"), 1);
    }
    assert!(!simulator.requirements().contains_key(&chief.id));
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_names_nobody_two_or_nothing_is_a_sample_by_its_place_until_it_is_fixed_excluded_or_skipped() {
    let simulator = PingOne::start(with_lookalikes()).await.expect("a simulator");
    let mut bed = Bed::new("entries").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    let both = ambiguous_address(&simulator);
    let users: Vec<_> = simulator.users().into_iter().filter(|user| user.email != both).collect();
    let list =
        format!("# leak\n{}\nnot an address\n{}\nleft@people.example\n", users[0].email, users[1].email.to_uppercase());
    bed.list_in_config_map("leak", "users.txt", &list).await;
    let target = |extra: Value| {
        let mut target = json!({"name": "target", "providerRef": {"name": "p1"}, "scope": "Selected",
            "users": [{"username": users[2].username}, {"username": "left"}, {"email": both}],
            "usersFrom": [{"format": "Email", "configMapRef": {"name": "leak", "key": "users.txt"}}]});
        merge(&mut target, extra);
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": "2026-01-01T00:00:00Z"}, "targets": [target]})
    };
    let mut spec = target(json!({}));
    spec["requirement"]["passwordChangedAfter"] = json!(cutoff());
    let requirement = spec["requirement"].clone();
    bed.policy("inc", spec).await;
    let view =
        bed.policy_says("inc", "Ready", "False PartiallyFailed", &["4 failed", "Ambiguous 1", "NotFound 3"]).await;
    assert_eq!(view.condition("Enforced"), "False PartiallyFailed");
    assert_eq!(view.condition("Stalled"), "True PartiallyFailed");
    assert_eq!((view.count("targeted"), view.count("enforced"), view.count("failed")), (7, 3, 4));
    assert_eq!(
        samples(&view),
        [
            "ConfigMap/leak users.txt:3 NotFound",
            "ConfigMap/leak users.txt:5 NotFound",
            "spec.targets[0].users[1] NotFound",
            "spec.targets[0].users[2] Ambiguous"
        ]
    );
    assert_eq!(simulator.requirements().len(), 3);

    // Skipped.
    let edit = |spec: Value| {
        let mut spec = spec;
        spec["requirement"] = requirement.clone();
        json!({"spec": spec})
    };
    bed.patch_policy("inc", edit(target(json!({"missingUsers": "Skip"})))).await;
    let view =
        bed.policy_until("inc", "missing users are skipped", |v| v.is_current() && v.count("skipped") == 3).await;
    assert_eq!((view.condition("Ready").as_str(), view.count("failed")), ("False PartiallyFailed", 1));
    assert_eq!(samples(&view), ["spec.targets[0].users[2] Ambiguous"]);

    // Excluded, the malformed line too, or fixed in the list.
    let exclude = json!({"exclude": {"users": [{"email": both}, {"username": "LEFT"}, {"email": "not an address"}]}});
    bed.list_in_config_map("leak", "users.txt", &list.replace("left@people.example", &users[3].email)).await;
    bed.patch_policy("inc", edit(target(exclude.clone()))).await;
    let view = bed
        .policy_until("inc", "the exclusion is read", |v| {
            v.is_current() && !v.condition("Ready").contains("Partially") && v.condition("Reconciling").is_empty()
        })
        .await;
    println!("{:#}", view.0["status"]);
    // An address that two have does not say whom to leave out.
    assert_eq!(view.condition("Ready"), "False ExclusionUnresolved");
    let mut fixed = target(json!({"exclude": {"users": [{"username": "LEFT"}, {"email": "not an address"}]}}));
    fixed["targets"][0]["users"][2] = json!({"id": users[4].id});
    bed.patch_policy("inc", edit(fixed)).await;
    let view = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(
        (view.count("targeted"), view.count("enforced"), samples(&view).len()),
        (5, 5, 0),
        "{:#}",
        view.0["status"]
    );
    assert!(simulator.requirements().values().all(|times| *times == 1));
    let public = bed.everything_public().await;
    assert!(!public.contains("people.example") && !public.contains(simulators::PERSONAL_CANARY));
}
