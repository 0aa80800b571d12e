//! How is a connection made, and where to?
//!
//! Names are resolved here, at each connection anew, and only to addresses that [`AddressRules`] allow: an answer that
//! was good a minute ago says nothing about the next one. Addresses written as numbers never reach a resolver and are
//! checked before each request. Behind a proxy it is the proxy that resolves names.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::address::{AddressRules, Refusal};
use super::origin::Origin;

/// Asks for the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The operator's way out, as its settings say. One for the process; clones share it.
///
/// The default refuses what [`AddressRules`] refuse, knows no API server, and uses no proxy.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    rules: AddressRules,
    proxy: Option<reqwest::Proxy>,
    api_servers: Vec<ApiServer>,
    lookup: Lookup,
}

/// A place where the API server answers.
struct ApiServer {
    host: String,
    port: u16,
    /// As last resolved; for a host that is an address, that address.
    addresses: Mutex<Vec<IpAddr>>,
}

impl Network {
    /// The way out. `api_servers` are the API server's hosts (names or addresses, IPv6 with or without brackets) and
    /// ports; `proxy` is the address of a proxy for all requests.
    ///
    /// *Errors*: a sentence, without any part of the proxy's address, which may hold a password.
    pub fn new(
        rules: AddressRules,
        proxy: Option<&SecretString>,
        api_servers: Vec<(String, u16)>,
    ) -> Result<Self, String> {
        let proxy = proxy.filter(|text| !text.expose_secret().trim().is_empty()).map(read_proxy).transpose()?;
        Ok(Self::with_lookup(rules, proxy, api_servers, Arc::new(|name| ask_system(name).boxed())))
    }

    fn with_lookup(
        rules: AddressRules,
        proxy: Option<reqwest::Proxy>,
        api_servers: Vec<(String, u16)>,
        lookup: Lookup,
    ) -> Self {
        let api_servers = api_servers.into_iter().map(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let addresses = Mutex::new(host.parse().into_iter().collect());
            ApiServer { host, port, addresses }
        });
        Self { shared: Arc::new(Shared { rules, proxy, api_servers: api_servers.collect(), lookup }) }
    }

    /// Asks anew for the addresses of an API server that is known by name.
    ///
    /// *Errors*: its name does not resolve, and never did.
    pub async fn find_api_server(&self) -> io::Result<()> {
        for server in self.shared.api_servers.iter().filter(|server| server.host.parse::<IpAddr>().is_err()) {
            let found = (self.shared.lookup)(server.host.clone()).await;
            let mut known = server.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            match found {
                Ok(addresses) if !addresses.is_empty() => *known = addresses,
                Ok(_) | Err(_) if !known.is_empty() => {}
                Ok(_) => return Err(io::ErrorKind::NotFound.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets up how a client of these origins connects.
    pub(super) fn set_up(&self, builder: reqwest::ClientBuilder, origins: &[Origin]) -> reqwest::ClientBuilder {
        // Proxies of the environment are nobody's decision about credentials.
        let builder = builder.no_proxy();
        match &self.shared.proxy {
            // The administrator's choice, wherever it stands: its own name is not checked.
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder.dns_resolver(Arc::new(Resolver::new(self.clone(), origins))),
        }
    }

    /// Refuses an address that is written as a number and may not be connected to.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refusal> {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.check(address, url.port_or_known_default().as_slice())
    }

    fn check(&self, address: IpAddr, ports: &[u16]) -> Result<(), Refusal> {
        let api_servers: Vec<(IpAddr, u16)> = self
            .shared
            .api_servers
            .iter()
            .flat_map(|server| {
                let addresses = server.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
                addresses.into_iter().map(|address| (address, server.port))
            })
            .collect();
        self.shared.rules.check(address, ports, &api_servers)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::with_lookup(AddressRules::default(), None, Vec::new(), Arc::new(|name| ask_system(name).boxed()))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("rules", &self.shared.rules).finish_non_exhaustive()
    }
}

/// Resolves the names of one client's origins, to allowed addresses only.
struct Resolver {
    network: Network,
    /// A resolver is not told the port, so an address has to be allowed at each that its name is used with.
    ports: HashMap<String, Vec<u16>>,
}

impl Resolver {
    fn new(network: Network, origins: &[Origin]) -> Self {
        let mut ports: HashMap<String, Vec<u16>> = HashMap::new();
        for origin in origins {
            ports.entry(origin.host().to_owned()).or_default().push(origin.port());
        }
        Self { network, ports }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let ports = self.ports.get(super::origin::plain_host(&name).as_str()).cloned().unwrap_or_default();
        let network = self.network.clone();
        Box::pin(async move {
            network.find_api_server().await?;
            let found = (network.shared.lookup)(name).await?;
            let (mut allowed, mut refused) = (Vec::new(), None);
            for address in found {
                match network.check(address, &ports) {
                    Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                    Err(refusal) => refused = refused.or(Some(refusal)),
                }
            }
            match refused {
                Some(refusal) if allowed.is_empty() => Err(refusal.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

async fn ask_system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect())
}

fn read_proxy(text: &SecretString) -> Result<reqwest::Proxy, String> {
    let wrong = || "PROXY_URL is no address such as http://proxy.example:3128 (http or https)".to_owned();
    let url = Url::parse(text.expose_secret().trim()).map_err(|_| wrong())?;
    if Origin::of(&url).is_none() {
        return Err(wrong());
    }
    reqwest::Proxy::all(url).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
