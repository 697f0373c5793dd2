//! What can go wrong on the send path: always an errno, and a sentence that names the value and the remedy.

use rustix::io::Errno;

/// An errno with its explanation. `accepted` bytes of the failed call stay accepted: they are sent if the
/// connection lives, and must not be offered again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    errno: Errno,
    message: String,
}

/// The result of everything that may fail here.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error of this number and explanation.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self {
            errno,
            message: message.into(),
        }
    }

    /// The number alone, explained by the operating system's words.
    #[must_use]
    pub fn from_errno(errno: Errno, during: &str) -> Self {
        let words = std::io::Error::from_raw_os_error(errno.raw_os_error());
        Self {
            errno,
            message: format!("{during}: {words}"),
        }
    }

    /// The raw number, for `OSError`.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno.raw_os_error()
    }

    /// Whether this error only says "not now".
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        self.errno == Errno::WOULDBLOCK
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        self.errno == Errno::TIMEDOUT
    }

    /// Whether the caller's `interrupted` stopped a wait.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.errno == Errno::INTR
    }

    /// Whether a key has sealed as much as it may.
    #[must_use]
    pub fn is_key_expired(&self) -> bool {
        self.errno == Errno::KEYEXPIRED
    }

    pub(crate) fn would_block() -> Self {
        Self::new(
            Errno::WOULDBLOCK,
            "the send buffer is full; wait until the socket is writable",
        )
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(Errno::TIMEDOUT, "timed out")
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Errno::INTR, "interrupted by a signal handler")
    }

    pub(crate) fn closed() -> Self {
        Self::new(Errno::BADF, "the socket is closed")
    }

    pub(crate) fn shut_down() -> Self {
        Self::new(
            Errno::PIPE,
            "the write side was shut down; nothing more can be sent",
        )
    }
}
