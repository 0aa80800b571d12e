//! One account, or all of them, that the provider will not have changed, shows oddly or late, or that somebody else
//! changes meanwhile.

use serde_json::{Value, json};
use simulators::{
    Action, CallFault, Faults, Handle, Lag, Looker, MonoCloud, Options, PingOne, Play, When, looker, monocloud, pingone,
};

use crate::bed::{Bed, View, fast, merge};

const USERS: u32 = 12;

/// A tenant, and its calls for the listing and for the write.
pub struct Tenant {
    pub name: &'static str,
    pub simulator: Handle,
    pub list: &'static str,
    pub write: &'static str,
}

/// One of each simulated provider, connected and verified.
pub async fn one_of_each(bed: &Bed, users: u32, extra: Value) -> Vec<Tenant> {
    let options = || Options::ordinary(users);
    let tenants = vec![
        Tenant {
            name: "mc",
            simulator: MonoCloud::start(options()).await.expect("a simulator"),
            list: monocloud::LIST_USERS,
            write: monocloud::FORCE_RESET,
        },
        Tenant {
            name: "p1",
            simulator: PingOne::start(options()).await.expect("a simulator"),
            list: pingone::LIST_USERS,
            write: pingone::FORCE_CHANGE,
        },
        Tenant {
            name: "lo",
            simulator: Looker::start(options()).await.expect("a simulator"),
            list: looker::LIST_USERS,
            write: looker::PATCH_CREDENTIAL,
        },
    ];
    for tenant in &tenants {
        let mut spec = fast();
        merge(&mut spec, extra.clone());
        match tenant.name {
            "mc" => bed.monocloud("mc", &tenant.simulator, spec).await,
            "p1" => bed.pingone("p1", &tenant.simulator, spec).await,
            _ => bed.looker("lo", &tenant.simulator, spec).await,
        }
        bed.provider_says(tenant.name, "Ready", "True Verified", &[]).await;
    }
    tenants
}

/// Waits until the policy has everybody required, and checks with the provider that each of `users` was asked once.
pub async fn is_enforced(bed: &Bed, name: &str, simulator: &Handle, users: usize) -> View {
    let view = bed.policy_says(name, "Ready", "True Enforced", &[]).await;
    assert_eq!((view.count("enforced"), view.count("failed")), (users as i64, 0), "{name}: {:#}", view.0["status"]);
    let asked = simulator.requirements();
    assert!(asked.len() == users && asked.values().all(|times| *times == 1), "{name}: {asked:?}");
    view
}

fn everybody() -> Value {
    json!({"scope": "Tenant"})
}

fn with(calls: Vec<CallFault>) -> Faults {
    Faults { calls, ..Faults::default() }
}

/// I6.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_deleted_after_the_listing_is_gone_and_no_failure() {
    let mut bed = Bed::new("deleted").await;
    bed.start().await;
    for Tenant { name, simulator, list, .. } in one_of_each(&bed, USERS, json!({})).await {
        let leaver = simulator.user_at(7).id;
        let leaves = Action::Play { user: leaver.clone(), play: Play::Deletes };
        simulator.set(with(vec![CallFault::new(list, 1, When::After, leaves)]));
        bed.enforce(name, name, everybody()).await;
        let view = is_enforced(&bed, name, &simulator, USERS as usize - 1).await;
        assert!(view.0["status"]["failures"].as_array().is_none_or(Vec::is_empty), "{name}: {:#}", view.0["status"]);
        assert!(!simulator.requirements().contains_key(&leaver), "{name}");
    }
}

/// I6, at odds with a listing that goes on showing the account.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_listed_and_not_found_fails_for_now_and_keeps_nobody_else_waiting() {
    let mut bed = Bed::new("ghost").await;
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({"pageSize": 5})).await;
    // PingOne is listed once in each pass.
    for Tenant { name, simulator, write, .. } in tenants.into_iter().filter(|tenant| tenant.name != "p1") {
        let ghost = simulator.user_at(3).id;
        let not_found = |call: &str| CallFault::always(call, When::Before, Action::Status(404)).for_user(&ghost);
        let reads = [monocloud::READ_USER, looker::READ_USER];
        let credential = [looker::READ_CREDENTIAL, write];
        simulator.set(with(reads.iter().chain(&credential).map(|call| not_found(call)).collect()));
        bed.enforce(name, name, everybody()).await;
        let view = bed.policy_until(name, "all others are required", |view| view.count("enforced") == 11).await;
        assert!(view.condition("Enforced").starts_with("False"), "{name}: {:#}", view.0["status"]);
        let one_failed = |view: &View| view.count("failed") == 1 && view.count("pending") == 0;
        bed.policy_until(name, "the pass ends without that one", one_failed).await;
        simulator.set(Faults::default());
        // A write that Looker answers with 404 is a refusal, which is not tried again before an edit.
        if name == "mc" {
            is_enforced(&bed, name, &simulator, USERS as usize).await;
        }
    }
}

