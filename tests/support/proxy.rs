//! How many requests did a provider really send? The test bed's proxy before Keycloak, which passes everything on.

use testbed::proxy::{self, Call, Rule, Upstream};

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    /// Its address, `http://127.0.0.1:<port>`.
    pub url: String,
    proxy: proxy::Proxy,
}

impl Proxy {
    /// Listens on a free port and passes every request on to `target`.
    pub async fn start(target: &str) -> Self {
        let proxy = proxy::Proxy::start(Upstream::plain(target)).await.expect("a free port");
        Self { url: proxy.url().to_owned(), proxy }
    }

    /// Adds a rule, for answers that the server would not give.
    #[allow(dead_code)] // not every test has one
    pub fn rule(&self, rule: Rule) {
        self.proxy.rule(rule);
    }

    /// What came since the last call of this, as `METHOD path`, ids replaced by `{id}`, without queries.
    pub fn take(&self) -> Vec<String> {
        let records = self.proxy.records();
        self.proxy.forget();
        records.iter().map(|record| below_the_realm(&record.call)).collect()
    }

    /// The same without the fetching of tokens.
    pub fn take_calls(&self) -> Vec<String> {
        self.take().into_iter().filter(|call| !call.ends_with("/token")).collect()
    }
}

/// The kind of a call, its path beginning below the realm.
fn below_the_realm(call: &Call) -> String {
    let path = call.template.split_once(' ').map_or(call.template.as_str(), |(_, path)| path);
    let below = path.strip_prefix("/admin/realms/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    below.map_or_else(|| call.template.clone(), |below| format!("{} /{below}", call.method))
}
