//! A campaign whose operator is killed or disturbed: what is prepared, what happens to it, and when it is at rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use password_reset_operator::api::PasswordResetPolicy;
use serde_json::{Value, json};
use testbed::proxy::{Action, Answer, Call, Phase, Proxy, Record, Rule};
use tokio::sync::Notify;

use crate::bed::{self, Bed, View};
use crate::judge;
use crate::points::{KUBERNETES, Point, STATUS, Trouble};
use crate::site::{Act, PAGE, Site};
use crate::tenant::Vendor;

/// How long rest is awaited.
const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
/// A killed operator may work on what it has got for so long; nothing of it gets out.
const WORKS_ON: Duration = Duration::from_millis(30);
/// A call on the wire arrives after this time: by then the next operator is at work.
const ON_THE_WIRE: Duration = Duration::from_secs(2);
/// A late call arrives after this time: by then the operator has read the account, and had time to write to it again.
const LATE: Duration = Duration::from_secs(3);
/// How long a write may take to show where one arrives late: it must do so within this time, whose seconds are counted whole.
pub const LONG_SETTLE_SECONDS: u32 = 6;
/// Without a call for so long the operator is at rest.
const QUIET: Duration = Duration::from_millis(300);
/// What belongs to a campaign comes this long after its status at the latest.
const AFTER_REST: Duration = Duration::from_secs(2);
pub const POLICY: &str = "inc";
pub const PROVIDER: &str = "tenant";

/// A running campaign.
pub struct Campaign {
    pub bed: Bed,
    pub site: Arc<Site>,
    problems: Arc<Mutex<Vec<String>>>,
    fired: Arc<Notify>,
    /// The call at which the last fault was made.
    struck: Arc<Mutex<Option<Call>>>,
    /// A status has been written.
    said: Arc<Notify>,
    /// Marks that an administrator took away while the operator lives are no false claim of status.
    pardoned: Arc<AtomicBool>,
    /// The length of the log before this campaign.
    logged: usize,
}

impl Campaign {
    /// Everything but the operator, on a bed that is clean.
    pub async fn prepare(vendor: Vendor, users: usize, settle_seconds: u32, mut bed: Bed) -> Self {
        let site = Site::open(vendor, users).await;
        bed.set("SETTLE_SECONDS", &settle_seconds.to_string());
        let mut extra = bed::fast();
        bed::merge(&mut extra, json!({"pageSize": PAGE, "observePeriodSeconds": 3600, "probePeriodSeconds": 10}));
        site.connect(&bed, PROVIDER, extra).await;
        bed.policy(POLICY, site.tenant.policy(PROVIDER, json!({}))).await;
        let logged = bed.log_text().len();
        let site = Arc::new(site);
        let campaign = Self {
            bed,
            site,
            logged,
            problems: Arc::default(),
            fired: Arc::default(),
            struck: Arc::default(),
            said: Arc::default(),
            pardoned: Arc::default(),
        };
        campaign.watch_what_is_said();
        campaign
    }

    /// Takes everything away that a campaign leaves behind.
    async fn clean(mut self) -> Bed {
        self.bed.kill();
        self.site.close().await;
        self.proxies().for_each(|(_, proxy)| proxy.clear_rules());
        self.bed.delete_policy(POLICY).await;
        self.bed.delete_provider(PROVIDER).await;
        let ledgers: Api<ConfigMap> = Api::namespaced(self.bed.client.clone(), &self.bed.operator_namespace);
        ledgers.delete_collection(&Default::default(), &Default::default()).await.expect("the ledgers are deleted");
        self.open_gates();
        self.bed.api_proxy().forget();
        self.bed
    }

    pub fn proxies(&self) -> impl Iterator<Item = (&'static str, &Proxy)> {
        let providers = self.site.proxies().iter().map(|(name, proxy)| (*name, proxy));
        [(KUBERNETES, self.bed.api_proxy())].into_iter().chain(providers)
    }

    pub fn proxy(&self, name: &str) -> &Proxy {
        self.proxies().find(|(other, _)| *other == name).expect("a proxy of that name").1
    }

    /// Opens the gates for the next operator. What a killed one has sent and a gate held back does not get out now.
    fn open_gates(&self) {
        for (_, proxy) in self.proxies() {
            proxy.reset_connections();
            proxy.hold().open();
        }
    }