/// I7, for reads: an address that serves listings only must not make everybody look gone.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_account_can_be_found_that_is_listed_nobody_is_called_gone() {
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("all-ghosts").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    let not_found = |call: &str| CallFault::always(call, When::Before, Action::Status(404));
    simulator.set(with([pingone::READ_USER, pingone::READ_PASSWORD].map(not_found).to_vec()));
    bed.enforce("inc", "p1", everybody()).await;
    let view = bed.policy_until("inc", "all have failed", |view| view.count("failed") == i64::from(USERS)).await;
    assert!(view.condition("Enforced").starts_with("False"), "{:#}", view.0["status"]);
    assert_eq!(view.0["status"]["failures"][0]["category"], "Transient");
    simulator.set(Faults::default());
    is_enforced(&bed, "inc", &simulator, USERS as usize).await;
}

/// I8.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_conflict_the_account_is_read_and_only_written_again_where_it_is_still_due() {
    let mut bed = Bed::new("conflict").await;
    bed.shorten("SETTLE_SECONDS", 2);
    bed.start().await;
    for Tenant { name, simulator, write, .. } in one_of_each(&bed, USERS, json!({})).await {
        let (refused, done) = (simulator.user_at(3).id, simulator.user_at(8).id);
        simulator.set(with(vec![
            CallFault::new(write, 1, When::Before, Action::Status(409)).for_user(&refused),
            CallFault::new(write, 1, When::After, Action::Status(409)).for_user(&done),
        ]));
        bed.enforce(name, name, everybody()).await;
        is_enforced(&bed, name, &simulator, USERS as usize).await;
        assert_eq!(simulator.count(write), u64::from(USERS) + 1, "{name}: one more for the one that had no effect");
    }
}

/// I10.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_finds_every_write_invalid_is_at_fault_and_is_not_asked_for_each_account() {
    let mut bed = Bed::new("invalid").await;
    bed.start().await;
    for Tenant { name, simulator, write, .. } in one_of_each(&bed, 100, json!({})).await {
        simulator.set(with(vec![CallFault::always(write, When::Before, Action::Status(422))]));
        bed.enforce(name, name, everybody()).await;
        bed.provider_says(name, "Ready", "False PermissionDenied", &["finds every write invalid"]).await;
        let policy = bed.policy_says(name, "Ready", "False ProviderNotReady", &["finds every write invalid"]).await;
        assert_eq!(policy.count("failed"), 0, "{name}: no account is at fault: {:#}", policy.0["status"]);
        let tried = simulator.count(write);
        assert!((20..=30).contains(&tried), "{name}: {tried} writes were tried");
        simulator.set(Faults::default());
        bed.patch_provider(name, json!({"spec": {"pageSize": 50}})).await;
        is_enforced(&bed, name, &simulator, 100).await;
    }
}

