//! What happens, and what is claimed about it?

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::json;

use crate::claims::Claims;
use crate::cluster::{Cluster, SERVICE_ACCOUNT};
use crate::examples::{self, POLICY};
use crate::operator::Operator;
use crate::repository;
use crate::rights;
use crate::screen::{Ink, Live, Screen, seconds};
use crate::stage::Stage;
use crate::status::{COUNTS, Seen};
use crate::table::Table;
use crate::tenants::{Beginnings, Tenant, Writes};

/// How long an outcome is awaited. A write without effect is read again over half a minute, and tried once more.
const DEADLINE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(200);
/// How often the providers' ledgers are counted while somebody watches.
const COUNT_EVERY: Duration = Duration::from_millis(600);
const RECONCILE: &str = "passwordreset.dev/reconcile";
/// People of each tenant who change their passwords before anybody requires it.
const EARLY: usize = 12;
/// People of each tenant who change their passwords when they are asked; in Keycloak they use the login form.
const COMPLY: [usize; 4] = [60, 40, 80, 20];

/// The campaign.
pub struct Campaign<'a> {
    screen: &'a Screen,
    claims: &'a mut Claims,
    cluster: &'a Cluster,
    tenants: &'a [Tenant],
    operator: &'a mut Option<Operator>,
    cutoff: Timestamp,
    /// By tenant: who was marked before the operator came.
    marked_before: Vec<BTreeSet<String>>,
    beginnings: Vec<Beginnings>,
    /// By tenant: who changed the password before being asked.
    early: Vec<BTreeSet<String>>,
    complied: usize,
    /// The table of counters that was shown last.
    shown: Vec<String>,
}

impl<'a> Campaign<'a> {
    /// On a stage that is set.
    pub fn new(screen: &'a Screen, claims: &'a mut Claims, stage: &'a mut Stage) -> Result<Self> {
        let cluster = stage.cluster.as_ref().context("there is no cluster")?;
        Ok(Self {
            screen,
            claims,
            cluster,
            tenants: &stage.tenants,
            operator: &mut stage.operator,
            // Whole seconds, and later than every password that stands now.
            cutoff: Timestamp::from_second(Timestamp::now().as_second() + 1)?,
            marked_before: Vec::new(),
            beginnings: Vec::new(),
            early: Vec::new(),
            complied: 0,
            shown: Vec::new(),
        })
    }

    /// CRDs, rights, the operator and four providers.
    pub async fn install(&mut self) -> Result<()> {
        let (screen, cluster) = (self.screen, self.cluster);
        screen.heading("2  The operator, and the examples of this repository");
        screen.step("installing crds/*.yaml", self.install_crds(), |count| format!("{count} CRDs of crds/")).await?;
        let rights = async {
            for namespace in [&cluster.namespace, &cluster.operator_namespace] {
                let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                cluster.apply(object).await?;
            }
            rights::install(cluster).await
        };
        let granted = |(): &()| format!("ServiceAccount {SERVICE_ACCOUNT} with the chart's rules");
        screen.step("granting the operator's rights", rights, granted).await?;
        let providers = async {
            for tenant in self.tenants {
                for object in examples::provider(tenant, cluster)? {
                    cluster.apply(object).await?;
                }
            }
            Ok(())
        };
        let applied = |(): &()| "examples/provider-*.yaml: four Secrets, IdentityProviders and Roles".to_owned();
        screen.step("applying examples/provider-*.yaml", providers, applied).await?;
        let kubeconfig = cluster.service_account_kubeconfig().await?;
        *self.operator = Some(Operator::start(cluster, &kubeconfig)?);
        let ready = self.providers_ready();
        let started =
            |_: &Vec<String>| format!("the operator runs as {}/{SERVICE_ACCOUNT}", cluster.operator_namespace);
        let names = screen.step("starting the operator", ready, started).await?;
        self.claims.equal("all four providers are Ready=True Verified", vec!["True Verified".to_owned(); 4], names);
        self.rights_are_narrow(&kubeconfig).await
    }

    async fn install_crds(&self) -> Result<usize> {
        let crds = repository::crds()?;
        let count = crds.len();
        for crd in crds {
            self.cluster.apply(crd).await?;
        }
        Ok(count)
    }

