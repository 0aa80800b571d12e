//! How many calls does a campaign cost? Exact sums, counted by the provider (Keycloak: by a proxy before it).
//!
//! P is the number of requests of one listing, the one that finds its end included; w the accounts written; r the accounts
//! that the listing neither skips nor tells enough about.

use std::cell::Cell;

use serde_json::json;
use simulators::{Faults, Paging, PagingHeaders, looker, pingone};

use crate::bed::{Bed, fast, merge};
use crate::history::look_again;
use crate::proxy::Proxy;
use crate::tenant::{Side, Tenant, Vendor, keycloak};

const USERS: u64 = 1000;
/// Of each exception: marked, changed lately, disabled, without a password.
const SOME: u64 = USERS / 20;
const DUE: u64 = USERS - 4 * SOME;
const PAGE: u64 = 100;
/// People who comply before the later passes.
const COMPLY: u64 = 10;

/// A tenant, its provider object, and how many calls it has answered, tokens apart.
struct Metered {
    bed: Bed,
    tenant: Tenant,
    proxy: Option<Proxy>,
    answered: Cell<u64>,
    /// Calls that it costs to verify the tenant.
    verify: u64,
}

impl Metered {
    /// Returns when the provider is Ready, which took at most a token and six calls.
    async fn start(vendor: Vendor, extra: serde_json::Value) -> Self {
        let tenant = Tenant::mixed(vendor, USERS as u32).await;
        let mut bed = Bed::new("calls").await;
        bed.start().await;
        let mut spec = fast();
        merge(&mut spec, json!({"pageSize": PAGE}));
        merge(&mut spec, extra);
        let proxy = match &tenant.side {
            Side::Keycloak(realm) => {
                let proxy = Proxy::start(realm.server()).await;
                keycloak(&bed, "tenant", realm, &proxy.url, spec).await;
                Some(proxy)
            }
            Side::Simulator(_) => {
                tenant.connect(&bed, "tenant", spec).await;
                None
            }
        };
        let mut metered = Self { bed, tenant, proxy, answered: Cell::new(0), verify: 0 };
        metered.bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
        metered.verify = metered.take();
        assert!((1..=6).contains(&metered.verify), "{} calls to verify", metered.verify);
        assert!(metered.tokens() <= 1, "one token");
        metered
    }

    fn tokens(&self) -> u64 {
        match &self.tenant.side {
            Side::Simulator(handle) => handle.count(looker::LOGIN) + handle.count(pingone::TOKEN),
            Side::Keycloak(_) => 0,
        }
    }

    /// Calls since this was last asked.
    fn take(&self) -> u64 {
        if let Some(proxy) = &self.proxy {
            return proxy.take_calls().len() as u64;
        }
        let total = self.tenant.simulator().counters().total() - self.tokens();
        total - self.answered.replace(total)
    }

