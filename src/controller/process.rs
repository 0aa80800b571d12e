//! Which process is this, and does another one of this host still run?

use std::sync::OnceLock;

use crate::plan::doubt::Opener;

/// This process as the opener of a batch that has `at_once` requests on the way at most.
pub fn opener(at_once: usize) -> Opener {
    Opener { host: host().to_owned(), process: std::process::id(), at_once }
}

/// Whether the process that opened a batch is gone for certain.
pub fn is_gone(opener: &Opener) -> bool {
    opener.is_gone(host(), std::process::id(), runs)
}

/// The name of this host, in a cluster the pod's; empty where it has none.
pub fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // An opener is written as words.
        name.split_whitespace().next().unwrap_or_default().to_owned()
    })
}

/// Whether there is a process of this number that can still do something: a zombie (proc(5), state Z) cannot.
fn runs(process: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_one_that_has_ended_does_not() {
        assert!(runs(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let number = child.id();
        child.wait().expect("it ends");
        assert!(!runs(number));
    }
}