    /// Compares what each status says with the truth at that moment: before the API server has it.
    fn watch_what_is_said(&self) {
        let (site, problems, pardoned) = (self.site.clone(), self.problems.clone(), self.pardoned.clone());
        let check = Rule::new(Phase::Before, Action::Pass).on(STATUS).hook(move |call| {
            let (site, problems, pardoned) = (site.clone(), problems.clone(), pardoned.clone());
            async move {
                let status: Value = serde_json::from_slice(&call.body).unwrap_or_default();
                let mut truth = site.truth().await;
                if pardoned.load(Ordering::SeqCst) {
                    let cleared = site.who(Act::Clears);
                    truth.retain(|account, _| !cleared.contains(account));
                }
                let false_claims = judge::false_claims(&status["status"], &truth);
                problems.lock().expect("no panic while locked").extend(false_claims);
            }
        });
        self.bed.api_proxy().rule(check);
        let said = self.said.clone();
        let tell = Rule::new(Phase::AfterAnswer, Action::Pass).on(STATUS).hook(move |_| {
            said.notify_one();
            std::future::ready(())
        });
        self.bed.api_proxy().rule(tell);
    }

    /// Status moves at the end of a pass only: until then it says of an account what an administrator has undone since.
    pub fn pardon_what_people_do(&self) {
        self.pardoned.store(true, Ordering::SeqCst);
    }

    /// Who is marked.
    pub async fn marked(&self) -> Vec<String> {
        let truth = self.site.truth().await;
        truth.into_iter().filter(|(_, truth)| truth.marked).map(|(account, _)| account).collect()
    }

    /// Makes the fault of `point` when its call comes.
    pub async fn arm(&self, point: &Point) {
        if point.trouble == Trouble::KilledOnTheWire {
            // Who comes after a few was not sent to: with few on the wire, what is believed of the order of a batch is
            // put to the test.
            let few = json!({"spec": {"rateLimit": {"maxConcurrentRequests": 2}}});
            self.bed.patch_provider(PROVIDER, few).await;
        }
        let (template, nth) = (point.template.clone(), point.nth);
        let on = move |call: &Call| call.template == template && call.nth == nth;
        self.proxy(point.proxy).rule(self.fault(point.trouble).matching(on).first(1));
    }

    /// A rule that makes a fault at every call, until narrowed down.
    pub fn fault(&self, trouble: Trouble) -> Rule {
        let operator = self.bed.operator();
        let gates: Vec<_> = self.proxies().map(|(_, proxy)| proxy.hold().clone()).collect();
        let (fired, struck) = (self.fired.clone(), self.struck.clone());
        let happens = move |call: Call| {
            let (operator, fired, struck, gates) = (operator.clone(), fired.clone(), struck.clone(), gates.clone());
            async move {
                *struck.lock().expect("no panic while locked") = Some(call);
                if trouble == Trouble::KilledNotRecorded {
                    gates.iter().for_each(|gate| gate.close());
                    tokio::time::sleep(WORKS_ON).await;
                }
                if trouble.kills() {
                    tokio::task::spawn_blocking(move || operator.kill()).await.expect("it can be killed");
                }
                fired.notify_one();
            }
        };
        let unavailable = Answer { status: 503, headers: Vec::new(), body: Default::default() };
        let (phase, action) = match trouble {
            Trouble::KilledBefore | Trouble::Reset => (Phase::Before, Action::Reset),
            Trouble::KilledAnswerLost | Trouble::AnswerLost => (Phase::AfterForward, Action::Reset),
            Trouble::KilledNotRecorded => (Phase::AfterAnswer, Action::Pass),
            Trouble::KilledOnTheWire => (Phase::Before, Action::ForwardLate(ON_THE_WIRE)),
            Trouble::Unavailable => (Phase::AfterForward, Action::Answer(unavailable)),
            Trouble::Late => (Phase::Before, Action::ForwardLate(LATE)),
        };
        Rule::new(phase, action).hook(happens)
    }

