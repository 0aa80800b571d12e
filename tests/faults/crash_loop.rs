//! An operator that dies again and again.

use std::time::Duration;

use serde_json::json;
use simulators::{Action, CallFault, Faults, Handle, MonoCloud, Options, PingOne, When, pingone};

use crate::bed::{Bed, at_full_length};
use crate::support::{eventually, slow};
use crate::throttled::{enforced, everybody};

const USERS: u32 = 40;

/// Five minutes of it at full length.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_every_300_ms_asks_for_no_token_and_works_when_left_alone() {
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("crash-loop").await;
    bed.pingone("tenant", &simulator, json!({})).await;
    bed.policy("inc", everybody("tenant")).await;
    for _ in 0..if at_full_length() { 1_000 } else { 30 } {
        bed.start().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        bed.kill();
    }
    assert_eq!(simulator.counters().total(), 0, "a process that does not live for half a second asks nobody");
    bed.start().await;
    enforced(&bed, "inc").await;
    let requirements = simulator.requirements();
    assert_eq!(requirements.len(), USERS as usize);
    assert!(requirements.values().all(|times| *times == 1), "{requirements:?}");
    assert_eq!(simulator.count(pingone::TOKEN), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_after_each_few_writes_gets_on_and_takes_one_token_each_time() {
    const STARTS: u64 = 5;
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("crash-slow-loop").await;
    bed.pingone("tenant", &simulator, json!({})).await;
    bed.policy("inc", everybody("tenant")).await;
    for start in 1..=STARTS {
        bed.start().await;
        let grown = async {
            while simulator.requirements().len() < 4 * start as usize {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(bed.deadline, grown).await.is_ok(), "it gets on\n{}", bed.log_text());
        bed.kill();
    }
    bed.start().await;
    enforced(&bed, "inc").await;
    let requirements = simulator.requirements();
    assert!(requirements.len() == USERS as usize && requirements.values().all(|times| *times == 1), "{requirements:?}");
    assert!(simulator.count(pingone::TOKEN) <= STARTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_not_tried_again_by_every_new_process() {
    let faults = Faults { refuse_credentials: true, ..Faults::default() };
    let simulator = PingOne::start(Options::ordinary(5).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("refused-loop").await;
    bed.start().await;
    bed.pingone("tenant", &simulator, json!({})).await;
    bed.policy("inc", everybody("tenant")).await;
    bed.provider_until("tenant", "refused", |p| p.condition("Ready") == "False AuthenticationFailed").await;
    let before = simulator.count(pingone::TOKEN);
    for _ in 0..4 {
        bed.kill();
        bed.start().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(simulator.count(pingone::TOKEN), before, "status has told");
    // A new Secret is tried at once, not after the half minute that an old one waits.
    simulator.set(Faults::default());
    let credentials = simulator.rotate_credentials();
    let origins = format!("{} {}", simulator.base_url(), simulator.auth_url());
    let data = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
    bed.secret("tenant", json!({"passwordreset.dev/allowed-origins": origins}), json!({}), data).await;
    enforced(&bed, "inc").await;
}

/// A tenant that wants two minutes without requests.
fn paused() -> Action {
    let (content_type, body) = ("application/problem+json".to_owned(), "{}".to_owned());
    let headers = vec![("retry-after".to_owned(), "120".to_owned())];
    Action::Answer { status: 429, content_type, body, headers }
}

/// New processes, one after the other, that live for some seconds each.
const STARTS: usize = 4;

/// How often each of them asks the tenant. Whoever is there before is killed, and so is the last of them.
async fn cost_of_starts(bed: &mut Bed, simulator: &Handle) -> Vec<u64> {
    let asked = || simulator.counters().total();
    let mut cost = Vec::new();
    bed.kill();
    for _ in 0..STARTS {
        let before = asked();
        bed.start().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        bed.kill();
        cost.push(asked() - before);
    }
    cost
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_was_asked_to_be_spared_is_not_asked_anew_by_every_new_process() {
    // A pause costs each process one request, an outage five and the probes of the seconds after them.
    for (name, action, most) in [("paused", paused(), 1), ("outage", Action::Reset, 5 + 3)] {
        let calls = vec![CallFault::always("*", When::Before, action)];
        let simulator = MonoCloud::start(Options::ordinary(5).faults(Faults { calls, ..Faults::default() })).await;
        let simulator = simulator.expect("a simulator");
        let mut bed = Bed::new(name).await;
        bed.start().await;
        for n in 0..3 {
            bed.monocloud(&format!("object-{n}"), &simulator, json!({})).await;
            bed.policy(&format!("policy-{n}"), everybody(&format!("object-{n}"))).await;
        }
        bed.provider_until("object-0", "not ready", |p| p.condition("Ready").starts_with("False")).await;
        let cost = cost_of_starts(&mut bed, &simulator).await;
        assert!(cost.iter().sum::<u64>() <= STARTS as u64 * most, "{name}: {cost:?} requests of {STARTS} processes");
        simulator.set(Faults::default());
        bed.start().await;
        enforced(&bed, "policy-0").await;
        assert!(simulator.requirements().values().all(|times| *times == 1), "{name}");
    }
}

/// The process that meets it dies at once, before a status could tell the next one. An outage costs also what is on the way
/// when the fifth fails, and the probes of the seconds after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_or_a_silence_that_begins_in_mid_run_costs_each_new_process_one_request_or_five() {
    let silence = Action::Hang { milliseconds: Some(200) };
    for (name, action, objects, most) in [("paused-midway", paused(), 8, 1), ("silent-midway", silence, 8, 5 + 3 + 3)] {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        let mut bed = Bed::new(name).await;
        bed.start().await;
        for n in 0..objects {
            bed.monocloud(&format!("object-{n}"), &simulator, slow()).await;
            bed.policy(&format!("policy-{n}"), everybody(&format!("object-{n}"))).await;
        }
        eventually("the campaign goes on", &bed, async || simulator.requirements().len() >= 5).await;
        simulator.set(Faults { calls: vec![CallFault::always("*", When::Before, action)], ..Faults::default() });
        let before = simulator.counters().total();
        eventually("it is met", &bed, async || simulator.counters().total() > before).await;
        let cost = cost_of_starts(&mut bed, &simulator).await;
        assert!(cost[0] > 0 && cost.iter().all(|requests| *requests <= most), "{name}: {cost:?}");
        simulator.set(Faults::default());
        bed.start().await;
        for n in 0..objects {
            enforced(&bed, &format!("policy-{n}")).await;
        }
        let requirements = simulator.requirements();
        assert!(
            requirements.len() == USERS as usize && requirements.values().all(|times| *times == 1),
            "{requirements:?}"
        );
    }
}
