//! Stand-in.
#![allow(dead_code)]
use kube::Client;
pub async fn install_namespaced(client: &Client, operator_namespace: &str, account: &str, namespaces: &[&str]) -> anyhow::Result<()> {
    let mut yaml = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {operator_namespace}}}\n");
    for ns in namespaces.iter().copied().chain([operator_namespace]) {
        yaml += &format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: op, namespace: {ns}}}\nrules: [{{apiGroups: [passwordreset.dev, events.k8s.io], resources: ['*'], verbs: ['*']}}, {{apiGroups: [''], resources: [configmaps], verbs: ['*']}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: op, namespace: {ns}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: op}}\nsubjects: [{{kind: ServiceAccount, name: {account}, namespace: {operator_namespace}}}]\n");
    }
    testbed::control_plane::manifests::apply(client, operator_namespace, &yaml).await
}
