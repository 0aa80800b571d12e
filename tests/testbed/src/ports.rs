//! Which TCP ports are free on 127.0.0.1?

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;
use std::ops::Range;

use anyhow::{Result, bail};

/// Below what systems give to outgoing connections and to listeners that ask for any port (Linux: from 32768), so that
/// nobody but another caller of [`free`] takes one by chance before it is used.
const PORTS: Range<u16> = 12_000..32_000;
const ATTEMPTS: usize = 1_000;

/// `N` different ports that are free at this moment. Another process may take one before it is used: callers start
/// again with new ports when a program says that its address is in use.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is known, so that they differ.
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for _ in 0..ATTEMPTS {
        if listeners.len() == N {
            return Ok(ports);
        }
        let port = PORTS.start + (RandomState::new().hash_one(listeners.len()) % PORTS.len() as u64) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            ports[listeners.len()] = port;
            listeners.push(listener);
        }
    }
    bail!("of {ATTEMPTS} ports of 127.0.0.1 between {} and {} none is free", PORTS.start, PORTS.end)
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
