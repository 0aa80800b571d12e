//! What has to stand before it begins, and what is left when it is over? Nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use simulators::Class;
use testbed::control_plane::{ControlPlane, Options};
use testbed::keycloak::Keycloak;
use testbed::tools::{self, KEYCLOAK_VERSION, Tool};

use crate::cluster::{Cluster, RUN_LABEL};
use crate::examples::POLICY;
use crate::operator::Operator;
use crate::screen::{Ink, Screen};
use crate::tenants::{KEYCLOAK_USERS, SIMULATED_USERS, Service, Tenant};

/// 8 GB hold everything that is built once; this is what a run needs beside it.
const FREE_BYTES: u64 = 512 * 1024 * 1024;

/// All that runs. It ends in the order of the fields: the operator before what it talks to.
#[derive(Default)]
pub struct Stage {
    /// The operator, once it is started.
    pub operator: Option<Operator>,
    /// The four tenants.
    pub tenants: Vec<Tenant>,
    /// The cluster.
    pub cluster: Option<Cluster>,
    kubectl: String,
}

impl Stage {
    /// Brings up everything but the operator. Errors say what is missing and what to do.
    pub async fn set(&mut self, screen: &Screen, context: Option<&str>) -> Result<()> {
        screen.heading("1  Real parts, on free ports of 127.0.0.1");
        testbed::announce_as("    ");
        enough_room()?;
        self.kubectl = "kubectl".to_owned();
        if let Some(context) = context {
            let cluster = screen.step("asking your cluster", Cluster::of_context(context), Cluster::describe).await?;
            self.cluster = Some(cluster);
        }
        let mut needed = vec![Tool::Keycloak];
        if context.is_none() {
            needed.extend([Tool::Etcd, Tool::KubeApiServer]);
        }
        if screen.is_interactive() {
            needed.push(Tool::Kubectl);
        }
        for tool in needed {
            // One after the other, so that the progress of two builds does not mix.
            let path = tools::ensure(tool).await?;
            // One that was built here is not on PATH.
            if tool == Tool::Kubectl && !path.ends_with("kubectl") {
                self.kubectl = path.display().to_string();
            }
        }
        let keycloak = tokio::spawn(Keycloak::start());
        if context.is_none() {
            let plane = async { Cluster::of_its_own(ControlPlane::start(Options::default()).await?).await };
            let cluster = screen.step("starting etcd and kube-apiserver", plane, Cluster::describe).await?;
            self.cluster = Some(cluster);
        }
        let simulated = |tenants: &Vec<Tenant>| {
            format!("PingOne, Looker, MonoCloud: simulated, {SIMULATED_USERS} users each, {} kinds", kinds(tenants))
        };
        self.tenants = screen.step("starting the simulators", Tenant::simulated(), simulated).await?;
        let realm = async { Tenant::keycloak(keycloak.await.context("Keycloak's start was interrupted")??).await };
        let started = |tenant: &Tenant| match &tenant.service {
            Service::Keycloak(realm, keycloak) => format!(
                "Keycloak {KEYCLOAK_VERSION} at {}: realm {}, {KEYCLOAK_USERS} users",
                keycloak.url(),
                realm.name()
            ),
            Service::Simulated(..) => String::new(),
        };
        let keycloak = screen.step("starting Keycloak", realm, started).await?;
        self.tenants.push(keycloak);
        Ok(())
    }

    /// Says how to look around.
    pub fn invite(&self, screen: &Screen) {
        let Some(cluster) = &self.cluster else { return };
        let kubectl = format!("{} -n {}", cluster.kubectl(&self.kubectl), cluster.namespace);
        screen.heading("Look around");
        screen.line(&format!("  {kubectl} get prp,idp"));
        screen.line(&format!("  {kubectl} describe prp {POLICY}"));
        screen.line(&format!("  {kubectl} get events"));
        screen.line(&format!("  {kubectl} explain prp.spec.targets"));
        if let Some(operator) = &self.operator {
            screen.line(&format!("  tail -f {}", operator.log().display()));
        }
        for tenant in &self.tenants {
            match &tenant.service {
                Service::Simulated(_, handle) => {
                    screen.line(&format!("  curl -s {}/_control/summary    # {}", handle.base_url(), tenant.name));
                }
                Service::Keycloak(_, keycloak) => {
                    let (user, password) = keycloak.admin();
                    screen.line(&format!("  {}/admin    # Keycloak: {user}, {password}", keycloak.url()));
                }
            }
        }
        screen.line("");
        screen.line(&screen.ink(Ink::Bold, "  Everything keeps running until Ctrl-C."));
    }

    /// Ends everything.
    pub async fn end(mut self, screen: &Screen) -> Result<()> {
        if let Some(operator) = self.operator.take() {
            operator.stop().await?;
        }
        if let Some(cluster) = self.cluster.take().filter(Cluster::outlives_the_demo) {
            let run = cluster.run.clone();
            let label = format!("{RUN_LABEL}={run}");
            let removed = cluster.remove_own_objects();
            let kept = screen
                .step(&format!("removing what carries the label {label}"), removed, |kept: &Vec<String>| {
                    match kept.as_slice() {
                        [] => format!("removed what carried the label {label}"),
                        kept => format!(
                            "removed what carried the label {label}, but for {}: others use it",
                            kept.join(", ")
                        ),
                    }
                })
                .await;
            let by_hand = format!(
                "remove it by hand: {} delete namespaces,customresourcedefinitions -l {label}",
                cluster.kubectl(&self.kubectl)
            );
            kept.with_context(|| format!("not everything could be removed; {by_hand}"))?;
        }
        Ok(())
    }
}

/// How many kinds of users there are: ordinary ones, disabled ones, federated ones, …
fn kinds(tenants: &[Tenant]) -> usize {
    let classes = tenants.iter().flat_map(|tenant| match &tenant.service {
        Service::Simulated(kind, _) => Class::of(*kind),
        Service::Keycloak(..) => Vec::new(),
    });
    classes.collect::<BTreeSet<Class>>().len()
}

/// Errors when the disk is as good as full: half-written files fail in ways that do not tell why.
fn enough_room() -> Result<()> {
    let folder = testbed::cache::folder()?;
    for folder in [folder, std::env::temp_dir()] {
        let Ok(file_system) = rustix::fs::statvfs(&folder) else { continue };
        let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
        if free < FREE_BYTES {
            bail!(
                "only {} MB are free in {}: free some space (8 GB are enough for everything) and try again",
                free / (1024 * 1024),
                folder.display()
            );
        }
    }
    Ok(())
}
