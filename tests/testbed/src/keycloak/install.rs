//! How does Keycloak get onto this machine?
//!
//! Maven fetches the distribution, which is unpacked and "augmented" once (`kc.sh build`): build options are fixed then, and
//! every later start skips twenty seconds of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;
use crate::process::Start;
use crate::progress;
use crate::tools::{KEYCLOAK_VERSION, on_path, require_host_program};

/// The installation's folder, made when it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    require_host_program("java", "Keycloak is a Java program", "Install a Java runtime, version 17 or newer")?;
    let parent = cache::ensure(&format!("keycloak/{KEYCLOAK_VERSION}"), install)?;
    Ok(parent.join(unpacked_name()))
}

fn unpacked_name() -> String {
    format!("keycloak-{KEYCLOAK_VERSION}")
}

fn install(target: &Path) -> Result<()> {
    require_host_program("mvn", "Keycloak is fetched from Maven Central", "Install Apache Maven")?;
    fs::create_dir_all(target)?;
    let repository = target.join("maven");
    let archive = fetch(&repository)?;
    unpack(&archive, target)?;
    fs::remove_dir_all(&repository).with_context(|| format!("cannot remove {}", repository.display()))?;
    let installation = target.join(unpacked_name());
    let script = installation.join("bin/kc.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the archive has no {}", script.display()))?;
    augment(&script)
}

/// A repository of its own, so that the archive's place is known whatever the settings say, and can be removed.
fn fetch(repository: &Path) -> Result<PathBuf> {
    let log = log("fetch")?;
    let fetch = Start::new("mvn", &log)
        .args(["-B", "dependency:get", "-Dtransitive=false"])
        .arg(format!("-Dmaven.repo.local={}", repository.display()))
        .arg(format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip"))
        // A pom.xml in the working folder would be read.
        .current_dir(cache::folder()?);
    progress::run(&format!("fetching Keycloak {KEYCLOAK_VERSION} (177 MB, only once)"), fetch, &log)?;
    Ok(repository.join(format!(
        "org/keycloak/keycloak-quarkus-dist/{KEYCLOAK_VERSION}/keycloak-quarkus-dist-{KEYCLOAK_VERSION}.zip"
    )))
}

/// With `unzip`, or with the `jar` of a Java development kit.
fn unpack(archive: &Path, target: &Path) -> Result<()> {
    let log = log("unpack")?;
    let unpack = if on_path("unzip").is_some() {
        Start::new("unzip", &log).arg("-q").arg(archive)
    } else {
        require_host_program("jar", "Keycloak's archive is a zip file", "Install unzip")?;
        Start::new("jar", &log).arg("-xf").arg(archive)
    };
    progress::run("unpacking Keycloak", unpack.current_dir(target), &log)
}

fn augment(script: &Path) -> Result<()> {
    let log = log("build")?;
    let build = Start::new(script, &log)
        .args(["build", "--db=dev-mem", "--health-enabled=true"])
        .env("JAVA_OPTS_KC_HEAP", "-Xms128m -Xmx512m");
    progress::run("preparing Keycloak (only once)", build, &log)
}

fn log(step: &str) -> Result<PathBuf> {
    let log = cache::subfolder("logs")?.join(format!("keycloak-{step}.log"));
    let _ = fs::remove_file(&log);
    Ok(log)
}