/// I31.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_in_an_answer_is_passed_over_and_a_state_that_is_not_known_is_neither_done_nor_due() {
    let mut bed = Bed::new("unknown").await;
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, list, .. } in &tenants {
        let news = json!({"brandNew": {"nested": [1, null, "x"]}, "another_new": true});
        let odd = simulator.user_at(5).id;
        let mut calls = vec![CallFault::always(list, When::After, Action::Merge(news.clone()))];
        // Only PingOne's state of a password is one of a list of words.
        if *name == "p1" {
            let shown = Action::Merge(json!({"status": "A_STATE_OF_TOMORROW"}));
            calls.push(CallFault::always(pingone::READ_PASSWORD, When::After, shown).for_user(&odd));
            simulator.set(with(calls));
            bed.enforce(name, name, everybody()).await;
            let view = bed.policy_says(name, "Ready", "False PartiallyFailed", &["does not say enough"]).await;
            assert_eq!((view.count("unknown"), view.count("enforced")), (1, i64::from(USERS) - 1), "{name}");
            assert_eq!(view.condition("Enforced"), "False PartiallyFailed");
            assert!(!simulator.requirements().contains_key(&odd), "{name}: not written");
            simulator.set(Faults::default());
            bed.patch_policy(name, json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": "now"}}})).await;
        } else {
            simulator.set(with(calls));
            bed.enforce(name, name, everybody()).await;
        }
        is_enforced(&bed, name, simulator, USERS as usize).await;
    }
    // A listing and a read that leave out what tells whether somebody is due: the same for everybody.
    let silent = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let nothing = json!({"force_password_reset": null, "password_updated_at": null, "disabled": null});
    let left_out = |call| CallFault::always(call, When::After, Action::Merge(nothing.clone()));
    bed.monocloud("silent", &silent, fast()).await;
    bed.provider_says("silent", "Ready", "True Verified", &[]).await;
    silent.set(with(vec![left_out(monocloud::LIST_USERS), left_out(monocloud::READ_USER)]));
    bed.enforce("silent", "silent", everybody()).await;
    let view = bed.policy_says("silent", "Ready", "False PartiallyFailed", &["does not say enough"]).await;
    assert_eq!((view.count("unknown"), view.count("enforced")), (i64::from(USERS), 0), "{:#}", view.0["status"]);
    assert_eq!(silent.requirements().len(), 0);
}

/// I17, at one account and again and again, while the tenant answers about all others.
#[tokio::test(flavor = "multi_thread")]
async fn one_account_whose_write_breaks_every_time_is_left_out_and_tried_again_soon() {
    let mut bed = Bed::new("stumbles").await;
    bed.shorten("SETTLE_SECONDS", 2);
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, write, .. } in &tenants {
        let odd = simulator.user_at(5).id;
        simulator.set(with(vec![CallFault::always(write, When::Before, Action::Reset).for_user(&odd)]));
        bed.enforce(name, name, everybody()).await;
    }
    for Tenant { name, .. } in &tenants {
        let view = bed.policy_says(name, "Reconciling", "True PartiallyFailed", &["tried again soon"]).await;
        assert_eq!((view.count("enforced"), view.count("failed")), (i64::from(USERS) - 1, 1), "{:#}", view.0["status"]);
        assert_eq!(view.0["status"]["failures"][0]["category"], "Transient", "{name}");
    }
    // Nobody asks for a look, and the next one would be due in a quarter of an hour at the earliest.
    tenants.iter().for_each(|tenant| tenant.simulator.set(Faults::default()));
    for Tenant { name, simulator, .. } in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
    }
}

/// I15, at one account and one listed user again and again, while the tenant answers about all others.
#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_cannot_be_read_is_left_out_and_keeps_nobody_else_waiting() {
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("unread").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    let (odd, lost) = (simulator.user_at(5).id, simulator.user_at(7).id);
    let broken = |call: &str, id: &str| CallFault::always(call, When::Before, Action::Status(500)).for_user(id);
    simulator.set(with(vec![broken(pingone::READ_PASSWORD, &odd), broken(pingone::READ_USER, &lost)]));
    let list = json!({"scope": "Selected", "users": [{"id": lost}, {"id": simulator.user_at(0).id}]});
    for (policy, target, users) in [("all", everybody(), USERS), ("list", list, 2)] {
        bed.enforce(policy, "p1", target).await;
        let view = bed.policy_says(policy, "Reconciling", "True PartiallyFailed", &["tried again soon"]).await;
        let (enforced, status) = (view.count("enforced"), &view.0["status"]);
        assert_eq!((enforced, view.count("failed")), (i64::from(users) - 1, 1), "{policy}: {status:#}");
        assert_eq!(view.0["status"]["failures"][0]["category"], "Transient", "{policy}");
    }
    simulator.set(Faults::default());
    is_enforced(&bed, "all", &simulator, USERS as usize).await;
    bed.policy_says("list", "Ready", "True Enforced", &[]).await;
}

