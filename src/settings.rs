//! Every setting of the operator: each is a flag and an environment variable, and `--help` explains it.

use std::net::SocketAddr;

use clap::Parser;
use secrecy::SecretString;

/// Makes people change passwords that may have leaked: reconciles PasswordResetPolicy objects against identity
/// providers until everybody has a new password or cannot go on without one.
///
/// The Kubernetes API server is found by `KUBECONFIG`, else by the in-cluster service account.
#[derive(Clone, Debug, Parser)]
#[command(name = "password-reset-operator", version)]
pub struct Settings {
    /// The operator's own namespace: ledgers are kept here, and Secrets of ClusterIdentityProviders are read here. By
    /// default the namespace of the pod, else that of the kubeconfig's context.
    #[arg(long, env = "OPERATOR_NAMESPACE", default_value = "", hide_default_value = true)]
    pub operator_namespace: String,

    /// Namespaces to serve, as a comma separated list. Empty means all, which needs a ClusterRole.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', default_value = "")]
    pub watch_namespaces: Vec<String>,

    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// What to log, as a tracing filter such as `info` or `password_reset_operator=debug`. Logs are JSON lines on stdout.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,

    /// Stops all calls to identity providers but probes, whatever the objects say. The kill switch of last resort.
    #[arg(long, env = "SUSPEND", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub suspend: bool,

    /// Addresses that providers may have although they are refused otherwise, as a comma separated list of networks such as
    /// 127.0.0.0/8: loopback, link-local, multicast and unspecified addresses, those of clouds' metadata services, and the
    /// API server's. Private ranges are allowed anyway.
    #[arg(long, env = "ALLOWED_ADDRESSES", value_delimiter = ',', default_value = "")]
    pub allowed_addresses: Vec<String>,

    /// A proxy for all requests to identity providers, such as http://proxy.example:3128. It may hold a user name and
    /// password; give it by the environment then. The proxy resolves providers' names, so it has to refuse internal
    /// addresses itself. HTTP_PROXY and its kin are not read.
    #[arg(long, env = "PROXY_URL", hide_env_values = true)]
    pub proxy_url: Option<SecretString>,

    /// Days for which the ledger of a deleted policy is kept, so that the same policy applied again asks nobody twice.
    #[arg(long, env = "LEDGER_RETENTION_DAYS", default_value_t = 90)]
    pub ledger_retention_days: u32,

    /// Seconds that a write may take to show in a read at the provider: one that does not show by then had no effect. After
    /// a crash, the few accounts whose write may be on the way wait as long before they are written to again.
    #[arg(long, env = "SETTLE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub settle_seconds: u32,

    /// How many user lists are watched. Beyond it, lists of settled policies are read at each look instead.
    #[arg(long, env = "MAX_WATCHED_LISTS", default_value_t = 200)]
    pub max_watched_lists: usize,

    /// Pages that one listing of accounts may have. One that goes on is given up, and its policy says so: an honest one of a
    /// million people has 10,000.
    #[arg(long, env = "MAX_LISTING_PAGES", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_listing_pages: u32,

    /// How many policies (and as many providers) are reconciled at once.
    #[arg(long, env = "CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Whether several processes of this operator run, of which the holder of a lease acts and the others stand by.
    #[arg(long, env = "LEADER_ELECT", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub leader_elect: bool,

    /// Seconds after which a standby takes a lease that is not renewed any more.
    #[arg(long, env = "LEASE_DURATION_SECONDS", default_value_t = 15)]
    pub lease_duration_seconds: u16,

    /// Seconds after its last successful renewal at which the holder of the lease stops acting.
    #[arg(long, env = "LEASE_RENEW_DEADLINE_SECONDS", default_value_t = 10)]
    pub lease_renew_deadline_seconds: u16,

    /// Seconds between two renewals of the lease.
    #[arg(long, env = "LEASE_RETRY_PERIOD_SECONDS", default_value_t = 2)]
    pub lease_retry_period_seconds: u16,

    /// Seconds after which a watch of the API server is begun anew. A connection that is dead is noticed 5 s later.
    #[arg(long, env = "WATCH_TIMEOUT_SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub watch_timeout_seconds: u32,

    /// Seconds that a call to the API server may take.
    #[arg(long, env = "CALL_TIMEOUT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub call_timeout_seconds: u32,

    /// Seconds without any answer to one of its watches after which /livez says that the process has to be restarted.
    #[arg(long, env = "WATCH_SILENCE_SECONDS", default_value_t = 110, value_parser = clap::value_parser!(u32).range(1..))]
    pub watch_silence_seconds: u32,
}

impl Settings {
    /// The namespaces to serve; empty means all.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.watch_namespaces.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }

    #[test]
    fn namespaces_are_trimmed_sorted_and_unique_and_empty_means_all() {
        let parse = |list: &str| Settings::parse_from(["x", "--watch-namespaces", list]).namespaces();
        assert_eq!(parse("b, a,,b "), ["a", "b"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn suspend_takes_the_usual_spellings() {
        for (args, expected) in [(vec!["x"], false), (vec!["x", "--suspend"], true), (vec!["x", "--suspend=no"], false)]
        {
            assert_eq!(Settings::parse_from(args).suspend, expected);
        }
    }
}
