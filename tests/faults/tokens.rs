//! Tokens that end too soon, are revoked, or are refused at the source.

use serde_json::json;
use simulators::{Action, CallFault, Faults, MonoCloud, Options, PingOne, When, looker, pingone};

use crate::accounts::{Tenant, is_enforced, one_of_each};
use crate::bed::{Bed, fast};

/// I1, I37.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_early_or_is_revoked_in_mid_run_is_replaced_and_nobody_is_asked_twice() {
    let mut bed = Bed::new("tokens").await;
    bed.start().await;
    let slow = json!({"rateLimit": {"requestsPerSecond": 20, "burst": 5, "maxConcurrentRequests": 4}});
    let tenants = one_of_each(&bed, 120, slow).await;
    let tenants: Vec<Tenant> = tenants.into_iter().filter(|tenant| tenant.name != "mc").collect(); // it has a key
    for Tenant { name, simulator, .. } in &tenants {
        simulator.set(Faults { token_lifetime_seconds: Some(5), ..Faults::default() });
        simulator.revoke_tokens();
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for Tenant { name, simulator, .. } in &tenants {
        let mut revoked = 0;
        while simulator.requirements().len() < 100 {
            simulator.recorded(simulator.ledger().len() + 1).await;
            if simulator.requirements().len() / 30 > revoked {
                revoked += 1;
                simulator.revoke_tokens();
            }
        }
        is_enforced(&bed, name, simulator, 120).await;
        let fetched = simulator.count(pingone::TOKEN) + simulator.count(looker::LOGIN);
        assert!(fetched <= 30, "{name}: {fetched} tokens for about 25 s, 5 s each, and 4 revocations");
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
    }
}

/// I2. No provider here takes a signed assertion, so there is no clock of ours in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_the_token_endpoint_shows_its_code_only_is_not_hammered_and_disturbs_no_other_tenant() {
    let mut bed = Bed::new("token-refused").await;
    bed.start().await;
    let body =
        json!({"error": "invalid_client", "error_description": "quokka-of-the-answer", "error_uri": "http://quokka"});
    let mut refused = Vec::new();
    for (name, status) in [("bad-400", 400), ("bad-401", 401)] {
        let simulator = PingOne::start(Options::ordinary(5)).await.expect("a simulator");
        let answer =
            Action::Answer { status, content_type: "application/json".into(), body: body.to_string(), headers: vec![] };
        simulator
            .set(Faults { calls: vec![CallFault::always(pingone::TOKEN, When::Before, answer)], ..Faults::default() });
        bed.pingone(name, &simulator, fast()).await;
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        refused.push((name, simulator));
    }
    let good = MonoCloud::start(Options::ordinary(30)).await.expect("a simulator");
    bed.monocloud("good", &good, fast()).await;
    bed.enforce("good", "good", json!({"scope": "Tenant"})).await;
    is_enforced(&bed, "good", &good, 30).await;
    for (name, simulator) in &refused {
        bed.provider_says(name, "Ready", "False AuthenticationFailed", &["invalid_client"]).await;
        bed.policy_says(name, "Ready", "False ProviderNotReady", &["AuthenticationFailed"]).await;
        assert!(simulator.count(pingone::TOKEN) <= 2, "{name}: {} tries", simulator.count(pingone::TOKEN));
    }
    assert!(!bed.everything_public().await.contains("quokka"));
}