    /// Waits until what was sent has been answered by its server.
    pub async fn nothing_on_the_wire(&self) {
        let open = |record: &Record| {
            let ended = record.status.is_some() || record.failed;
            !record.call.is_watch && record.forwarded.is_some() && !ended
        };
        while self.proxies().any(|(_, proxy)| proxy.records().iter().any(open)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Of one account the mark is cleared, one complies, one signs in. The account of the call at which the fault was made
    /// plays another part from turn to turn. Who complies without a mark while the call is `on_the_wire`, or while the
    /// operator lives, may be asked by what is being sent: that is no operator's fault, so nobody does it.
    pub async fn people_act(&self, turn: u64, on_the_wire: bool) {
        let site = &self.site;
        let mut truth = site.truth().await;
        // Who did something before does no more.
        truth.retain(|account, _| !site.has_acted(account));
        let struck = self.struck.lock().expect("no panic while locked").take();
        let struck = struck.and_then(|call| site.written_by(&call)).filter(|account| truth.contains_key(account));
        let (mut marked, mut unmarked): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for (account, truth) in &truth {
            if Some(account) != struck.as_ref() {
                if truth.marked { &mut marked } else { &mut unmarked }.push(account.clone());
            }
        }
        // A change of an unmarked account does not show at Looker: who changed before our first look is asked anyway.
        let may_precede = site.vendor() != Vendor::Looker && self.bed.operator().id().is_none();
        let mut parts = vec![Act::Clears, Act::Complies, Act::SignsIn];
        if let Some(struck) = struck {
            let is_marked = truth.get(&struck).is_some_and(|truth| truth.marked);
            let may_comply = is_marked || may_precede && !on_the_wire;
            let part = match turn % 4 {
                0 if may_comply => Some(Act::Complies),
                1 if is_marked => Some(Act::Clears),
                2 => Some(Act::SignsIn),
                _ => None,
            };
            if let Some(part) = part {
                site.act(&struck, part).await;
                parts.retain(|other| *other != part);
            }
        }
        for part in parts {
            let account = match part {
                Act::Complies => marked.pop().or_else(|| if may_precede { unmarked.pop() } else { None }),
                Act::Clears => marked.pop(),
                Act::SignsIn => unmarked.pop().or_else(|| marked.pop()),
            };
            if let Some(account) = account {
                site.act(&account, part).await;
            }
        }
    }

    pub async fn policy(&self) -> View {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        View(serde_json::to_value(api.get(POLICY).await.expect("the policy")).expect("JSON"))
    }

    /// Asks for a look, as anybody may: by a word that was not used before.
    pub async fn look(&self) -> String {
        let token = format!("at-{}", testbed::proxy::moment());
        let annotation = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": token}}});
        self.bed.patch_policy(POLICY, annotation).await;
        token
    }

    /// Waits until status says how everybody really stands, or until `fired`. `None` when the fault came first.
    pub async fn rest(&self, or_fired: bool) -> Option<Result<(), String>> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let policy = self.policy().await;
            // The truth is asked for only where there is something to compare with it: Keycloak takes its time to tell it.
            let differs = match judge::unrest(&policy) {
                Some(unrest) => Some(unrest),
                None => judge::differs(&policy, &self.site.truth().await),
            };
            if differs.is_none() {
                // Events are written after status.
                if or_fired && tokio::time::timeout(AFTER_REST, self.fired.notified()).await.is_ok() {
                    return None;
                }
                return Some(Ok(()));
            }
            if Instant::now() > deadline {
                let differs = differs.unwrap_or_default();
                let status = serde_json::to_string_pretty(&self.policy().await.0["status"]).unwrap_or_default();
                return Some(Err(format!("not at rest after {} s: {differs}\n{status}", DEADLINE.as_secs())));
            }
            tokio::select! {
                () = self.fired.notified(), if or_fired => return None,
                // A status whose answer is lost is told by nobody.
                _ = tokio::time::timeout(Duration::from_secs(1), self.said.notified()) => {}
            }
        }
    }

    /// As [`Campaign::rest`], where people acted while the operator lived. It gets over the fault without being asked to;
    /// then it is asked to look, since nobody waits here for the look that would show it what people did.
    pub async fn rest_by_itself(&self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        while let Some(unrest) = judge::unrest(&self.policy().await) {
            if Instant::now() > deadline {
                return Err(format!("not over the fault after {} s: {unrest}", DEADLINE.as_secs()));
            }
            // A status whose answer is lost is told by nobody.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.said.notified()).await;
        }
        self.look().await;
        self.rest(false).await.unwrap_or(Ok(()))
    }