    async fn campaign(&self, name: &str, spec: serde_json::Value) -> u64 {
        self.bed.policy(name, spec).await;
        self.bed.policy_until(name, "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
        self.take()
    }

    async fn later_pass(&self, token: &str) -> u64 {
        look_again(&self.bed, "inc", token).await;
        self.take()
    }

    /// The whole tenant: the first pass, a later one that finds who has complied, and one that knows it.
    async fn whole_tenant(&self) -> [u64; 3] {
        let due = self.tenant.due().await;
        assert_eq!(due.len() as u64, DUE);
        let spec = self.tenant.policy("tenant", json!({}));
        let first = self.campaign("inc", spec).await;
        self.tenant.comply(due.iter().take(COMPLY as usize)).await;
        let second = self.later_pass("second").await;
        let third = self.later_pass("third").await;
        assert!(self.tokens() <= 1, "one token");
        [first, second, third]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monocloud_costs_a_call_for_each_write_and_two_listings() {
    let pages = USERS / PAGE;
    let metered = Metered::start(Vendor::MonoCloud, json!({})).await;
    assert_eq!(metered.whole_tenant().await, [DUE + 2 * pages, 2 * pages, 2 * pages]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looker_costs_a_call_for_each_write_and_two_listings() {
    let pages = (USERS + 1).div_ceil(PAGE); // the API user is listed as well
    let metered = Metered::start(Vendor::Looker, json!({})).await;
    assert_eq!(metered.whole_tenant().await, [DUE + 2 * pages, 2 * pages, 2 * pages]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pingone_costs_a_read_and_a_write_for_each_account_and_one_listing() {
    let pages = USERS / PAGE;
    let reads = USERS - SOME; // the listing shows who is disabled
    let known = SOME; // who had changed before
    let metered = Metered::start(Vendor::PingOne, json!({})).await;
    let expected = [reads + DUE + pages, reads - known + pages, reads - known - COMPLY + pages];
    assert_eq!(metered.whole_tenant().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_costs_a_read_and_three_calls_for_each_write_and_two_listings() {
    let pages = USERS / PAGE + 1; // an empty page is the end
    let reads = USERS - 2 * SOME; // the listing shows who is disabled and who is marked
    let passwordless = SOME;
    let metered = Metered::start(Vendor::Keycloak, json!({})).await;
    let expected = [reads + 3 * DUE + 2 * pages, passwordless + COMPLY + 2 * pages, passwordless + 2 * pages];
    // A pass that begins long after the one before verifies the tenant again, and passwords that are hashed take long.
    for (seen, expected) in metered.whole_tenant().await.into_iter().zip(expected) {
        assert!([expected, expected + metered.verify].contains(&seen), "{seen} calls, {expected} expected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_selected_by_key_costs_one_call_beside_reads_and_writes() {
    for (vendor, keys, per_account) in [
        (Vendor::MonoCloud, &["id", "username", "email"][..], 1), // the write
        (Vendor::Looker, &["id", "email"], 1),
        (Vendor::PingOne, &["id", "username", "email"], 2), // the read as well
    ] {
        let metered = Metered::start(vendor, json!({})).await;
        let handle = metered.tenant.simulator();
        let due: Vec<_> =
            metered.tenant.due().await.iter().take(8).map(|id| handle.user(id).expect("a user")).collect();
        let users: Vec<_> = due
            .iter()
            .zip(keys.iter().cycle())
            .map(|(user, key)| match *key {
                "id" => json!({"id": user.id}),
                "username" => json!({"username": user.username}),
                _ => json!({"email": user.email}),
            })
            .collect();
        let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": users});
        let spec = metered.tenant.policy("tenant", json!({"targets": [target]}));
        let calls = metered.campaign("inc", spec).await;
        assert_eq!(calls, 8 + 8 * per_account, "{vendor:?}");
        let written = metered.tenant.written().await;
        assert_eq!(written.into_keys().collect::<Vec<_>>(), due.iter().map(|user| user.id.clone()).collect::<Vec<_>>());
        // An entry whose account is known to have changed costs nothing.
        metered.tenant.comply(due.iter().take(3).map(|user| &user.id)).await;
        metered.later_pass("second").await;
        let reads_beside_the_key = u64::from(vendor == Vendor::PingOne);
        assert_eq!(metered.later_pass("third").await, 5 + 5 * reads_beside_the_key, "{vendor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_cost_a_listing_rather_than_a_call_each() {
    let metered = Metered::start(Vendor::MonoCloud, json!({})).await;
    let due = metered.tenant.due().await;
    let chosen: Vec<String> = due.iter().take(300).cloned().collect();
    metered.bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "list"}, "data": {"users.txt": chosen.join("\n")}})).await;
    metered.bed.grant("configmaps", "list").await;
    let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected",
        "usersFrom": [{"format": "ID", "configMapRef": {"name": "list", "key": "users.txt"}}]});
    let spec = metered.tenant.policy("tenant", json!({"targets": [target]}));
    let calls = metered.campaign("inc", spec).await;
    assert_eq!(calls, USERS / PAGE + 300);
    assert_eq!(metered.tenant.written().await.into_keys().collect::<Vec<_>>(), chosen);
    // As soon as only a few are open, a call for each of them is cheaper.
    metered.tenant.comply(chosen.iter().skip(2)).await;
    metered.later_pass("second").await;
    assert_eq!(metered.later_pass("third").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_cost_a_listing_where_nobody_announces_how_many_there_are() {
    let metered = Metered::start(Vendor::Looker, json!({})).await;
    let paging = Paging { headers: PagingHeaders::LinkOnly, ..Paging::default() };
    metered.tenant.simulator().set(Faults { paging, ..Faults::default() });
    // What was verified before knows a total.
    metered.bed.patch_provider("tenant", json!({"spec": {"pageSize": PAGE + 1}})).await;
    metered.bed.provider_until("tenant", "seen", |p| p.is_current() && p.condition("Ready") == "True Verified").await;
    metered.take();
    let due = metered.tenant.due().await;
    let chosen: Vec<String> = due.iter().take(300).cloned().collect();
    let leaver = "4711-left";
    metered.bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "list"}, "data": {"users.txt": chosen.join("\n") + "\n" + leaver}})).await;
    metered.bed.grant("configmaps", "list").await;
    let target = json!({"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "missingUsers": "Skip",
        "usersFrom": [{"format": "ID", "configMapRef": {"name": "list", "key": "users.txt"}}]});
    let spec = metered.tenant.policy("tenant", json!({"targets": [target]}));
    let calls = metered.campaign("inc", spec).await;
    // One call tells that there are few enough, two listings of all with their ends, and one for whom they do not show.
    let pages = (USERS + 1).div_ceil(PAGE + 1) + 1;
    assert!((302..=302 + 2 * pages).contains(&calls), "{calls} calls");
    assert_eq!(metered.tenant.written().await.into_keys().collect::<Vec<_>>(), chosen);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protected_and_each_excluded_key_costs_one_call_and_an_excluded_group_its_pages() {
    for (vendor, listings) in [(Vendor::MonoCloud, 2), (Vendor::Looker, 2), (Vendor::PingOne, 1)] {
        let metered = Metered::start(vendor, json!({})).await;
        let handle = metered.tenant.simulator();
        let due = metered.tenant.due().await;
        let grouped = |id: &String| handle.user(id).expect("a user").groups.iter().any(|g| g == "contractors-kiosk");
        let others: Vec<&String> = due.iter().filter(|id| !grouped(id)).collect();
        let (protected, excluded) = (others[0].clone(), handle.user(others[1]).expect("a user").email);
        metered.bed.patch_provider("tenant", json!({"spec": {"protectedUsers": [{"id": protected}]}})).await;
        metered
            .bed
            .provider_until("tenant", "seen", |p| p.is_current() && p.condition("Ready") == "True Verified")
            .await;
        metered.take();
        let target = json!({"name": "all", "providerRef": {"name": "tenant"}, "scope": "Tenant",
            "exclude": {"users": [{"email": excluded}], "groups": ["contractors-kiosk"]}});
        let spec = metered.tenant.policy("tenant", json!({"targets": [target]}));
        let calls = metered.campaign("inc", spec).await;
        let written = metered.tenant.written().await;
        let expected: Vec<&String> = others.iter().skip(2).copied().collect();
        assert_eq!(written.keys().collect::<Vec<_>>(), expected, "{vendor:?}");
        let pages = if vendor == Vendor::Looker { (USERS + 1).div_ceil(PAGE) } else { USERS / PAGE };
        // Nobody who is disabled, excluded or protected is read.
        let read = |user: &&simulators::User| {
            !user.disabled && !grouped(&user.id) && user.id != protected && user.id != others[1].as_str()
        };
        let r = if vendor == Vendor::PingOne { handle.users().iter().filter(read).count() as u64 } else { 0 };
        let keys = 2;
        let group = 2; // its id, and a page of members
        assert_eq!(calls, expected.len() as u64 + r + listings * pages + keys + group, "{vendor:?}");
    }
}
