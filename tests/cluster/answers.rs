//! Answers that no provider should give: never taken for "no users" or "done", never followed to another origin.

use serde_json::json;
use simulators::{
    Action, CallFault, DateHeader, Faults, Handle, Looker, MonoCloud, Options, Paging, PagingHeaders, PingOne, Trap,
    When, looker, monocloud, pingone,
};

use crate::bed::{Bed, fast, merge};

const USERS: u32 = 12;

/// A provider with several pages, verified while it still answered well.
struct Case {
    name: &'static str,
    simulator: Handle,
    faults: Faults,
}

fn pages() -> serde_json::Value {
    let mut spec = fast();
    merge(&mut spec, json!({"pageSize": 5}));
    spec
}

fn at_listing(call: &str, action: Action) -> Faults {
    Faults { calls: vec![CallFault::always(call, When::After, action)], ..Faults::default() }
}

fn paging(paging: Paging) -> Faults {
    Faults { paging, ..Faults::default() }
}

async fn monocloud(bed: &Bed, name: &'static str, faults: Faults) -> Case {
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    bed.monocloud(name, &simulator, pages()).await;
    Case { name, simulator, faults }
}

async fn pingone(bed: &Bed, name: &'static str, faults: Faults) -> Case {
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    bed.pingone(name, &simulator, pages()).await;
    Case { name, simulator, faults }
}

async fn looker(bed: &Bed, name: &'static str, faults: Faults) -> Case {
    let simulator = Looker::start(Options::ordinary(USERS)).await.expect("a simulator");
    bed.looker(name, &simulator, pages()).await;
    Case { name, simulator, faults }
}

