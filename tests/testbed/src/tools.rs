//! Which programs does the test bed run, and how do they come about?
//!
//! etcd and the Kubernetes programs are Go modules, built once with `go build` from the `go.mod` and `go.sum` files
//! under `tools/`; Keycloak comes from Maven Central. The versions stand in those files and in [`KEYCLOAK_VERSION`]
//! and nowhere else. The results are kept in the [cache folder](crate::cache).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::Start;
use crate::{cache, progress};

/// The version of Keycloak that is run.
pub const KEYCLOAK_VERSION: &str = "26.7.3";

/// A program that the test bed can provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The store behind kube-apiserver.
    Etcd,
    /// The Kubernetes API server.
    KubeApiServer,
    /// Garbage collection, namespace deletion, Deployments, default ServiceAccounts.
    KubeControllerManager,
    /// The command line client; built only when `PATH` has none.
    Kubectl,
    /// The Keycloak server, unpacked and augmented. Its path is the installation's folder.
    Keycloak,
}

/// A Go module that only says which programs at which version.
struct GoModule {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    main_module: &'static str,
}

const KUBERNETES: GoModule = GoModule {
    name: "kubernetes",
    go_mod: include_str!("../tools/kubernetes/go.mod"),
    go_sum: include_str!("../tools/kubernetes/go.sum"),
    main_module: "k8s.io/kubernetes",
};

const ETCD: GoModule = GoModule {
    name: "etcd",
    go_mod: include_str!("../tools/etcd/go.mod"),
    go_sum: include_str!("../tools/etcd/go.sum"),
    main_module: "go.etcd.io/etcd/server/v3",
};

impl GoModule {
    /// The required version of the main module, without the `v`.
    fn version(&self) -> &'static str {
        self.go_mod
            .lines()
            .map(|line| line.trim().trim_start_matches("require "))
            .find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next()? == self.main_module).then(|| words.next())?
            })
            .and_then(|version| version.strip_prefix('v'))
            .expect("go.mod requires its main module")
    }
}

/// The version of Kubernetes that is run, without the `v`.
pub fn kubernetes_version() -> &'static str {
    KUBERNETES.version()
}

/// Makes sure that `tool` is there and returns its path; builds or fetches it when it is not, which takes minutes
/// the first time and shows its progress on standard error. Errors say which program of the host is missing and
/// what to do, or end with the last lines of a failed build.
pub async fn ensure(tool: Tool) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || ensure_blocking(tool)).await.context("the build was interrupted")?
}

fn ensure_blocking(tool: Tool) -> Result<PathBuf> {
    match tool {
        Tool::Etcd => go_program(&ETCD, "etcd", "go.etcd.io/etcd/server/v3"),
        Tool::KubeApiServer => kubernetes_program("kube-apiserver"),
        Tool::KubeControllerManager => kubernetes_program("kube-controller-manager"),
        Tool::Keycloak => crate::keycloak::install::ensure(),
        Tool::Kubectl => match on_path("kubectl") {
            Some(path) => Ok(path),
            None => kubernetes_program("kubectl"),
        },
    }
}

fn kubernetes_program(name: &str) -> Result<PathBuf> {
    go_program(&KUBERNETES, name, &format!("k8s.io/kubernetes/cmd/{name}"))
}

fn go_program(module: &GoModule, name: &str, package: &str) -> Result<PathBuf> {
    let version = module.version();
    cache::ensure(&format!("bin/{name}-{version}"), |target| {
        require_host_program(
            "go",
            &format!("{name} {version} is built from its published source code with Go"),
            "Install Go 1.26 or newer (https://go.dev/dl/)",
        )?;
        let source = cache::subfolder(&format!("go/{}-{version}", module.name))?;
        fs::write(source.join("go.mod"), module.go_mod)?;
        fs::write(source.join("go.sum"), module.go_sum)?;
        let log = cache::subfolder("logs")?.join(format!("build-{name}-{version}.log"));
        let _ = fs::remove_file(&log);
        // -v names each package as it is compiled, which is what a watcher sees moving.
        let build = Start::new("go", &log)
            .args(["build", "-v", "-trimpath", "-ldflags"])
            .arg(format!("-s -w {}", version_stamp(module)))
            .arg("-o")
            .arg(target)
            .arg(package)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=readonly")
            .current_dir(source);
        let doing = format!("building {name} {version} (only once)");
        progress::run(&doing, build, &log)
    })
}

/// Without it a Kubernetes program calls itself v0.0.0-master and clients' version checks fail.
fn version_stamp(module: &GoModule) -> String {
    if module.main_module != KUBERNETES.main_module {
        return String::new();
    }
    let version = module.version();
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let variables = "-X k8s.io/component-base/version";
    format!(
        "{variables}.gitVersion=v{version} {variables}.gitMajor={major} {variables}.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
    )
}

/// Errors with a sentence when `program` is not on `PATH`.
pub(crate) fn require_host_program(program: &str, why: &str, remedy: &str) -> Result<()> {
    if on_path(program).is_some() {
        return Ok(());
    }
    bail!("`{program}` is missing: {why}. {remedy} and try again.")
}

/// The first executable of that name on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_go_modules() {
        for module in [KUBERNETES, ETCD] {
            let numbers = module.version().split('.');
            assert_eq!(numbers.filter(|number| number.parse::<u16>().is_ok()).count(), 3);
        }
    }

    #[test]
    fn all_staging_modules_are_replaced_at_the_version_that_matches() {
        let staging = format!(" v0.{}", KUBERNETES.version().split_once('.').expect("a version").1);
        let replaced =
            KUBERNETES.go_mod.lines().filter(|line| line.contains(" => k8s.io/") && line.ends_with(&staging)).count();
        assert_eq!(replaced, 33);
    }

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let error = require_host_program("no-such-go", "etcd is built with it", "Install it").unwrap_err().to_string();
        assert_eq!(error, "`no-such-go` is missing: etcd is built with it. Install it and try again.");
    }
}
