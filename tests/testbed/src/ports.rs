//! Which TCP ports are free on 127.0.0.1?

use std::net::TcpListener;
use std::ops::Range;

use anyhow::{Result, bail};

use crate::random;

/// Below what systems give to outgoing connections and to listeners that ask for any port (Linux: from 32768), so that
/// nobody but another caller of [`free`] takes one by chance before it is used.
const PORTS: Range<u16> = 12_000..32_000;
const ATTEMPTS: usize = 1_000;

/// `N` different ports that are free at this moment. Another process may take one before it is used: callers start
/// again with new ports when a program says that its address is in use.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is known, so that they differ.
    let (mut ports, mut held) = (Vec::new(), Vec::new());
    for _ in 0..ATTEMPTS {
        if let Ok(ports) = <[u16; N]>::try_from(ports.as_slice()) {
            return Ok(ports);
        }
        let port = PORTS.start + u16::from_str_radix(&random::hex()?[..4], 16)? % PORTS.len() as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            ports.push(port);
            held.push(listener);
        }
    }
    bail!("of {ATTEMPTS} ports of 127.0.0.1 between {} and {} too few are free", PORTS.start, PORTS.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_listened_at() {
        let ports: [u16; 5] = free().unwrap();
        let listeners: Vec<TcpListener> =
            ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
        assert_eq!(listeners.len(), 5);
    }
}