/// Breaks each tenant once it is verified, expects `reason` of it and no claim of completeness, repairs it, and expects
/// everybody to be required once.
async fn break_and_repair(bed: &Bed, cases: &[Case], reason: &str, class: &str) {
    for case in cases {
        bed.provider_says(case.name, "Ready", "True Verified", &[]).await;
        case.simulator.set(case.faults.clone());
        bed.enforce(case.name, case.name, json!({"scope": "Tenant"})).await;
    }
    for case in cases {
        let view = bed.provider_says(case.name, "Ready", &format!("False {reason}"), &[]).await;
        assert_eq!(view.condition(class), format!("True {reason}"), "{}", case.name);
        println!("{}: {}", case.name, view.message("Ready"));
        let what = format!("{}: the policy says it too", case.name);
        let policy =
            bed.policy_until(case.name, &what, |p| p.condition("ProviderReady") == "False ProviderNotReady").await;
        assert!(
            policy.condition("Enforced").starts_with("False") && policy.count("failed") == 0,
            "{:#}",
            policy.0["status"]
        );
        assert!(policy.0["status"]["targets"][0]["completedAt"].is_null(), "{:#}", policy.0["status"]);
    }
    for case in cases {
        case.simulator.set(Faults::default());
        if class == "Stalled" {
            // What a human has to correct is probed slowly; an edit has it looked at. The URL's case changes nothing.
            bed.patch_provider(case.name, json!({"spec": {"pageSize": 6}})).await;
        }
    }
    for case in cases {
        let policy = bed.policy_says(case.name, "Ready", "True Enforced", &[]).await;
        assert_eq!(policy.count("enforced"), i64::from(USERS), "{}", case.name);
        assert_eq!(case.simulator.requirements().len() as u32, USERS, "{}", case.name);
        assert!(case.simulator.requirements().values().all(|times| *times == 1), "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_believed_is_neither_nobody_nor_done() {
    let mut bed = Bed::new("answers").await;
    bed.start().await;
    let text = |content_type: &str, body: &str| Action::Answer {
        status: 200,
        content_type: content_type.into(),
        body: body.into(),
        headers: vec![],
    };
    let list = monocloud::LIST_USERS;
    let endless = || paging(Paging { endless: true, ..Paging::default() });
    let looping = || Paging { looping: true, ..Paging::default() };
    let cases = [
        monocloud(&bed, "truncated", at_listing(list, Action::TruncatedJson)).await,
        monocloud(&bed, "cut-short", at_listing(list, Action::CutShort)).await,
        monocloud(&bed, "html", at_listing(list, Action::Html)).await,
        monocloud(&bed, "oversized", at_listing(list, Action::Oversized { bytes: 6 << 20 })).await,
        monocloud(&bed, "deep", at_listing(list, Action::Nested { depth: 200_000 })).await,
        monocloud(&bed, "empty", at_listing(list, Action::Empty)).await,
        monocloud(&bed, "garbage", at_listing(list, text("application/json", "\u{0}\u{1}~"))).await,
        monocloud(&bed, "another-shape", at_listing(list, text("application/json", r#"{"users": []}"#))).await,
        monocloud(&bed, "nobody", at_listing(list, text("application/json", "[]"))).await,
        monocloud(&bed, "mc-endless", endless()).await,
        monocloud(&bed, "mc-looping", paging(Paging { headers: PagingHeaders::None, ..looping() })).await,
        pingone(&bed, "p1-html", at_listing(pingone::LIST_USERS, Action::Html)).await,
        pingone(&bed, "p1-looping", paging(looping())).await,
        pingone(&bed, "p1-endless", endless()).await,
        looker(&bed, "lo-truncated", at_listing(looker::LIST_USERS, Action::TruncatedJson)).await,
        looker(&bed, "lo-looping", paging(Paging { headers: PagingHeaders::None, ..looping() })).await,
    ];
    break_and_repair(&bed, &cases, "ProviderResponseInvalid", "Reconciling").await;
    let public = bed.everything_public().await;
    assert!(!public.contains(simulators::PERSONAL_CANARY) && !public.contains(simulators::SECRET_CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_follows_a_link_or_a_redirect_to_another_origin() {
    let trap = Trap::start().await.expect("a trap");
    let mut bed = Bed::new("origins").await;
    bed.start().await;
    let elsewhere = |status| Action::Redirect { status, location: format!("{}/api/users", trap.origin()) };
    let link = || paging(Paging { next_origin: Some(trap.origin()), ..Paging::default() });
    let cases = [
        pingone(&bed, "p1-link", link()).await,
        looker(&bed, "lo-link", link()).await,
        monocloud(&bed, "mc-302", at_listing(monocloud::LIST_USERS, elsewhere(302))).await,
        monocloud(&bed, "mc-307", at_listing(monocloud::LIST_USERS, elsewhere(307))).await,
        monocloud(&bed, "mc-write", at_listing(monocloud::FORCE_RESET, elsewhere(308))).await,
        pingone(&bed, "p1-token", at_listing(pingone::TOKEN, elsewhere(307))).await,
        looker(&bed, "lo-login", at_listing(looker::LOGIN, elsewhere(307))).await,
    ];
    for case in &cases[5..] {
        bed.provider_says(case.name, "Ready", "True Verified", &[]).await;
        case.simulator.revoke_tokens();
    }
    break_and_repair(&bed, &cases, "EndpointRefused", "Stalled").await;
    assert_eq!(trap.caught(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_tenant_is_a_bad_answer_until_somebody_is_there() {
    let simulator = MonoCloud::start(Options::ordinary(0)).await.expect("a simulator");
    let mut bed = Bed::new("nobody").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    bed.provider_says("mc", "Ready", "False ProviderResponseInvalid", &[]).await;
    let policy = bed.policy_until("inc", "said", |p| p.condition("ProviderReady") == "False ProviderNotReady").await;
    assert!(policy.condition("Enforced").starts_with("False"));
    simulator.hire();
    // Hired now, with a password of now.
    let policy = bed.policy_says("inc", "Ready", "True Changed", &[]).await;
    assert_eq!((policy.count("targeted"), policy.count("compliant")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_day_off_is_not_believed_and_one_that_is_silent_is_ours() {
    let mut bed = Bed::new("clocks").await;
    bed.start().await;
    let silent = monocloud(&bed, "silent", Faults::default()).await;
    silent.simulator.set(Faults { date: DateHeader::Absent, ..Faults::default() });
    let garbage = monocloud(&bed, "garbage", Faults::default()).await;
    garbage.simulator.set(Faults { date: DateHeader::Raw("the day before yesterday".into()), ..Faults::default() });
    let off = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    off.clock().set_offset_seconds(-2 * 86_400);
    bed.monocloud("off", &off, pages()).await;
    for name in ["silent", "garbage", "off"] {
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    let policy = bed
        .policy_says("off", "Ready", "False ProviderResponseInvalid", &["the provider's clock says", "ours says"])
        .await;
    assert_eq!(policy.condition("Stalled"), "True ProviderResponseInvalid");
    for name in ["silent", "garbage"] {
        bed.policy_says(name, "Ready", "True Enforced", &[]).await;
    }
    assert_eq!(off.requirements().len(), 0);
    off.clock().set_offset_seconds(0);
    bed.patch_policy("off", json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": "clock corrected"}}}))
        .await;
    bed.policy_says("off", "Ready", "True Enforced", &[]).await;
}
