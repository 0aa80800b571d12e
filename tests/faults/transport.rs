//! Connections that break in every phase, and answers that are slow, huge or packed.

use std::process::Command;

use serde_json::json;
use simulators::{Action, CallFault, Faults, MonoCloud, Options, When, monocloud};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::accounts::{Tenant, is_enforced, one_of_each};
use crate::bed::{Bed, fast};

const USERS: u32 = 30;

fn with(calls: Vec<CallFault>) -> Faults {
    Faults { calls, ..Faults::default() }
}

/// I17.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_breaks_in_any_phase_is_read_before_it_is_repeated() {
    let mut bed = Bed::new("phases").await;
    bed.shorten("SETTLE_SECONDS", 3);
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, list, write } in &tenants {
        let hang = || Action::Hang { milliseconds: None };
        simulator.set(with(vec![
            CallFault::new(list, 1, When::Before, Action::Reset),
            CallFault::new(list, 2, When::After, Action::CutShort),
            CallFault::new(write, 2, When::Before, Action::Reset),
            CallFault::new(write, 7, When::After, Action::Reset),
            CallFault::new(write, 12, When::After, Action::CutShort),
            CallFault::new(write, 17, When::Before, hang()),
            CallFault::new(write, 22, When::After, hang()),
        ]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for Tenant { name, simulator, write, .. } in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
        // Written again are the two that had no effect; Looker's answers tell, so that a cut one may cost a third.
        let writes = simulator.count(write);
        assert!((32..=33).contains(&writes), "{name}: {writes} writes for {USERS} accounts");
    }
}

/// I18.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_given_up_and_holds_no_other_tenant_up() {
    let mut bed = Bed::new("slow").await;
    bed.start().await;
    let slow = |action| with(vec![CallFault::new(monocloud::LIST_USERS, 1, When::After, action)]);
    let mut tenants = Vec::new();
    for (name, action) in
        [("body", Action::SlowBody { milliseconds: 1_000 }), ("headers", Action::Delay { milliseconds: 600_000 })]
    {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        bed.monocloud(
            name,
            &simulator,
            json!({"rateLimit": {"requestsPerSecond": 100, "burst": 10, "maxConcurrentRequests": 1}}),
        )
        .await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
        simulator.set(slow(action));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        tenants.push((name, simulator));
    }
    let quick = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    bed.monocloud("quick", &quick, fast()).await;
    bed.enforce("quick", "quick", json!({"scope": "Tenant"})).await;
    is_enforced(&bed, "quick", &quick, USERS as usize).await;
    assert!(tenants.iter().all(|(_, simulator)| simulator.requirements().is_empty()), "they hang still");
    // The only slot of the tenant is free again once the answer is given up.
    for (name, simulator) in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
    }
}

/// I21.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_however_large_or_deep_costs_memory_and_none_is_nobody() {
    let mut bed = Bed::new("huge").await;
    bed.start().await;
    let cases = [
        ("ten-gigabytes", Action::Oversized { bytes: 10 << 30 }),
        ("a-million-elements", Action::Oversized { bytes: 3 << 20 }),
        ("deep", Action::Nested { depth: 100_000 }),
    ];
    let mut tenants = Vec::new();
    for (name, action) in cases {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        bed.monocloud(name, &simulator, fast()).await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
        tenants.push((name, simulator, action));
    }
    for (name, simulator, action) in tenants {
        let before = bed.operator_peak_kilobytes();
        simulator.set(with(vec![CallFault {
            times: Some(3),
            ..CallFault::new(monocloud::LIST_USERS, 1, When::After, action)
        }]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, &simulator, USERS as usize).await;
        let grown = bed.operator_peak_kilobytes() - before;
        assert!(grown <= 16 * 1024, "{name}: {grown} kB more at the peak");
    }
}

/// How many blanks are before the listing that a bomb unpacks to.
const BLANKS: usize = 256 << 20;

/// By gzip(1).
fn gzip_bomb(listing: &str) -> Vec<u8> {
    let script = format!("{{ head -c {BLANKS} /dev/zero | tr '\\0' ' '; printf %s \"$1\"; }} | gzip");
    let packed = Command::new("/bin/sh").args(["-c", &script, "bomb", listing]).output().expect("a shell");
    assert!(packed.status.success() && packed.stdout.starts_with(b"\x1f\x8b"), "gzip(1): {packed:?}");
    packed.stdout
}

/// Blocks that say how often one byte comes, and a last one that is stored as it is (RFC 8878).
fn zstd_bomb(listing: &str) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    const REPEATED: u32 = 1 << 1;
    const LAST: u32 = 1;
    let header = |kind: u32, length: u32| (kind | length << 3).to_le_bytes()[..3].to_vec();
    let blanks = [header(REPEATED, BLOCK), b" ".to_vec()].concat().repeat(BLANKS / BLOCK as usize);
    // The magic number, no options, and a window of one block.
    let begin = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    [begin, blanks, header(LAST, listing.len() as u32), listing.into()].concat()
}

/// I19. The simulators answer in text and do not keep headers, so the tenant is one of this test's own. The one account is
/// marked already; a bomb says that it is due, so that whoever unpacks and believes it writes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_packed_is_asked_for_and_a_bomb_is_neither_unpacked_nor_believed() {
    let mut bed = Bed::new("packed").await;
    bed.start().await;
    let listing = |marked: bool| {
        json!([{"user_id": "id-0", "username": {"username": "somebody"}, "has_password": true, "disabled": false,
            "force_password_reset": marked, "password_updated_at": 1_700_000_000, "creation_time": 1_600_000_000}])
    };
    let due = listing(false).to_string();
    for (encoding, bomb) in [("gzip", gzip_bomb(&due)), ("zstd", zstd_bomb(&due))] {
        let says = r#"{"current_page":1,"total_count":1,"has_next":false}"#;
        let page = ResponseTemplate::new(200).insert_header("x-pagination", says);
        let bomb = page.clone().insert_header("content-encoding", encoding).set_body_raw(bomb, "application/json");
        let page = page.set_body_json(listing(true));
        let server = MockServer::start().await;
        let users = || Mock::given(path("/api/users"));
        // A probe asks for one row and finds the tenant well; the bombs are what a run meets, more often than it lists.
        users().and(query_param("size", "1")).respond_with(page.clone()).mount(&server).await;
        users().respond_with(bomb).up_to_n_times(4).expect(4).mount(&server).await;
        users().respond_with(page).mount(&server).await;
        let block = json!({"monoCloud": {"baseURL": server.uri(), "credentialsSecretRef": {"name": encoding}}});
        bed.provider(encoding, &[&server.uri()], json!({"apiKey": "key"}), block, fast()).await;
        bed.provider_says(encoding, "Ready", "True Verified", &[]).await;
        let before = bed.operator_peak_kilobytes();
        bed.enforce(encoding, encoding, json!({"scope": "Tenant"})).await;
        let done = bed.policy_says(encoding, "Ready", "True Enforced", &[]).await;
        assert_eq!(done.count("enforced"), 1, "{encoding}");
        let grown = bed.operator_peak_kilobytes() - before;
        assert!(grown <= 16 * 1024, "{encoding}: {grown} kB more at the peak");
        server.verify().await;
        let asked = server.received_requests().await.expect("wiremock keeps them");
        assert!(asked.iter().all(|request| request.method == "GET"), "{encoding}: a bomb was believed: {asked:?}");
        assert!(asked.iter().all(|request| !request.headers.contains_key("accept-encoding")), "{encoding}: {asked:?}");
    }
}
