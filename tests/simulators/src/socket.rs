//! How do bytes reach a simulator, and how does a connection break?
//!
//! A small HTTP/1.1 server whose connections can be reset on demand. It knows nothing about vendors.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Breaks the connection that a request came on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker(Arc<AtomicBool>);

impl Breaker {
    /// From now on nothing is written any more; the peer sees a reset.
    pub fn reset(&self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Socket {
    stream: TcpStream,
    breaker: Breaker,
}

impl Socket {
    fn broken(&self) -> Option<io::Error> {
        if !self.breaker.0.load(Ordering::Acquire) {
            return None;
        }
        // Without lingering the kernel answers with RST instead of an orderly FIN when the socket is dropped.
        let _ = self.stream.set_zero_linger();
        Some(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

/// A running server; dropping it closes the listener and every connection.
#[derive(Debug)]
pub(crate) struct Server {
    pub address: SocketAddr,
    _stop: watch::Sender<()>,
}

impl Server {
    /// Binds 127.0.0.1:`port` (0: a free one) and answers each request with `respond`. `connected` is called for each connection.
    pub async fn start<F, Fut>(port: u16, connected: impl Fn() + Send + 'static, respond: F) -> io::Result<Server>
    where
        F: Fn(Request<Body>, Breaker) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        tokio::spawn(async move {
            let mut stopping = stopped.clone();
            loop {
                let stream = tokio::select! {
                    _ = stopping.changed() => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        // Out of descriptors, or the peer left already: give the others a moment.
                        Err(_) => {
                            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                            continue;
                        }
                    },
                };
                connected();
                let _ = stream.set_nodelay(true);
                tokio::spawn(converse(stream, stopped.clone(), respond.clone()));
            }
        });
        Ok(Server { address, _stop: stop })
    }
}

async fn converse<F, Fut>(stream: TcpStream, mut stopping: watch::Receiver<()>, respond: F)
where
    F: Fn(Request<Body>, Breaker) -> Fut,
    Fut: Future<Output = Response<Body>>,
{
    let breaker = Breaker::default();
    let io = TokioIo::new(Socket { stream, breaker: breaker.clone() });
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = respond(request.map(Body::new), breaker.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // `Date` is ours to set or to leave out.
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).auto_date_header(false).serve_connection(io, service);
    tokio::select! {
        _ = stopping.changed() => {}
        _ = connection => {}
    }
}