/// I19, at the read before a write: what another policy has just written to is read again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_a_write_that_cannot_be_read_is_no_refusal() {
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("garbled").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let odd = simulator.user_at(5);
    let garbled = Action::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: "{".to_owned(),
        headers: Vec::new(),
    };
    simulator.set(Faults {
        lag: Some(Lag::Milliseconds(20_000)),
        calls: vec![CallFault::always(monocloud::READ_USER, When::Before, garbled).for_user(&odd.id)],
        ..Faults::default()
    });
    bed.enforce("first", "mc", json!({"scope": "Selected", "users": [{"username": odd.username}]})).await;
    bed.until("the first policy has asked", |_| simulator.requirements().len() == 1, async || Ok(json!({}))).await;
    bed.enforce("second", "mc", everybody()).await;
    let view = bed.policy_says("second", "Reconciling", "True PartiallyFailed", &["tried again soon"]).await;
    assert_eq!(view.0["status"]["failures"][0]["category"], "Transient", "{:#}", view.0["status"]);
    simulator.set(Faults::default());
    is_enforced(&bed, "second", &simulator, USERS as usize).await;
}

/// I4, for a policy that names nobody else: what another one of the tenant has just been allowed tells whose fault it is.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_not_be_written_take_nothing_from_the_other_policies_of_their_tenant() {
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("forbidden").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let user = |index: u32| simulator.user_at(index).id;
    let refused =
        |index| CallFault::always(monocloud::FORCE_RESET, When::Before, Action::Status(403)).for_user(&user(index));
    simulator.set(with((0..6).map(refused).collect()));
    let listed = |users: std::ops::Range<u32>| json!({"scope": "Selected", "users": users.map(|index| json!({"id": user(index)})).collect::<Vec<_>>()});
    bed.enforce("others", "mc", listed(6..USERS)).await;
    bed.policy_says("others", "Ready", "True Enforced", &[]).await;
    bed.enforce("admins", "mc", listed(0..6)).await;
    let view = bed.policy_says("admins", "Ready", "False PartiallyFailed", &["Forbidden 6"]).await;
    assert_eq!(view.condition("ProviderReady"), "True Verified", "{:#}", view.0["status"]);
    assert_eq!(simulator.requirements().len(), USERS as usize - 6);
}

/// I33.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_shows_a_minute_late_is_waited_for_and_not_sent_again() {
    let mut bed = Bed::new("late").await;
    bed.set("SETTLE_SECONDS", "90");
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, .. } in &tenants {
        simulator.set(Faults { lag: Some(Lag::Milliseconds(60_000)), ..Faults::default() });
        bed.enforce(name, name, everybody()).await;
    }
    for Tenant { name, simulator, write, .. } in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
        assert_eq!(simulator.count(write), u64::from(USERS), "{name}: one write each");
    }
}

/// I34. Where the listing does not tell, the account is read before it is written.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_the_password_between_listing_and_read_is_not_asked() {
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("meanwhile").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    let eager = simulator.user_at(7).id;
    simulator.play(&eager, Play::Marks).expect("an admin marks");
    let complies = Action::Play { user: eager.clone(), play: Play::Complies };
    simulator.set(with(vec![CallFault::new(pingone::LIST_USERS, 1, When::After, complies)]));
    bed.enforce("inc", "p1", everybody()).await;
    let view = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((view.count("enforced"), view.count("compliant")), (i64::from(USERS) - 1, 1), "{:#}", view.0["status"]);
    assert!(!simulator.requirements().contains_key(&eager));
}

/// I35.
#[tokio::test(flavor = "multi_thread")]
async fn two_policies_by_two_objects_of_one_tenant_ask_each_account_once_and_both_are_done() {
    let mut bed = Bed::new("twice").await;
    bed.start().await;
    for Tenant { name, simulator, .. } in one_of_each(&bed, 40, json!({})).await {
        let other = format!("{name}-other");
        match name {
            "mc" => bed.monocloud(&other, &simulator, fast()).await,
            "p1" => bed.pingone(&other, &simulator, fast()).await,
            _ => bed.looker(&other, &simulator, fast()).await,
        }
        bed.provider_says(&other, "Ready", "True Verified", &[]).await;
        bed.enforce(name, name, everybody()).await;
        bed.enforce(&other, &other, everybody()).await;
        is_enforced(&bed, name, &simulator, 40).await;
        is_enforced(&bed, &other, &simulator, 40).await;
    }
}
