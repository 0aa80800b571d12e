//! Which requests did the API server really get, from whom, and what did it answer?
//!
//! The audit log is the honest count of requests and writes, and it proves that a Role is sufficient and minimal. It is
//! kept at level `Metadata`, but for what ServiceAccounts write, which stands in it as well, so that it can be searched.
//! Requests of the API server to itself and readiness checks are left out.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const MARKER: &str = "/version?audit-marker=";

const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ['system:apiserver']
- level: None
  nonResourceURLs: ['/readyz*']
- level: Request
  userGroups: ['system:serviceaccounts']
  verbs: [create, update, patch]
- level: Metadata
";

/// One answered request, or one watch, which counts from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// For example `system:serviceaccount:operator:password-reset-operator`, or `admin`.
    pub user: String,
    /// The `User-Agent` header; empty when there was none.
    pub user_agent: String,
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// The API group; empty for the core group and for paths that are no resources.
    pub group: String,
    /// The plural resource name; empty for paths that are no resources.
    pub resource: String,
    /// For example `status` or `token`; empty when the object itself was meant.
    pub subresource: String,
    /// Empty for cluster-scoped resources and requests across namespaces.
    pub namespace: String,
    /// Empty for lists and for creations with a generated name.
    pub name: String,
    /// Path and query as sent.
    pub uri: String,
    /// The HTTP status code.
    pub code: u16,
    /// When the request arrived.
    pub received: Timestamp,
}

impl AuditEvent {
    /// `verb` on `resource`, written as in a Role: `is("patch", "leases")`, `is("patch", "passwordresetpolicies/status")`.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource_path() == resource
    }

    /// Whether the user is this ServiceAccount.
    pub fn is_by_service_account(&self, namespace: &str, name: &str) -> bool {
        self.user == format!("system:serviceaccount:{namespace}:{name}")
    }

    /// Whether the request would change something, refused or not. A review is a question in the form of a creation, of
    /// which nothing is stored.
    pub fn is_write(&self) -> bool {
        let is_review = ["authentication.k8s.io", "authorization.k8s.io"].contains(&self.group.as_str());
        !is_review && !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether RBAC or another authorizer refused it.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }

    /// `resource`, or `resource/subresource`, as a Role writes it.
    pub fn resource_path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

pub(crate) fn write_policy(path: &Path) -> Result<()> {
    std::fs::write(path, POLICY).with_context(|| format!("cannot write {}", path.display()))
}

/// Sends a request that can be recognised and waits until the log has it: what was answered before is there as well.
pub(crate) async fn read_to_now(client: &Client, log: &Path) -> Result<Vec<AuditEvent>> {
    static MARKERS: AtomicU64 = AtomicU64::new(0);
    let number = MARKERS.fetch_add(1, Ordering::Relaxed);
    let marker = format!("{MARKER}{}-{number}", std::process::id());
    let request = http::Request::get(&marker).body(Vec::new())?;
    client.request_text(request).await?;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text =
            std::fs::read_to_string(log).with_context(|| format!("cannot read the audit log {}", log.display()))?;
        if let Some(events) = parse_up_to(&text, &marker)? {
            return Ok(events);
        }
        if Instant::now() > deadline {
            bail!("a request did not show in the audit log {} within {} s", log.display(), DEADLINE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The events before the request to `marker`, or `None` when the log does not have that request yet.
fn parse_up_to(log: &str, marker: &str) -> Result<Option<Vec<AuditEvent>>> {
    let mut events = Vec::new();
    for line in log.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            return Ok(None); // still being written
        };
        let logged: Logged =
            serde_json::from_str(line).with_context(|| format!("a line of the audit log cannot be read: {line}"))?;
        if logged.request_uri == marker {
            return Ok(Some(events));
        }
        if logged.counts() {
            events.push(logged.into());
        }
    }
    Ok(None)
}

/// A line of the log: audit.k8s.io/v1 Event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logged {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Logged {
    /// A watch is completed only when it ends, so its start counts; every other request counts when it is complete.
    /// A refused watch never starts.
    fn counts(&self) -> bool {
        if self.request_uri.starts_with(MARKER) {
            return false;
        }
        match self.stage.as_str() {
            "ResponseStarted" => self.verb == "watch",
            "ResponseComplete" => self.verb != "watch" || self.response_status.code >= 400,
            _ => false,
        }
    }
}

impl From<Logged> for AuditEvent {
    fn from(logged: Logged) -> Self {
        Self {
            user: logged.user.username,
            user_agent: logged.user_agent,
            verb: logged.verb,
            group: logged.object_ref.api_group,
            resource: logged.object_ref.resource,
            subresource: logged.object_ref.subresource,
            namespace: logged.object_ref.namespace,
            name: logged.object_ref.name,
            uri: logged.request_uri,
            code: logged.response_status.code,
            received: logged.request_received_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, verb: &str, uri: &str, code: u16) -> String {
        format!(
            r#"{{"stage":"{stage}","requestURI":"{uri}","verb":"{verb}","user":{{"username":"u"}},"responseStatus":{{"code":{code}}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z"}}"#
        ) + "\n"
    }

    #[test]
    fn a_watch_counts_once_from_its_start() {
        let log = line("ResponseStarted", "watch", "/w", 200)
            + &line("ResponseComplete", "watch", "/w", 200)
            + &line("ResponseComplete", "get", "/marker", 200);
        let events = parse_up_to(&log, "/marker").unwrap().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].verb, "watch");
    }

    #[test]
    fn a_refused_watch_counts_once() {
        let log = line("ResponseComplete", "watch", "/w", 403) + &line("ResponseComplete", "get", "/marker", 200);
        let events = parse_up_to(&log, "/marker").unwrap().unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].is_forbidden());
    }

    #[test]
    fn a_line_that_is_still_being_written_is_not_read() {
        let log = line("ResponseComplete", "get", "/a", 200) + r#"{"stage":"Resp"#;
        assert_eq!(parse_up_to(&log, "/marker").unwrap(), None);
    }
}
