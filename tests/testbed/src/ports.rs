//! Which TCP ports are free on 127.0.0.1?

use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;

use anyhow::{Result, bail};
use tokio::net::TcpSocket;

use crate::random;

/// Below what systems give to outgoing connections and to listeners that ask for any port (Linux: from 32768), so that
/// nobody but another caller of [`free`] takes one by chance before it is used.
const PORTS: Range<u16> = 12_000..32_000;
const ATTEMPTS: usize = 1_000;

/// `N` different ports that are free at this moment. Another process may take one before it is used: callers start
/// again with new ports when a program says that its address is in use.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = Vec::new();
    for _ in 0..ATTEMPTS {
        if let Ok(ports) = <[u16; N]>::try_from(ports.as_slice()) {
            return Ok(ports);
        }
        let port = PORTS.start + u16::from_str_radix(&random::hex()?[..4], 16)? % PORTS.len() as u16;
        if !ports.contains(&port) && is_free(port)? {
            ports.push(port);
        }
    }
    bail!("of {ATTEMPTS} ports of 127.0.0.1 between {} and {} too few are free", PORTS.start, PORTS.end)
}

/// The port is bound and never listened at: a child that another thread starts meanwhile has a copy of the socket
/// until it executes its program, and a listener's copy would keep the port for so long.
fn is_free(port: u16) -> io::Result<bool> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    Ok(socket.bind((Ipv4Addr::LOCALHOST, port).into()).is_ok())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listen(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn free_ports_differ_and_can_be_listened_at() {
        let ports: [u16; 5] = free().unwrap();
        let listeners: Vec<TcpListener> = ports.iter().map(|port| listen(*port).unwrap()).collect();
        assert_eq!(listeners.len(), 5);
    }

    #[test]
    fn a_port_that_somebody_listens_at_is_not_free() {
        let [port] = free().unwrap();
        let _listener = listen(port).unwrap();
        assert!(!is_free(port).unwrap());
    }
}
