//! Where is the API server, and how is it asked?

use anyhow::Context as _;
use kube::Config;
use kube::config::Kubeconfig;

/// The configuration of the client, from `KUBECONFIG` or the pod's service account.
///
/// *Errors*: there is neither, or the kubeconfig wants a proxy.
pub async fn config() -> anyhow::Result<Config> {
    let mut config = Config::infer()
        .await
        .context("no way to the API server: set KUBECONFIG or run in a pod with a service account")?;
    // Every retry is decided by a reconcile, which knows whether repeating is harmless; the client's own retries would
    // repeat POSTs and obey a `Retry-After` of any length.
    config.default_retry = false;
    // kube also takes a proxy from HTTPS_PROXY, which is no setting of ours and would get the operator's own token.
    if config.proxy_url.take().is_some() {
        anyhow::ensure!(
            !Kubeconfig::read().is_ok_and(|kubeconfig| names_proxy(&kubeconfig)),
            "the kubeconfig names a proxy (proxy-url); the API server has to be reached directly"
        );
    }
    Ok(config)
}

/// Whether the current context's cluster is reached by a proxy.
fn names_proxy(kubeconfig: &Kubeconfig) -> bool {
    let current = kubeconfig.current_context.as_deref();
    let context = kubeconfig.contexts.iter().find(|c| Some(c.name.as_str()) == current);
    let cluster = context.and_then(|c| Some(c.context.as_ref()?.cluster.as_str()));
    let named = kubeconfig.clusters.iter().find(|c| Some(c.name.as_str()) == cluster);
    named.and_then(|c| c.cluster.as_ref()?.proxy_url.as_deref()).is_some_and(|url| !url.is_empty())
}

/// Hosts and ports of the API server: those that the client uses, and those that every pod is told.
pub fn places(config: &Config) -> Vec<(String, u16)> {
    let url = &config.cluster_url;
    let default_port = if url.scheme_str() == Some("http") { 80 } else { 443 };
    let client = url.host().map(|host| (host.to_owned(), url.port_u16().unwrap_or(default_port)));
    let pod = told("KUBERNETES_SERVICE_HOST").zip(told("KUBERNETES_SERVICE_PORT").and_then(|port| port.parse().ok()));
    client.into_iter().chain(pod).collect()
}

#[expect(clippy::disallowed_methods, reason = "set by the kubelet in every pod; not a setting of ours")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_is_where_the_client_finds_it() {
        let place = |url: &str| places(&Config::new(url.parse().unwrap())).swap_remove(0);
        assert_eq!(place("https://10.96.0.1"), ("10.96.0.1".to_owned(), 443));
        assert_eq!(place("https://kube.example:6443/k8s"), ("kube.example".to_owned(), 6443));
        assert_eq!(place("http://[::1]:8001"), ("[::1]".to_owned(), 8001));
        assert_eq!(place("http://localhost"), ("localhost".to_owned(), 80));
    }

    #[test]
    fn a_proxy_counts_only_where_the_current_cluster_names_it() {
        let kubeconfig = |current: &str, proxy: &str| -> Kubeconfig {
            serde_json::from_value(serde_json::json!({
                "current-context": current,
                "contexts": [{"name": "a", "context": {"cluster": "one", "user": "u"}},
                             {"name": "b", "context": {"cluster": "two", "user": "u"}}],
                "clusters": [{"name": "one", "cluster": {"server": "https://one", "proxy-url": proxy}},
                             {"name": "two", "cluster": {"server": "https://two"}}]
            }))
            .unwrap()
        };
        assert!(names_proxy(&kubeconfig("a", "http://proxy")));
        assert!(!names_proxy(&kubeconfig("a", "")));
        assert!(!names_proxy(&kubeconfig("b", "http://proxy")));
    }
}
