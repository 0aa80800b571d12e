//! Policies that cannot be carried out as they are: what the provider cannot do, one tenant twice, a cutoff ahead.

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Value, json};
use simulators::{Looker, MonoCloud, Options};

use crate::bed::{Bed, cutoff, fast, merge};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_cannot_do_is_refused_at_its_path_with_what_to_write_instead() {
    let (looker, mono) = (
        Looker::start(Options::ordinary(5)).await.expect("a simulator"),
        MonoCloud::start(Options::ordinary(5)).await.expect("a simulator"),
    );
    let mut bed = Bed::new("unsupported").await;
    bed.start().await;
    bed.looker("lo", &looker, fast()).await;
    bed.monocloud("mc", &mono, fast()).await;
    bed.monocloud("mc-again", &mono, fast()).await;
    let mut read_only = fast();
    merge(&mut read_only, json!({"access": "ReadOnly"}));
    bed.looker("lo-read", &looker, read_only).await;
    let mut guarded = fast();
    merge(&mut guarded, json!({"protectedUsers": [{"email": looker.user_at(0).email}]}));
    let guarded_tenant = Looker::start(Options::ordinary(5)).await.expect("a simulator");
    bed.looker("lo-guarded", &guarded_tenant, guarded).await;
    let since = json!({"passwordChangedAfter": cutoff()});
    let one = |provider: &str, target: Value| {
        let mut whole = json!({"name": "one", "providerRef": {"name": provider}, "scope": "Tenant"});
        merge(&mut whole, target);
        json!([whole])
    };
    let cases: [(&str, Value, Value, &str, &str, &str); 9] = [
        (
            "populations",
            since.clone(),
            one("lo", json!({"scope": "Selected", "populations": ["Default"]})),
            "UnsupportedByProvider",
            "spec.targets[0].populations: ",
            "write groups instead",
        ),
        (
            "username",
            since.clone(),
            one("lo", json!({"scope": "Selected", "users": [{"email": "a@b.example"}, {"username": "bob"}]})),
            "UnsupportedByProvider",
            "spec.targets[0].users[1].username: ",
            "write email or id instead",
        ),
        (
            "format",
            since.clone(),
            one(
                "lo",
                json!({"scope": "Selected", "usersFrom": [{"format": "Username", "configMapRef": {"name": "leak", "key": "users.txt"}}]}),
            ),
            "UnsupportedByProvider",
            "spec.targets[0].usersFrom[0].format: ",
            "formats ID, Username and Email",
        ),
        (
            "exclude",
            since.clone(),
            one("lo", json!({"exclude": {"users": [{"username": "bob"}]}})),
            "UnsupportedByProvider",
            "spec.targets[0].exclude.users[0].username: ",
            "write email or id instead",
        ),
        (
            "age",
            json!({"maxPasswordAgeDays": 90}),
            one("lo", json!({})),
            "UnsupportedByProvider",
            "spec.requirement.maxPasswordAgeDays: ",
            "write passwordChangedAfter",
        ),
        (
            "native",
            since.clone(),
            one("mc", json!({"strategy": "TenantNative", "accountStates": ["Active", "Locked", "Disabled"]})),
            "UnsupportedByProvider",
            "spec.targets[0].strategy: ",
            "write PerUser",
        ),
        (
            "guarded",
            since.clone(),
            one("lo-guarded", json!({"strategy": "TenantNative", "accountStates": ["Active", "Locked", "Disabled"]})),
            "InvalidSpec",
            "",
            "protect",
        ),
        (
            "read-only",
            since.clone(),
            one("lo-read", json!({})),
            "ReadOnly",
            "spec.targets[0].providerRef: ",
            "set access: ReadWrite there, or mode: Observe here",
        ),
        (
            "twice",
            since.clone(),
            json!([{"name": "a", "providerRef": {"name": "mc"}, "scope": "Tenant"}, {"name": "b", "providerRef": {"name": "mc-again"}, "scope": "Tenant"}]),
            "DuplicateTenant",
            "",
            "put their users and groups into one target",
        ),
    ];
    bed.list_in_config_map("leak", "users.txt", "bob\n").await;
    for (name, requirement, targets, ..) in &cases {
        bed.policy(name, json!({"mode": "Enforce", "requirement": requirement, "targets": targets})).await;
    }
    for (name, _, _, reason, path, sentence) in &cases {
        let view = bed.policy_says(name, "Ready", &format!("False {reason}"), &[path, sentence]).await;
        assert_eq!(view.condition("Stalled"), format!("True {reason}"), "{name}");
        assert!(view.message("Ready").starts_with(path), "{}", view.message("Ready"));
        println!("{name}: {}", view.message("Ready"));
    }
    assert_eq!(looker.requirements().len() + mono.requirements().len() + guarded_tenant.requirements().len(), 0);
    // A bad target stops only itself, and the policy is at work as long as any is.
    bed.policy(
        "half",
        json!({"mode": "Enforce", "requirement": since, "targets": [
        {"name": "bad", "providerRef": {"name": "lo"}, "scope": "Selected", "populations": ["Default"]},
        {"name": "good", "providerRef": {"name": "mc"}, "scope": "Tenant"}]}),
    )
    .await;
    let view = bed
        .policy_until("half", "the good half is done", |v| v.0["status"]["targets"][1]["reason"] == "Enforced")
        .await;
    assert_eq!((view.condition("Ready"), view.count("enforced")), ("False UnsupportedByProvider".to_owned(), 5));
    assert_eq!(view.condition("Stalled"), "True UnsupportedByProvider");
    assert!(
        view.message("Ready").starts_with("target bad: spec.targets[0].populations: "),
        "{}",
        view.message("Ready")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutoff_ahead_is_waited_for_and_one_far_ahead_is_a_question_to_a_human() {
    let simulator = MonoCloud::start(Options::ordinary(6)).await.expect("a simulator");
    let mut bed = Bed::new("ahead").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let ahead = |seconds| {
        let then = Timestamp::now() + SignedDuration::from_secs(seconds);
        then.round(Unit::Second).expect("a whole second").to_string()
    };
    let (soon, later, far) = (ahead(6), ahead(606), ahead(7200));
    for (name, user, cutoff) in [("soon", 0, &soon), ("later", 1, &later), ("far", 2, &far)] {
        bed.policy(name, json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff}, "targets": [
            {"name": "one", "providerRef": {"name": "mc"}, "scope": "Selected", "users": [{"id": simulator.user_at(user).id}]}]})).await;
    }
    let view = bed.policy_says("soon", "Ready", "False WaitingForCutoff", &[&soon, "do not count"]).await;
    assert_eq!(view.condition("Reconciling"), "True WaitingForCutoff");
    let view = bed
        .policy_says("later", "Ready", "False CutoffInFuture", &[&later, "the provider's clock", "which said"])
        .await;
    assert_eq!(view.condition("Stalled"), "True CutoffInFuture");
    bed.policy_says("far", "Ready", "False CutoffInFuture", &[&far, "Check the date and its time zone"]).await;
    // Each becomes the next by itself.
    bed.policy_says("soon", "Ready", "True Enforced", &[]).await;
    let required = simulator.ledger().into_iter().find(|record| record.requires_change()).expect("one is required");
    assert!(required.time >= soon.parse::<Timestamp>().expect("a time"), "{} before {soon}", required.time);
    bed.policy_says("later", "Ready", "False WaitingForCutoff", &[&later]).await;
    assert_eq!(simulator.requirements().len(), 1);
    assert!(bed.policy_until("far", "still far", |_| true).await.condition("Stalled").contains("CutoffInFuture"));
}
