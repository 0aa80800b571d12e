//! What every test with a bed fails for at its end, whatever it was about.

use std::path::PathBuf;

use super::{Bed, SERVICE_ACCOUNT, canaries};
use crate::rights;

impl Drop for Bed {
    /// Fails the test where anything that its operator said or wrote holds a credential, a name or an address, and where
    /// it lacked a right.
    fn drop(&mut self) {
        self.operator.kill();
        if std::thread::panicking() {
            return;
        }
        let token = self.kubeconfig.as_ref().and_then(|path| token_in(&std::fs::read_to_string(path).ok()?));
        let secrets: Vec<String> = token.into_iter().collect();
        let user = format!("\"username\":\"system:serviceaccount:{}:{SERVICE_ACCOUNT}\"", self.operator_namespace);
        let mut leaks = Vec::new();
        for log in self.logs() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            leaks.extend(canaries::found(&log.display().to_string(), &said, &secrets));
        }
        let audit = std::fs::read_to_string(self.plane.audit_log()).expect("the audit log");
        let requests: Vec<&str> = audit.lines().filter(|line| line.contains(&user)).collect();
        leaks.extend(canaries::found_in_requests(&requests, &secrets));
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
        if self.shipped_rights {
            let refused = rights::refused(&requests, &self.namespace);
            assert!(refused.is_empty(), "the shipped rights do not suffice:\n{}", refused.join("\n"));
        }
    }
}

impl Bed {
    /// The logs of all processes of the operator.
    fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.plane.folder()).expect("the folder of the logs");
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        logs.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&self.namespace) && name.ends_with(".log")
        });
        logs
    }
}

/// The token in a kubeconfig.
fn token_in(kubeconfig: &str) -> Option<String> {
    let at = kubeconfig.find("token:")? + "token:".len();
    let token = kubeconfig[at..].trim_start().trim_start_matches('"');
    let end = token.find(['"', '\n'])?;
    Some(token[..end].trim().to_owned())
}
