//! No name, address, credential, token or one-time link comes out of the operator, whatever the tenants hold.

use serde_json::json;
use simulators::{
    Class, Handle, Kind, Looker, MonoCloud, Options, PERSONAL_CANARY, PingOne, Population, SECRET_CANARY, Share,
};

use crate::bed::{Bed, cutoff, fast};

/// Two of every class of account but those whose writes show no effect, which are waited for over a minute.
fn awkward(kind: Kind) -> Options {
    let classes = Class::of(kind).into_iter().filter(|class| ![Class::Ordinary, Class::WithoutEffect].contains(class));
    let classes: Vec<(Class, Share)> = classes.map(|class| (class, Share::Count(2))).collect();
    Options::new(Population::with(60, &classes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_over_awkward_tenants_leaves_no_person_and_no_secret_in_log_status_events_ledger_or_metrics() {
    let (ping, look, mono) = (
        PingOne::start(awkward(Kind::PingOne)).await.expect("a simulator"),
        Looker::start(awkward(Kind::Looker)).await.expect("a simulator"),
        MonoCloud::start(awkward(Kind::MonoCloud)).await.expect("a simulator"),
    );
    let mut bed = Bed::new("secrecy").await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.set("LOG", "trace");
    bed.start().await;
    bed.pingone("p1", &ping, fast()).await;
    bed.looker("lo", &look, fast()).await;
    bed.monocloud("mc", &mono, fast()).await;
    let list = |simulator: &Handle| {
        format!("{}\n{}\n<{}>\n", simulator.user_at(0).email, simulator.user_at(1).email, simulator.user_at(2).email)
    };
    bed.list_in_config_map("leak", "users.txt", &list(&ping)).await;
    let target = |name: &str| json!({"name": name, "providerRef": {"name": name}, "scope": "Tenant"});
    let (requirement, sessions) = (json!({"passwordChangedAfter": cutoff()}), json!({"sessions": "Revoke"}));
    bed.policy(
        "tenant",
        json!({"mode": "Enforce", "requirement": requirement, "targets": [target("p1"), target("lo"), target("mc")]}),
    )
    .await;
    bed.policy("listed", json!({"mode": "Enforce", "requirement": requirement, "action": sessions, "targets": [
        {"name": "p1", "providerRef": {"name": "p1"}, "scope": "Selected", "usersFrom": [{"format": "Email", "configMapRef": {"name": "leak", "key": "users.txt"}}]},
        {"name": "lo", "providerRef": {"name": "lo"}, "scope": "Selected", "users": [{"email": look.user_at(3).email}, {"email": "quokka@left.example"}]},
        {"name": "mc", "providerRef": {"name": "mc"}, "scope": "Selected", "groups": ["sales"], "exclude": {"users": [{"username": mono.user_at(0).username}]}}]}))
        .await;
    for name in ["tenant", "listed"] {
        bed.policy_until(name, "a complete pass of each target", |view| {
            (0..3).all(|target| view.0["status"]["targets"][target]["completedAt"].is_string())
        })
        .await;
    }
    let metrics =
        reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("metrics").text().await.expect("text");
    assert!(metrics.contains("password_reset_operator_provider_writes_total{"), "{metrics}");
    let public = bed.everything_public().await + &metrics;
    for canary in [PERSONAL_CANARY, SECRET_CANARY] {
        let leak = public.to_lowercase().find(canary).map(|at| {
            let from = public.floor_char_boundary(at.saturating_sub(400));
            public[from..].chars().take(600).collect::<String>()
        });
        assert_eq!(leak, None, "{canary} leaked");
    }
    let id = bed.operator().id().expect("the operator runs");
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("its limits");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[..2], ["0", "0"], "no core dump holds a secret");
    // The search would find something: the policy itself holds an address.
    assert_eq!(look.counters().secrets_shown, 0, "one-time links are not even asked for");
    for simulator in [&ping, &look, &mono] {
        assert!(simulator.requirements().values().all(|times| *times == 1));
    }
}
