//! Does the program `testbed` start, show and stop what it promises?

use std::path::Path;
use std::process::{Command, Output};

use testbed::state::State;

/// A cache of its own, so that a test bed which somebody has standing is left alone; built programs are shared.
fn cache() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("password-reset-operator");
    std::fs::create_dir(&ours).unwrap();
    let real = testbed::cache::folder().unwrap();
    for name in ["bin", "keycloak", "go", "logs"] {
        std::fs::create_dir_all(real.join(name)).unwrap();
        std::os::unix::fs::symlink(real.join(name), ours.join(name)).unwrap();
    }
    folder
}

fn testbed(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testbed")).args(arguments).env("XDG_CACHE_HOME", cache).output().unwrap()
}

/// A failed assertion must not leave a test bed standing.
struct DownAtEnd<'a>(&'a Path);

impl Drop for DownAtEnd<'_> {
    fn drop(&mut self) {
        testbed(self.0, &["down"]);
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn nothing_stands_at_first_and_stopping_nothing_is_no_error() {
    let cache = cache();
    let status = testbed(cache.path(), &["status"]);
    assert_eq!(status.status.code(), Some(1), "{}", text(&status));
    assert!(text(&status).contains("Nothing stands"));
    assert!(testbed(cache.path(), &["down"]).status.success());
}

#[test]
fn a_detached_test_bed_stands_until_it_is_told_to_stop() {
    let cache = cache();
    let _down = DownAtEnd(cache.path());
    let up = testbed(cache.path(), &["up", "--simulators", "--detach"]);
    assert!(up.status.success(), "{}", text(&up));
    assert!(text(&up).contains("export KUBECONFIG="), "{}", text(&up));

    let status = testbed(cache.path(), &["status", "--json"]);
    assert!(status.status.success(), "{}", text(&status));
    let state: State = serde_json::from_slice(&status.stdout).unwrap();
    let mut pids: Vec<u32> = state.control_plane.processes.iter().map(|p| p.pid).collect();
    pids.push(state.pid);
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert!(state.control_plane.kubeconfig.exists());

    let providers: Vec<_> = state.simulators.iter().map(|simulator| simulator.provider.as_str()).collect();
    assert_eq!(providers, ["pingone", "looker", "monocloud"]);
    for simulator in &state.simulators {
        let address = simulator.url.strip_prefix("http://").unwrap();
        std::net::TcpStream::connect(address).unwrap();
        assert!(simulator.credentials_file.exists());
    }

    let second = testbed(cache.path(), &["up"]);
    assert!(!second.status.success());
    assert!(text(&second).contains("stands already"), "{}", text(&second));

    let down = testbed(cache.path(), &["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(!state.control_plane.folder.exists());
    assert_eq!(testbed(cache.path(), &["status"]).status.code(), Some(1));
}
