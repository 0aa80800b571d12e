//! Which TCP ports are free on 127.0.0.1?

use std::net::TcpListener;

use anyhow::{Context, Result};

/// `N` different ports that are free at this moment. Another process may take one before it is used: callers start
/// again with new ports when a program says that its address is in use.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is known, so that they differ.
    let listeners = (0..N)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<Vec<_>, _>>()
        .context("cannot get a free port on 127.0.0.1")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