    /// Waits until each provider says something final, and returns what.
    async fn providers_ready(&mut self) -> Result<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut said = Vec::new();
            for tenant in self.tenants {
                let seen = Seen(self.cluster.get("IdentityProvider", "identityproviders", tenant.name).await?);
                said.push(seen.condition("Ready"));
            }
            if said.iter().all(|ready| ready.starts_with("True")) || Instant::now() > deadline {
                return Ok(said);
            }
            self.operator_runs()?;
            tokio::time::sleep(POLL).await;
        }
    }

    async fn rights_are_narrow(&mut self, kubeconfig: &std::path::Path) -> Result<()> {
        let client = testbed::control_plane::client(kubeconfig).await?;
        let namespace = &self.cluster.namespace;
        let own = self.tenants.first().map(|tenant| tenant.name);
        let may = [
            rights::may(&client, "get", namespace, "secrets", own).await?,
            rights::may(&client, "list", namespace, "secrets", None).await?,
            rights::may(&client, "get", "kube-system", "secrets", None).await?,
            rights::may(&client, "create", namespace, "pods", None).await?,
        ];
        self.claims.equal(
            "it is no admin: it may read these four Secrets, list none, and create no Pod",
            [true, false, false, false],
            may,
        );
        Ok(())
    }

    /// The policy goes in, and everybody who can be required is.
    pub async fn require_of_everybody(&mut self) -> Result<()> {
        self.screen.heading(&format!("3  Passwords from before {} must be changed", self.cutoff));
        let (screen, tenants) = (self.screen, self.tenants);
        for tenant in tenants {
            self.beginnings.push(tenant.beginnings().await?);
            self.marked_before.push(tenant.marked().await?);
        }
        let cutoff = self.cutoff;
        let hurry = async {
            let wait = cutoff.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
            let mut early = Vec::new();
            for tenant in tenants {
                early.push(tenant.people_hurry(EARLY).await?);
            }
            Ok(early)
        };
        let said = |early: &Vec<BTreeSet<String>>| {
            let people: usize = early.iter().map(BTreeSet::len).sum();
            format!("{people} people have a password from after that moment, before anybody asks them")
        };
        self.early = screen.step("some people change their passwords by themselves", hurry, said).await?;
        self.apply_policy(&[]).await?;
        screen.good("examples/policy-all-four.yaml is applied");
        screen.note(
            "An answer \"yes\" proves nothing: an account that does not show the requirement is read again over\n\
             half a minute and, where that is harmless, asked once more, before it is called failed.",
        );
        screen.line("");
        let seen = self
            .watch("PartiallyFailed: everything that can be done is done", |seen| {
                seen.is_current() && seen.condition("Stalled") == "True PartiallyFailed"
            })
            .await
            .context("the policy was expected to become PartiallyFailed")?;
        self.say_verdict(&seen);
        let expected = self.cannot_be_required();
        let failures = seen.failures();
        let sampled: BTreeSet<(String, String)> = failures.iter().map(|(t, _, s)| (t.clone(), s.clone())).collect();
        self.show_failures(&failures);
        let sentence =
            format!("status.failures names the {} accounts that cannot be required, and no other", expected.len());
        self.claims.same(&sentence, &expected, &sampled);
        let open = ["pending", "cleared", "unknown"].map(|counter| seen.count(counter));
        self.claims.equal("nobody else is pending, cleared or unknown", [0, 0, 0], open);
        Ok(())
    }

    fn cannot_be_required(&self) -> BTreeSet<(String, String)> {
        let both = self.tenants.iter().zip(&self.beginnings);
        both.flat_map(|(tenant, beginnings)| {
            beginnings.cannot_be_required.iter().map(|id| (tenant.name.to_owned(), id.clone()))
        })
        .collect()
    }

    fn show_failures(&self, failures: &BTreeSet<(String, String, String)>) {
        let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (target, category, subject) in failures {
            groups.entry((target, category)).or_default().push(subject);
        }
        for ((target, category), subjects) in groups {
            let ids: Vec<String> = subjects.iter().map(|id| shortened(id)).collect();
            self.screen
                .line(&format!("    {target:<14}  {category:<17}  {}", self.screen.ink(Ink::Dim, &ids.join("  "))));
        }
        self.screen.line("");
    }

    /// The samples go into `exclude`, as whoever owns the campaign would decide.
    pub async fn leave_out_who_cannot_be_required(&mut self) -> Result<()> {
        self.screen.heading("4  Those accounts are excluded, as the owner of the campaign would decide");
        let mut exclude: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (target, id) in self.cannot_be_required() {
            exclude.entry(target).or_default().push(id);
        }
        let exclude: Vec<(String, Vec<String>)> = exclude.into_iter().collect();
        if let Some((target, ids)) = exclude.first() {
            self.screen.note(&format!("- name: {target}\n  exclude:\n    users:"));
            ids.iter().for_each(|id| self.screen.note(&format!("    - id: {id}")));
        }
        self.apply_policy(&exclude).await?;
        self.screen.good("the policy is applied again, each target with its own accounts left out");
        self.screen.line("");
        let seen = self
            .watch("Enforced: nobody goes on with an old password", |seen| {
                seen.is_current() && seen.condition("Enforced").starts_with("True")
            })
            .await
            .context("the policy was expected to become Enforced=True")?;
        self.say_verdict(&seen);
        let open = ["pending", "cleared", "failed", "unknown"].map(|counter| seen.count(counter));
        self.claims.equal("Enforced=True, with nobody pending, cleared, failed or unknown", [0; 4], open);
        self.old_passwords_open_nothing().await
    }

    async fn old_passwords_open_nothing(&mut self) -> Result<()> {
        let excluded: BTreeSet<String> =
            self.beginnings.iter().flat_map(|beginnings| beginnings.cannot_be_required.clone()).collect();
        let (tenants, cutoff) = (self.tenants, self.cutoff);
        let tried = async {
            let mut all = (0, BTreeSet::new());
            for tenant in tenants {
                let (tried, inside) = tenant.old_passwords(cutoff).await?;
                all.0 += tried;
                all.1.extend(inside);
            }
            Ok(all)
        };
        let said =
            |all: &(usize, BTreeSet<String>)| format!("{} people try to sign in with their old passwords", all.0);
        let (tried, inside) = self.screen.step("everybody tries to sign in with the old password", tried, said).await?;
        let others: BTreeSet<&String> = inside.difference(&excluded).collect();
        self.claims.holds(
            &format!("{} get in, all of them excluded; everybody else must choose a new one first", inside.len()),
            others.is_empty() && tried > 0,
            || format!("also {others:?}"),
        );
        Ok(())
    }

    /// Some people do as they are told.
    pub async fn people_change_their_passwords(&mut self) -> Result<()> {
        self.screen.heading("5  People change their passwords");
        let tenants = self.tenants;
        let comply = async {
            let mut people = 0;
            for (tenant, count) in tenants.iter().zip(COMPLY) {
                people += tenant.people_comply(count).await?.len();
            }
            Ok(people)
        };
        let said = |people: &usize| format!("{people} people signed in and chose a new password");
        self.complied = self.screen.step("people sign in, are asked, and choose a new password", comply, said).await?;
        self.screen.line("");
        let seen = self.look_now("people-changed").await?;
        self.say_verdict(&seen);
        self.claims.equal("status counts exactly these people as changed", self.complied, seen.count("changed"));
        Ok(())
    }

    /// A restart in the middle of it all.
    pub async fn restart_asks_nobody_twice(&mut self) -> Result<()> {
        self.screen.heading("6  The operator is killed, and starts again");
        self.screen.line("");
        let (before, listings) = (self.writes().await?, self.listings());
        let changed = self.shown.clone();
        if let Some(operator) = self.operator {
            operator.restart()?;
        }
        self.look_now("after-restart").await?;
        let again = self.listings().iter().zip(&listings).filter(|(after, before)| after > before).count();
        self.claims.equal("it has listed every simulated tenant again", listings.len(), again);
        let added = total(&self.writes().await?) - total(&before);
        self.claims.equal("it has asked nobody", 0, added);
        self.claims.holds("status says the same as before", changed == self.shown, || self.shown.join("\n"));
        Ok(())
    }

    /// What the providers have on record, beside what status says.
    pub async fn compare_with_the_ledgers(&mut self) -> Result<()> {
        self.screen.heading("7  What the providers' own ledgers say, beside status");
        let seen = Seen(self.cluster.get("PasswordResetPolicy", "passwordresetpolicies", POLICY).await?);
        let writes = self.writes().await?;
        let mut table =
            Table::new(&["target", "asked once", "asked twice", "│", "enforced", "changed", "already required"]);
        let mut agree = true;
        for ((tenant, writes), marked_before) in self.tenants.iter().zip(&writes).zip(&self.marked_before) {
            let of = |times: fn(usize) -> bool| writes.required.values().filter(|count| times(**count)).count();
            let (enforced, changed) = (seen.count_of(tenant.name, "enforced"), seen.count_of(tenant.name, "changed"));
            let found = marked_before.iter().filter(|id| !writes.required.contains_key(*id)).count();
            agree &= of(|count| count > 0) + found == enforced + changed;
            let numbers = [of(|count| count == 1), of(|count| count > 1)].map(|number| number.to_string());
            let said = [enforced, changed, found].map(|number| number.to_string());
            let cells = [tenant.name.to_owned()].into_iter().chain(numbers).chain(["│".to_owned()]).chain(said);
            table.row(cells.collect());
        }
        table.lines(self.screen).iter().for_each(|line| self.screen.line(line));
        self.screen.line("");
        let most = writes.iter().flat_map(|writes| writes.required.values()).max().copied();
        self.claims.equal("nobody was asked twice", Some(1), most);
        self.claims.holds("for each target, enforced + changed = asked + already required", agree, || {
            "the table above does not add up".to_owned()
        });
        self.nobody_else_was_touched(&writes);
        self.nothing_leaks(&seen).await
    }

    fn nobody_else_was_touched(&mut self, writes: &[Writes]) {
        let touched = |accounts: &BTreeSet<String>, writes: &Writes| {
            accounts.iter().filter(|id| writes.required.contains_key(*id) || writes.in_vain.contains(*id)).count()
        };
        let early: usize = self.early.iter().zip(writes).map(|(early, writes)| touched(early, writes)).sum();
        self.claims.equal("nobody was asked who had a new password before the operator looked", 0, early);
        let untouchable = self.beginnings.iter().zip(writes);
        let untouchable: usize = untouchable.map(|(b, writes)| touched(&b.untouchable, writes)).sum();
        self.claims.equal("no account was written that is disabled, locked or has no password there", 0, untouchable);
        let marked: usize = self.marked_before.iter().zip(writes).map(|(marked, writes)| touched(marked, writes)).sum();
        self.claims.equal("nobody was asked of whom it was required already", 0, marked);
    }

    async fn nothing_leaks(&mut self, seen: &Seen) -> Result<()> {
        let mut said = seen.0["status"].to_string();
        for tenant in self.tenants {
            let provider = self.cluster.get("IdentityProvider", "identityproviders", tenant.name).await?;
            said.push_str(&provider["status"].to_string());
        }
        for namespace in [&self.cluster.namespace, &self.cluster.operator_namespace] {
            let events: Api<Event> = Api::namespaced(self.cluster.client.clone(), namespace);
            said.push_str(&serde_json::to_string(&events.list(&Default::default()).await?.items)?);
        }
        if let Some(operator) = self.operator {
            said.push_str(&std::fs::read_to_string(operator.log())?);
        }
        let words = self.tenants.iter().flat_map(Tenant::secrets);
        let leaked = words.filter(|word| said.contains(word.as_str())).count();
        self.claims.equal("no name, address or credential is in status, events or the operator's log", 0, leaked);
        Ok(())
    }

    async fn apply_policy(&self, exclude: &[(String, Vec<String>)]) -> Result<()> {
        let policy = examples::policy(self.cluster, &self.cutoff.to_string(), exclude)?;
        self.cluster.apply(policy).await
    }

    /// Asks the operator to look at once, and shows what it sees when it has.
    async fn look_now(&mut self, token: &str) -> Result<Seen> {
        self.cluster.annotate("PasswordResetPolicy", "passwordresetpolicies", POLICY, RECONCILE, token).await?;
        let done = format!("asked by the annotation {RECONCILE}, it has looked at once");
        self.watch(&done, |seen| seen.handled_reconcile() == token)
            .await
            .with_context(|| format!("the operator was expected to answer the annotation {RECONCILE}={token}"))
    }

    /// Shows the campaign as it moves until `done`.
    async fn watch(&mut self, sentence: &str, done: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let screen = self.screen;
        let started = Instant::now();
        let mut live = Live::new(screen, std::mem::take(&mut self.shown));
        let (mut asked, mut counted) = (String::new(), None);
        let mut table = self.counts(&Seen(json!({})));
        loop {
            let seen = Seen(self.cluster.get("PasswordResetPolicy", "passwordresetpolicies", POLICY).await?);
            if screen.is_interactive() && counted.is_none_or(|at: Instant| at.elapsed() > COUNT_EVERY) {
                (asked, counted) = (self.asked_so_far().await?, Some(Instant::now()));
            }
            let moving = format!(
                "    {} {} · {} s · asked: {asked}",
                screen.ink(Ink::Yellow, "…"),
                words(&seen),
                started.elapsed().as_secs()
            );
            // A new generation begins with nothing counted: the table of before stays until there is something to say.
            if seen.count("targeted") > 0 {
                table = self.counts(&seen);
            }
            if screen.is_interactive() || seen.count("targeted") > 0 {
                live.draw(table.clone(), &moving);
            }
            if done(&seen) {
                self.shown = live.end();
                screen.done(sentence, started.elapsed());
                return Ok(seen);
            }
            if started.elapsed() > DEADLINE {
                self.shown = live.end();
                let complaints = self.operator.as_ref().map(Operator::complaints).unwrap_or_default();
                let time = seconds(started.elapsed());
                let (words, message) = (words(&seen), seen.message("Ready"));
                bail!("not so after {time}: {words} {message}\nWhat the operator complained of:\n{complaints}");
            }
            self.operator_runs()?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn counts(&self, seen: &Seen) -> Vec<String> {
        let rare = ["cleared", "unknown"];
        let shown: Vec<&str> =
            COUNTS.iter().filter(|counter| !rare.contains(counter) || seen.count(counter) > 0).copied().collect();
        let header: Vec<&str> = ["target"].into_iter().chain(shown.iter().copied()).collect();
        let mut table = Table::new(&header);
        for tenant in self.tenants {
            let numbers = shown.iter().map(|counter| seen.count_of(tenant.name, counter).to_string());
            table.row([tenant.name.to_owned()].into_iter().chain(numbers).collect());
        }
        table.lines(self.screen)
    }

    fn say_verdict(&self, seen: &Seen) {
        let told = |condition: &String| !condition.starts_with("ProviderReady");
        self.screen.words(&seen.conditions().into_iter().filter(told).collect::<Vec<_>>());
    }

    /// What the ledgers count, such as `236 at pingone, 260 at looker`.
    async fn asked_so_far(&self) -> Result<String> {
        let writes = self.writes().await?;
        let each = self.tenants.iter().zip(&writes).map(|(tenant, writes)| {
            let asked: usize = writes.required.values().sum();
            format!("{asked} at {}", tenant.name.trim_end_matches("-demo"))
        });
        Ok(each.collect::<Vec<_>>().join(", "))
    }

    /// By simulated tenant: pages of users that were asked for.
    fn listings(&self) -> Vec<u64> {
        self.tenants.iter().filter_map(Tenant::listings).collect()
    }

    async fn writes(&self) -> Result<Vec<Writes>> {
        let mut all = Vec::new();
        for tenant in self.tenants {
            all.push(tenant.writes().await?);
        }
        Ok(all)
    }

    fn operator_runs(&mut self) -> Result<()> {
        self.operator.as_mut().map_or(Ok(()), Operator::must_run)
    }
}

fn total(writes: &[Writes]) -> usize {
    writes.iter().flat_map(|writes| writes.required.values()).sum()
}

fn words(seen: &Seen) -> String {
    let ready = seen.condition("Ready");
    if ready.is_empty() { "not looked at yet".to_owned() } else { ready }
}

/// A long id is told by its beginning.
fn shortened(id: &str) -> String {
    if id.chars().count() <= 13 { id.to_owned() } else { format!("{}…", id.chars().take(12).collect::<String>()) }
}
