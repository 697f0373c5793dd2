//! The way down: how a send buffer reaches TCP. A host's socket (`tcp.rs`) is one such transport; others can take its
//! place.

mod tcp;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

pub use self::tcp::TcpTransport;

/// What a send buffer needs of a transport (upstream's `pr_usrreqs`), and no more.
pub trait Transport: Send + Sync {
    /// Takes bytes in order, never waiting; returns how many. `more`: the stream goes on at once.
    ///
    /// # Errors
    /// EAGAIN when it takes none now, otherwise whatever ended the connection.
    fn send(&self, data: &[u8], more: bool) -> Result<usize, Errno>;

    /// Whether there is a peer, or will be one: what is sent before is lost.
    fn is_connected(&self) -> bool {
        true
    }

    /// Whether there is a peer.
    fn has_peer(&self) -> bool {
        true
    }

    /// The descriptor that becomes writable when `send` would take bytes again.
    fn poll_fd(&self) -> BorrowedFd<'_>;

    /// Ends the stream after what was sent (FIN).
    ///
    /// # Errors
    /// Whatever the transport says.
    fn shutdown_write(&self) -> Result<(), Errno>;

    /// The program is about to end the connection: whoever reads is told so.
    fn note_abort(&self) {}

    /// Ends the connection at once (RST).
    fn abort(&self);

    /// How long `close` waits for the peer to have everything (SO_LINGER); None: not at all, zero: it resets.
    fn linger(&self) -> Option<Duration> {
        None
    }

    /// Whether the peer has acknowledged everything that was sent.
    fn is_acknowledged(&self) -> bool {
        true
    }

    /// Takes what a peer says to a closed connection, and drops it: one that is not heard stops listening. Whether more
    /// may come.
    fn drop_unread(&self) -> bool {
        false
    }

    /// Bytes that would be lost if the process ended now: sent, but not acknowledged, by a socket that holds something
    /// unread, which the kernel resets.
    fn at_risk(&self) -> usize {
        0
    }

    /// The end of the descriptor must not wait any more.
    fn clear_linger(&self) {}

    /// A number that is the same for all of a connection and differs between connections; None: there is no peer yet.
    fn flow_hash(&self) -> Option<usize> {
        None
    }

    /// Local and foreign address, for tools.
    fn endpoints(&self) -> String;
}
