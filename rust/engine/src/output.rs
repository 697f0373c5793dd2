//! The way down: how a send buffer reaches TCP. A host's socket is one such transport; others can take its place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use crate::sys;

/// What a send buffer needs of a transport: the seed's protocol switch, and no more.
pub trait Output: Send + Sync {
    /// Takes bytes in order, never waiting; returns how many. `more`: the stream goes on at once.
    ///
    /// # Errors
    /// EAGAIN when it takes none now, otherwise whatever ended the connection.
    fn send(&self, data: &[u8], more: bool) -> Result<usize, Errno>;

    /// Whether there is a peer, or will be one: what is sent before is lost.
    fn is_connected(&self) -> bool {
        true
    }

    /// The descriptor that becomes writable when `send` would take bytes again.
    fn ready(&self) -> BorrowedFd<'_>;

    /// Ends the stream after what was sent (FIN).
    ///
    /// # Errors
    /// Whatever the transport says.
    fn finish(&self) -> Result<(), Errno>;

    /// Ends the connection at once (RST).
    fn abort(&self);

    /// Where the bytes go, for tools.
    fn route(&self) -> String;
}

/// A TCP socket of the host.
#[derive(Debug)]
pub struct HostSocket(OwnedFd);

impl HostSocket {
    /// Takes over a TCP socket.
    ///
    /// # Errors
    /// EINVAL for anything that is not a TCP socket.
    pub fn new(socket: OwnedFd) -> Result<Self, Errno> {
        if sys::is_tcp(&socket)? {
            Ok(Self(socket))
        } else {
            Err(Errno::INVAL)
        }
    }
}

impl Output for HostSocket {
    fn send(&self, data: &[u8], more: bool) -> Result<usize, Errno> {
        loop {
            match sys::send(&self.0, data, more) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn is_connected(&self) -> bool {
        // One that is just being connected has no peer yet, and has not hung up either.
        rustix::net::getpeername(&self.0).is_ok() || !sys::has_hung_up(&self.0)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn finish(&self) -> Result<(), Errno> {
        sys::shutdown_write(&self.0)
    }

    fn abort(&self) {
        // Fails only on a connection that has ended already.
        let _ = sys::reset(&self.0);
    }

    fn route(&self) -> String {
        let show = |address: Option<SocketAddrAny>| {
            let address = address.and_then(|any| std::net::SocketAddr::try_from(any).ok());
            address.map_or_else(|| "-".into(), |address| address.to_string())
        };
        let local = rustix::net::getsockname(&self.0).ok();
        let foreign = rustix::net::getpeername(&self.0).ok().flatten();
        format!("{} {}", show(local), show(foreign))
    }
}
