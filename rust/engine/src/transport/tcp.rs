//! TCP of the host: one descriptor, shared by what sends and what receives, and closed with the last of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use super::Transport;
use crate::fork_lock::OwnerProcess;
use crate::sys;

/// A TCP socket of the host.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    socket: Arc<OwnedFd>,
    owner: OwnerProcess,
}

impl TcpTransport {
    /// Takes over a TCP socket.
    ///
    /// # Errors
    /// EINVAL for anything that is not a TCP socket.
    pub fn new(socket: OwnedFd) -> Result<Self, Errno> {
        if sys::is_tcp(&socket)? {
            Ok(Self {
                socket: Arc::new(socket),
                owner: OwnerProcess::current(),
            })
        } else {
            Err(Errno::INVAL)
        }
    }

    /// The descriptor, for calls that neither send nor change what the description shares with other processes.
    #[must_use]
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Raises EPERM in a child of the process that made it.
    ///
    /// # Errors
    /// [`crate::Error::Forked`].
    pub fn check_process(&self) -> crate::Result<()> {
        self.owner.check()
    }
}

impl Transport for TcpTransport {
    fn send(&self, data: &[u8], more: bool) -> Result<usize, Errno> {
        loop {
            match sys::send(&self.socket, data, more) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn is_connected(&self) -> bool {
        // One that is just being connected has no peer yet, and has not hung up either.
        rustix::net::getpeername(&self.socket).is_ok() || !sys::has_hung_up(&self.socket)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        sys::shutdown_write(&self.socket)
    }

    fn abort(&self) {
        // Fails only on a connection that has ended already.
        let _ = sys::reset(&self.socket);
    }

    fn linger(&self) -> Option<Duration> {
        sys::linger(&self.socket)
    }

    fn is_acknowledged(&self) -> bool {
        sys::unacknowledged(&self.socket).is_ok_and(|count| count == 0)
    }

    fn clear_linger(&self) {
        sys::clear_linger(&self.socket);
    }

    fn endpoints(&self) -> String {
        let show = |address: Option<SocketAddrAny>| {
            let address = address.and_then(|any| std::net::SocketAddr::try_from(any).ok());
            address.map_or_else(|| "-".into(), |address| address.to_string())
        };
        let local = rustix::net::getsockname(&self.socket).ok();
        let foreign = rustix::net::getpeername(&self.socket).ok().flatten();
        format!("{} {}", show(local), show(foreign))
    }
}
