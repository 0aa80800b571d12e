//! How is a kubeconfig for one server and one caller written?

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::certificates::{Certificates, write_private};

/// Who the caller of a kubeconfig is.
pub(crate) enum Caller<'a> {
    /// The member of `system:masters`.
    Admin,
    /// The holder of a bearer token.
    Token(&'a str),
}

/// Writes a kubeconfig with one cluster, one user and one context to `path`, readable by its owner only.
pub(crate) fn write(
    path: &Path,
    server: &str,
    certificates: &Certificates,
    caller: &Caller<'_>,
    namespace: &str,
) -> Result<()> {
    let user = match caller {
        Caller::Admin => json!({
            "client-certificate": certificates.admin,
            "client-key": certificates.admin_key,
        }),
        Caller::Token(token) => json!({ "token": token }),
    };
    let text = serde_yaml::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": server, "certificate-authority": certificates.authority },
        }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "testbed", "namespace": namespace },
        }],
        "current-context": "testbed",
    }))?;
    write_private(path, &text)
}
