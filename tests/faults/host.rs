//! The host lets the process down: descriptors, disk, names, processor time, the clock.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use simulators::{MonoCloud, Options};

use crate::bed::{Bed, View, fast};
use crate::support::{enforced, eventually, holder, required_again, slow, writes};
use crate::tenant::{Tenant, Vendor};

#[tokio::test(flavor = "multi_thread")]
async fn with_few_descriptors_and_nowhere_to_write_the_work_goes_on() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(60)).await;
    let mut bed = Bed::new("descriptors").await;
    // A log that cannot be written, as on a disk that is full, and 64 descriptors for everything.
    bed.wrap("ulimit -n 64; exec \"$@\" >/dev/full 2>/dev/full");
    bed.start().await;
    tenant
        .connect(
            &bed,
            "tenant",
            json!({"rateLimit": {"requestsPerSecond": 200, "burst": 50, "maxConcurrentRequests": 64}}),
        )
        .await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), 60);
    assert_eq!(required_again(tenant.simulator()), 0, "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_unreachable_and_holds_nobody_up() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(10)).await;
    let mut bed = Bed::new("names").await;
    bed.start().await;
    // Names below .invalid are known not to be there, at once; that a look-up which takes long holds nobody up is not shown.
    for n in 0..8 {
        let name = format!("lost-{n}");
        bed.monocloud_at(&name, &simulator, &format!("https://{name}.invalid"), fast()).await;
    }
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    for n in 0..8 {
        let lost = |p: &crate::bed::View| p.condition("Ready") == "False Unreachable";
        bed.provider_until(&format!("lost-{n}"), "it is unreachable", lost).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_tenth_of_a_processor_the_lease_is_kept_or_given_up_cleanly_and_nobody_is_asked_twice() {
    let tenant = Tenant::simulated(Vendor::PingOne, Options::ordinary(40)).await;
    let mut bed = Bed::new("throttled").await;
    bed.elects().await;
    // The lease as it is shipped.
    for (name, value) in
        [("LEASE_DURATION_SECONDS", "15"), ("LEASE_RENEW_DEADLINE_SECONDS", "10"), ("LEASE_RETRY_PERIOD_SECONDS", "2")]
    {
        bed.set(name, value);
    }
    let mut operator = bed.replica("operator", &[]).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 3).await;
    let throttle = async {
        loop {
            operator.process.pause().expect("SIGSTOP");
            tokio::time::sleep(Duration::from_millis(90)).await;
            operator.process.resume().expect("SIGCONT");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = async {
        bed.policy_until("inc", "everybody required", enforced).await;
    };
    tokio::select! { () = throttle => {}, () = done => {} }
    operator.process.resume().expect("SIGCONT");
    assert_eq!(operator.process.exited().expect("its state"), None, "{}", operator.log_text());
    assert_ne!(holder(&bed).await, "");
    assert_eq!(required_again(tenant.simulator()), 0);
}

/// The library that shows a process another time, where it is installed (Debian: faketime). The decisions about time are
/// tested with clocks of their own; these tests are about the whole process.
fn lying_clock() -> Option<&'static str> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if Path::new(library).exists() {
        return Some(library);
    }
    println!("not run here: {library} is missing; the Debian package faketime has it");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_or_runs_at_another_speed_changes_nothing() {
    let Some(library) = lying_clock() else { return };
    for (name, time) in [("ahead", "+1h"), ("behind", "-1h"), ("fast", "+0 x2"), ("slow", "+0 x0.5")] {
        let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(30)).await;
        let mut bed = Bed::new(name).await;
        bed.elects().await;
        for (setting, value) in [("LD_PRELOAD", library), ("FAKETIME", time), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")] {
            bed.set(setting, value);
        }
        bed.start().await;
        tenant.connect(&bed, "tenant", slow()).await;
        bed.policy("inc", tenant.policy("tenant", json!({}))).await;
        let done = bed.policy_until("inc", "everybody required", enforced).await;
        assert_eq!(done.count("enforced"), 30, "{time}");
        assert_eq!(required_again(tenant.simulator()), 0, "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_ten_years_in_mid_run_stops_the_writes_with_both_times_named_until_it_is_right() {
    let Some(library) = lying_clock() else { return };
    for (name, time) in [("future", "+3650d"), ("past", "-3650d")] {
        let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(60)).await;
        let mut bed = Bed::new(name).await;
        bed.elects().await;
        let clock = bed.file("clock");
        let show = |time: &str| std::fs::write(&clock, time).expect("the clock's file");
        show("+0");
        for (setting, value) in [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ] {
            bed.set(setting, value);
        }
        bed.start().await;
        tenant.connect(&bed, "tenant", json!({"rateLimit": {"requestsPerSecond": 5, "burst": 5}})).await;
        bed.policy("inc", tenant.policy("tenant", json!({}))).await;
        eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 3).await;
        show(time);
        let stalled = |p: &View| p.condition("Stalled") == "True ProviderResponseInvalid";
        let stopped = bed.policy_until("inc", "neither clock is believed", stalled).await;
        let before = writes(tenant.simulator());
        assert!(before < 60, "{time}: the campaign was over before the clock jumped");
        assert!(stopped.message("Ready").contains("ours says"), "{}", stopped.message("Ready"));
        show("+0");
        let look = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": "the clock is right"}}});
        bed.patch_policy("inc", look).await;
        let done = bed.policy_until("inc", "everybody required", enforced).await;
        assert_eq!(done.count("enforced"), 60, "{time}");
        assert_eq!(required_again(tenant.simulator()), 0, "{time}");
    }
}
