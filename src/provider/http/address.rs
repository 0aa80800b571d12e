//! Which addresses may be connected to?
//!
//! Whoever writes a provider object, or answers for its name, chooses where the operator connects to: from inside the
//! cluster that could be the machine itself, the cloud's metadata service or the API server. Those are refused unless a
//! setting lists them. Private ranges are allowed, since a provider inside the cluster is normal. Pure: who resolves
//! names, and when it is asked, is in [`super::network`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The setting that lists what is allowed, for messages.
pub const SETTING: &str = "ALLOWED_ADDRESSES";

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `0.0.0.0/8`, `::`: on most systems another way to the machine itself.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// Where a cloud hands out credentials to whoever asks from inside.
    Metadata,
    /// `224.0.0.0/4`, `ff00::/8` and `255.255.255.255`.
    Multicast,
    /// `240.0.0.0/4`.
    Reserved,
    /// Address and port of the Kubernetes API server.
    ApiServer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "the address of a cloud's metadata service",
            Self::Multicast => "a multicast or broadcast address",
            Self::Reserved => "a reserved address",
            Self::ApiServer => "the address and port of the Kubernetes API server",
        })
    }
}

impl std::error::Error for Refusal {}

/// The addresses that are allowed although they would be refused.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    listed: Vec<IpNet>,
}

impl AddressRules {
    /// Reads networks such as `127.0.0.0/8` and single addresses such as `::1`; empty entries are passed over.
    ///
    /// *Errors*: a sentence that names the entry that is neither.
    pub fn parse(list: &[impl AsRef<str>]) -> Result<Self, String> {
        let entries = list.iter().map(|entry| entry.as_ref().trim()).filter(|entry| !entry.is_empty());
        let listed = entries.map(|entry| {
            let single = || entry.parse::<IpAddr>().ok().map(IpNet::from);
            entry.parse::<IpNet>().ok().or_else(single).ok_or_else(|| {
                format!("{SETTING}: {entry:?} is neither a network such as 10.0.0.0/8 nor an address such as ::1")
            })
        });
        Ok(Self { listed: listed.collect::<Result<_, _>>()? })
    }

    /// Whether `address` may be connected to at every one of `ports`; `api_servers` are the API server's places.
    ///
    /// An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4 …) is refused as what it carries would be.
    pub fn check(&self, address: IpAddr, ports: &[u16], api_servers: &[(IpAddr, u16)]) -> Result<(), Refusal> {
        if self.lists(address) {
            return Ok(());
        }
        let refused = forms(address).filter(|form| !self.lists(*form)).find_map(|form| {
            let is_api_server =
                |(ip, port): &(IpAddr, u16)| ports.contains(port) && forms(*ip).any(|server| server == form);
            if api_servers.iter().any(is_api_server) { Some(Refusal::ApiServer) } else { refusal(form) }
        });
        refused.map_or(Ok(()), Err)
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.listed.iter().any(|net| net.contains(&address))
    }
}

/// The address and every IPv4 address that it carries.
fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let carried = match address {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(v6) => carried(v6),
    };
    std::iter::once(address).chain(carried.into_iter().flatten().map(IpAddr::V4))
}

/// The IPv4 addresses that packets to `address` may end at.
fn carried(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        // :: and ::1 are what they are.
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => [None, None],
        // Compatible and mapped (RFC 4291 §2.5.5), translated (RFC 2765 §2.1), NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => [v4(g, h), None],
        // NAT64 with a local prefix (RFC 8215): of 96 bits, or of 48 with the octet of RFC 6052 §2.2 in between.
        [0x64, 0xff9b, 1, 0, 0, 0] => [v4(g, h), None],
        [0x64, 0xff9b, 1, ..] => [v4(d, (e & 0xff) << 8 | f >> 8), None],
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => [v4(b, c), None],
        // Teredo (RFC 4380 §4): the server, and the client with its bits turned over.
        [0x2001, 0, ..] => [v4(c, d), v4(!g, !h)],
        _ => [None, None],
    }
}

fn refusal(address: IpAddr) -> Option<Refusal> {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => of_v6(v6),
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Refusal> {
    match address.octets() {
        // AWS, Google Cloud, Azure, OpenStack and most others; AWS for containers and for pods; Alibaba Cloud; Azure's
        // platform; Oracle Cloud's older one.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [168, 63, 129, 16]
        | [192, 0, 0, 192] => Some(Refusal::Metadata),
        [0, ..] => Some(Refusal::Unspecified),
        [127, ..] => Some(Refusal::Loopback),
        [169, 254, ..] => Some(Refusal::LinkLocal),
        [224..=239, ..] | [255, 255, 255, 255] => Some(Refusal::Multicast),
        [240..=255, ..] => Some(Refusal::Reserved),
        _ => None,
    }
}

fn of_v6(address: Ipv6Addr) -> Option<Refusal> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Refusal::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Refusal::Loopback),
        // AWS (all that it serves to its machines), Google Cloud, Oracle Cloud, Scaleway.
        [0xfd00, 0x0ec2, ..]
        | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42] => Some(Refusal::Metadata),
        [0xfe80..=0xfebf, ..] => Some(Refusal::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Refusal::Multicast),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
