//! How does a connection break, fall silent, or tell that an answer is through?

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::forward::Switchboard;
use super::gate::Gate;
use super::lock;

/// What holds for all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// While it is closed no byte passes.
    pub light: Gate,
    /// The connections up to this number are reset.
    reset: watch::Sender<u64>,
    pub refusing: AtomicBool,
    opened: AtomicU64,
    stranded: AtomicU64,
}

impl Sockets {
    pub fn strand(&self) {
        self.stranded.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Resets the connections that are open; none of their calls is sent on from this moment.
    pub fn reset(&self) {
        self.reset.send_replace(self.opened.load(Ordering::SeqCst));
    }
}

/// One connection, seen from the call that is being answered on it.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<WireState>);

#[derive(Debug)]
struct WireState {
    number: u64,
    sockets: Arc<Sockets>,
    broken: AtomicBool,
    through: Mutex<Option<oneshot::Sender<()>>>,
}

impl Wire {
    fn open(sockets: Arc<Sockets>) -> Self {
        let number = sockets.opened.fetch_add(1, Ordering::SeqCst) + 1;
        Self(Arc::new(WireState { number, sockets, broken: AtomicBool::default(), through: Mutex::default() }))
    }

    /// From now on nothing is written any more; the peer sees a reset.
    pub fn reset(&self) {
        self.0.broken.store(true, Ordering::SeqCst);
    }

    pub fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::SeqCst) || self.0.number <= *self.0.sockets.reset.borrow()
    }

    /// Fires when the next answer has been taken by the socket; closes without firing when the connection ends before.
    pub fn through(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        *lock(&self.0.through) = Some(sender);
        receiver
    }

    fn expects_answer(&self) -> bool {
        lock(&self.0.through).is_some()
    }

    fn answer_is_through(&self) {
        if let Some(sender) = lock(&self.0.through).take() {
            let _ = sender.send(());
        }
    }
}

struct Socket {
    stream: TcpStream,
    wire: Wire,
    dark: Option<BoxFuture<'static, ()>>,
    written: bool,
}

impl Socket {
    /// Pending while nothing may pass, an error once the connection is reset.
    fn passes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_broken() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.wire.0.number <= self.wire.0.sockets.stranded.load(Ordering::SeqCst) {
            return Poll::Pending; // for good
        }
        let light = &self.wire.0.sockets.light;
        if self.dark.is_none() && !light.is_open() {
            self.dark = Some(light.clone().into_passed().boxed());
        }
        if let Some(dark) = &mut self.dark {
            std::task::ready!(dark.poll_unpin(cx));
            self.dark = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.wire.is_broken() {
            // Without lingering the kernel sends RST instead of an orderly FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.passes(cx))?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.passes(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) && self.wire.expects_answer() {
            self.written = true;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if self.written && matches!(flushed, Poll::Ready(Ok(()))) {
            self.written = false;
            self.wire.answer_is_through();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.passes(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts connections until the proxy is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    sockets: Arc<Sockets>,
    board: Arc<Switchboard>,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or the peer left already: give the others a moment.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        if sockets.refusing.load(Ordering::SeqCst) {
            let _ = stream.set_zero_linger();
            continue;
        }
        let _ = stream.set_nodelay(true);
        tokio::spawn(converse(stream, Arc::clone(&sockets), Arc::clone(&board), stopped.clone()));
    }
}

async fn converse(stream: TcpStream, sockets: Arc<Sockets>, board: Arc<Switchboard>, mut stopped: watch::Receiver<()>) {
    let mut reset = sockets.reset.subscribe();
    let wire = Wire::open(sockets);
    let number = wire.0.number;
    let socket = Socket { stream, wire: wire.clone(), dark: None, written: false };
    let answering = wire.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = Arc::clone(&board).respond(request.map(Body::new), answering.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        _ = stopped.changed() => {}
        _ = reset.wait_for(|up_to| number <= *up_to).map(drop) => {}
        _ = connection => {}
    }
}
