//! TCP of the host: one descriptor, shared by what sends and what receives, and closed with the last of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny};

use super::Transport;
use crate::error::Error;
use crate::fork_lock::{ForkGuard, OwnerProcess};
use crate::sys;

/// Bytes that are looked for at the end: a few tickets.
const UNREAD_MAX: usize = 64 << 10;

/// A TCP socket of the host.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    socket: Arc<OwnedFd>,
    owner: OwnerProcess,
    closed: Arc<AtomicBool>,
    aborted: Arc<AtomicBool>,
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
                closed: Arc::default(),
                aborted: Arc::default(),
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

    /// The process that it belongs to, for who is not to hold the descriptor.
    #[must_use]
    pub fn owner(&self) -> OwnerProcess {
        self.owner
    }

    /// Raises EPERM in a child of the process that made it.
    ///
    /// # Errors
    /// [`crate::Error::Forked`].
    pub fn check_process(&self) -> crate::Result<()> {
        self.owner.check()
    }

    /// The same for a thread that holds forks off.
    pub(crate) fn check_process_inside(&self, fork: &ForkGuard) -> crate::Result<()> {
        self.owner.check_inside(fork)
    }

    /// The same, and EBADF when the program has closed the socket while a call was waiting, or ECONNABORTED.
    pub(crate) fn check_open(&self) -> crate::Result<()> {
        self.owner.check()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if self.aborted.load(Ordering::Acquire) {
            return Err(Error::Aborted);
        }
        Ok(())
    }

    /// Why reading failed: by this program, if it has reset the connection.
    pub(crate) fn reading_failed(&self, errno: Errno) -> Error {
        if self.aborted.load(Ordering::Acquire) {
            return Error::Aborted;
        }
        let during = "reading failed";
        Error::Connection { errno, during }
    }

    /// Nothing is received any more: whoever waits is told.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes what lies unread and drops it, as far as one call goes.
    pub fn discard_unread(&self) {
        if self.check_open().is_ok() {
            let mut scrap = vec![0; UNREAD_MAX];
            let _ = sys::receive(&self.socket, &mut scrap, RecvFlags::empty());
        }
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
        self.has_peer() || !sys::has_hung_up(&self.socket)
    }

    fn has_peer(&self) -> bool {
        rustix::net::getpeername(&self.socket).is_ok()
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        sys::shutdown_write(&self.socket)
    }

    fn note_abort(&self) {
        self.aborted.store(true, Ordering::Release);
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

    fn at_risk(&self) -> usize {
        if sys::has_unread(&self.socket) {
            sys::unacknowledged(&self.socket).unwrap_or(0)
        } else {
            0
        }
    }

    fn drop_unread(&self) -> bool {
        let mut scrap = vec![0; UNREAD_MAX];
        loop {
            match sys::receive(&self.socket, &mut scrap, RecvFlags::empty()) {
                Ok(0) => return false,
                Ok(len) if len < scrap.len() => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return errno == Errno::AGAIN,
            }
        }
    }

    fn clear_linger(&self) {
        sys::clear_linger(&self.socket);
    }

    fn flow_hash(&self) -> Option<usize> {
        let ends = [
            rustix::net::getsockname(&self.socket).ok()?,
            rustix::net::getpeername(&self.socket).ok()??,
        ];
        let mut hasher = DefaultHasher::new();
        for end in ends {
            SocketAddr::try_from(end).ok()?.hash(&mut hasher);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "of a hash any bits will do"
        )]
        let hash = hasher.finish() as usize;
        Some(hash)
    }

    fn endpoints(&self) -> String {
        let show = |address: Option<SocketAddrAny>| {
            let address = address.and_then(|any| SocketAddr::try_from(any).ok());
            address.map_or_else(|| "-".into(), |address| address.to_string())
        };
        let local = rustix::net::getsockname(&self.socket).ok();
        let foreign = rustix::net::getpeername(&self.socket).ok().flatten();
        format!("{} {}", show(local), show(foreign))
    }
}