    /// Lets the operator look at rest, so many times, and tells what it did besides saying that it has looked.
    async fn looks_and_leaves_everything(&self, looks: usize) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        self.quiet(deadline).await?;
        let (writes, stores) = (self.site.writes().await.len(), self.stores().len());
        let status = said_besides_the_look(&self.policy().await.0["status"]);
        for _ in 0..looks {
            let lists = self.lists() + judge::PAGES as usize;
            let token = self.look().await;
            while self.lists() < lists || self.policy().await.0["status"]["lastHandledReconcile"] != token {
                if Instant::now() > deadline {
                    return Err("asked for a look at rest, it did not look".to_owned());
                }
                tokio::time::sleep(POLL).await;
            }
            self.quiet(deadline).await?;
        }
        let writes = self.site.writes().await.len() - writes;
        if writes > 0 {
            return Err(format!("{writes} more writes at rest"));
        }
        let says_that_it_looked = |call: &Call| {
            let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            call.template == STATUS && said_besides_the_look(&body["status"]) == status
        };
        let mut stores = self.stores().split_off(stores);
        let all = stores.len();
        stores.retain(|call| !says_that_it_looked(call));
        if let Some(first) = stores.first() {
            let body = String::from_utf8_lossy(&first.body);
            return Err(format!("{} writes to the API server at rest, first {} {body}", stores.len(), first.template));
        }
        if all > looks {
            return Err(format!("after {looks} looks at rest it said {all} times that it had looked"));
        }
        match judge::differs(&self.policy().await, &self.site.truth().await) {
            None => Ok(()),
            Some(differs) => Err(format!("after {looks} more looks at rest: {differs}")),
        }
    }

    /// Waits until no call has been made for a while, to any server.
    async fn quiet(&self, deadline: Instant) -> Result<(), String> {
        let calls = || self.proxies().map(|(_, proxy)| proxy.records().len()).sum::<usize>();
        let mut before = calls();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = calls();
            if now == before {
                return Ok(());
            }
            before = now;
            if Instant::now() > deadline {
                return Err("it never stops making calls".to_owned());
            }
        }
    }

    /// Calls that store something in the API server: status, ledgers, events. Who asks who it is stores nothing.
    fn stores(&self) -> Vec<Call> {
        let calls = self.bed.api_proxy().records().into_iter().map(|record| record.call);
        calls.filter(|call| call.method != "GET" && call.template != judge::WHO_AM_I).collect()
    }

    /// Calls that listed people.
    fn lists(&self) -> usize {
        let records = self.site.proxy("api").records();
        records.iter().filter(|r| r.call.method == "GET" && judge::lists_people(self.site.vendor(), &r.call)).count()
    }

    /// No more faults; what is said is compared with the truth still.
    pub fn clear_rules(&self) {
        self.proxies().for_each(|(_, proxy)| proxy.clear_rules());
        self.watch_what_is_said();
    }

    /// The calls so far, by proxy.
    pub fn take_records(&self) -> Vec<(&'static str, Vec<Record>)> {
        self.proxies().map(|(name, proxy)| (name, proxy.records())).collect()
    }

    /// Opens the way for the operator that starts next.
    pub async fn ready_for_the_next(&self) {
        self.clear_rules();
        self.open_gates();
        if judge::is_at_rest(&self.policy().await) {
            // A settled policy is looked at again after a part of its period; nobody waits for that here.
            self.look().await;
        }
    }

    /// What is wrong at the end, and the operator's log; after so many more looks. Gives the bed back.
    pub async fn end(self, rest: Result<(), String>, looks: usize, beds: &Beds) -> (Vec<String>, String) {
        self.clear_rules();
        let mut problems: Vec<String> = rest.err().into_iter().collect();
        if problems.is_empty() && looks > 0 {
            problems.extend(self.looks_and_leaves_everything(looks).await.err());
        }
        problems.extend(self.problems.lock().expect("no panic while locked").drain(..));
        problems.extend(judge::harm(&self.site, &self.take_records()).await);
        let log = self.bed.log_text().split_off(self.logged);
        let bed = self.clean().await;
        beds.lock().expect("no panic while locked").push(bed);
        (problems, log)
    }
}

/// A status without the last look that was asked for: the rest of it stays as it is where nothing has changed.
fn said_besides_the_look(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("lastHandledReconcile");
    }
    status
}

/// Beds that are clean and wait for the next campaign of this test.
pub type Beds = Mutex<Vec<Bed>>;

/// A clean bed.
pub async fn bed(beds: &Beds) -> Bed {
    let waiting = beds.lock().expect("no panic while locked").pop();
    match waiting {
        Some(bed) => bed,
        None => {
            let mut bed = Bed::new("crash").await;
            bed.behind_proxy().await;
            bed
        }
    }
}
