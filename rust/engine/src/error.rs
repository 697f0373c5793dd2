//! What can go wrong in the engine: an enum of causes. One place turns a cause into an errno and a sentence.
//!
//! The engine asks what happened, never for a number: ETIMEDOUT of a connection is not the end of a call's own time.

use std::sync::Arc;

use rustix::io::Errno;

/// Why a call failed. Bytes that the failed call had accepted stay accepted: they are sent if the connection lives,
/// and must not be offered again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The call may not wait, and there is no space.
    WouldBlock,
    /// The call may not wait, and nothing was received.
    NothingReceived,
    /// The call's own time is over.
    DeadlinePassed {
        /// What was called.
        call: &'static str,
        /// What it had accepted by then, where the call cannot return that.
        accepted: Option<u64>,
    },
    /// A signal handler raised.
    Interrupted,
    /// This program has closed the socket.
    Closed,
    /// This program has shut the write side down.
    ShutDown,
    /// This program has said close_notify, or an error alert was sent: no data may follow.
    DataEnded,
    /// There is no peer, and none is being connected.
    NotConnected,
    /// The connection belongs to the process of this number; this one is a fork of it.
    Forked(u32),
    /// This program has reset the connection.
    Aborted,
    /// The connection has failed before, for this cause, which was raised then.
    Failed(Arc<Self>),
    /// The transport ended the connection.
    Connection {
        /// What it says.
        errno: Errno,
        /// What was tried.
        during: &'static str,
    },
    /// A closed connection made no progress for so many seconds, and was reset.
    LingerPassed(usize),
    /// The interpreter ended before everything was sent.
    ExitPassed(usize),
    /// The key has sealed as many records as it may.
    KeyUsedUp {
        /// That many.
        records: u64,
        /// Its algorithm.
        algorithm: ktls_record::Algorithm,
        /// Whether the version has a key update.
        renewable: bool,
    },
    /// No number is left for another record.
    NumbersUsedUp(u64),
    /// The key has sealed on this connection before.
    KeyReused,
    /// There is no key yet.
    NoKey,
    /// The traffic secret of the key in use is not known.
    NoSecret,
    /// The next key could not be made.
    NoNextKey(Box<str>),
    /// A record that came did not open, and is lost; those behind it are opened.
    RecordLost {
        /// EBADMSG, or EMSGSIZE for one that is too short.
        errno: Errno,
        /// What is wrong with it.
        cause: ktls_record::Error,
    },
    /// What came cannot be a record; the connection was reset.
    NotARecord {
        /// EINVAL, or EMSGSIZE for an impossible length.
        errno: Errno,
        /// What is wrong with it.
        cause: ktls_record::Error,
    },
    /// The stream ended in the middle of a record.
    Truncated,
    /// The stream ended and the peer has not said close_notify (RFC 8446 §6.1).
    NoCloseNotify,
    /// Data came while the close_notify of the peer was waited for.
    DataBeforeCloseNotify,
    /// The peer ended the connection with this alert.
    PeerAlert(u8),
    /// The peer sent what it must not send; it was told so with this alert, and the connection is over.
    Refused {
        /// The description of the alert.
        alert: u8,
        /// What the peer did.
        reason: Box<str>,
    },
    /// A handshake message came for the library that made the handshake: it is to be taken first.
    MessageWaits,
    /// The next record is of this content type, and the call has no way to say so.
    NotData(u8),
    /// The peer has changed its keys, and the next ones were not given.
    ReadKeyExpired,
    /// There are keys to open with already.
    ReadKeyInstalled,
    /// A record is held open.
    RecordOpen,
    /// A message that must go as one is longer than the send buffer.
    MessageTooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes that fit.
        space: usize,
    },
    /// Accepted bytes have not been sent yet.
    Unsent(usize),
    /// The file is not one that the engine reads by itself.
    NotRegular,
    /// A file could not be read; the connection lives if this came before its first byte.
    File {
        /// What the system says.
        errno: Errno,
        /// Where.
        offset: u64,
    },
    /// A file ended before the bytes that the peer was promised.
    FileShrank {
        /// Where it ended.
        at: u64,
        /// How far it was to be sent.
        wanted: u64,
    },
    /// A record could not be sealed.
    Seal(Box<str>),
    /// A backend failed to open records; the connection was reset.
    Open(Box<str>),
    /// A fault of this library.
    Internal(&'static str),
    /// The system gives no thread or descriptor.
    Resource {
        /// What it says.
        errno: Errno,
        /// What was wanted.
        wanted: &'static str,
    },
}

/// The result of everything that may fail here.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// The raw number, for `OSError`. The end of a call's own time has ETIMEDOUT, too: ask [`Error::is_timed_out`].
    #[must_use]
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::WouldBlock | Self::NothingReceived | Self::MessageWaits => Errno::WOULDBLOCK,
            Self::DeadlinePassed { .. } | Self::LingerPassed(_) | Self::ExitPassed(_) => {
                Errno::TIMEDOUT
            }
            Self::Interrupted => Errno::INTR,
            Self::Closed => Errno::BADF,
            Self::ShutDown | Self::DataEnded | Self::Failed(_) => Errno::PIPE,
            Self::NotConnected | Self::NoKey => Errno::NOTCONN,
            Self::Forked(_) => Errno::PERM,
            Self::Aborted => Errno::CONNABORTED,
            Self::Connection { errno, .. }
            | Self::File { errno, .. }
            | Self::Resource { errno, .. } => *errno,
            Self::RecordLost { errno, .. } | Self::NotARecord { errno, .. } => *errno,
            Self::Truncated => Errno::MSGSIZE,
            Self::NotData(_) => Errno::IO,
            Self::NoCloseNotify
            | Self::DataBeforeCloseNotify
            | Self::PeerAlert(_)
            | Self::Refused { .. } => Errno::PROTO,
            Self::ReadKeyInstalled => Errno::ALREADY,
            Self::KeyUsedUp { .. } | Self::ReadKeyExpired => Errno::KEYEXPIRED,
            Self::NumbersUsedUp(_) => Errno::BADMSG,
            Self::KeyReused | Self::NoSecret | Self::NotRegular => Errno::INVAL,
            Self::RecordOpen | Self::Unsent(_) => Errno::BUSY,
            Self::MessageTooLong { .. } => Errno::MSGSIZE,
            Self::NoNextKey(_)
            | Self::FileShrank { .. }
            | Self::Seal(_)
            | Self::Open(_)
            | Self::Internal(_) => Errno::IO,
        };
        errno.raw_os_error()
    }

    /// Whether the call's own time is over.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        matches!(self, Self::DeadlinePassed { .. })
    }

    /// The end of the call's own time, after so many bytes were accepted; any other error as it is.
    #[must_use]
    pub fn after(self, bytes: u64) -> Self {
        match self {
            Self::DeadlinePassed { call, .. } => Self::DeadlinePassed {
                call,
                accepted: Some(bytes),
            },
            other => other,
        }
    }

    /// Whether the transport has ended by itself: what the peer said before can still be received, and a reset would
    /// drop that.
    #[must_use]
    pub(crate) fn has_ended_transport(&self) -> bool {
        const ENDS: [Errno; 5] = [
            Errno::PIPE,
            Errno::CONNRESET,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
        ];
        matches!(self, Self::Connection { errno, .. } if ENDS.contains(errno))
    }

    /// Whether this error only says "not now".
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::WouldBlock | Self::NothingReceived)
    }

    /// Whether the call says what was accepted before: the connection goes on, or the next call says so again.
    #[must_use]
    pub fn may_follow_a_part(&self) -> bool {
        self.leaves_connection() || matches!(self, Self::KeyUsedUp { .. })
    }

    /// Whether the call ended and the connection goes on: a part of a write may have been accepted.
    #[must_use]
    pub fn leaves_connection(&self) -> bool {
        matches!(
            self,
            Self::WouldBlock
                | Self::NothingReceived
                | Self::DeadlinePassed { .. }
                | Self::Interrupted
        )
    }
}

impl core::error::Error for Error {}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::WouldBlock => {
                f.write_str("the send buffer is full; wait until the socket is writable")
            }
            Self::NothingReceived => {
                f.write_str("nothing was received yet; wait until the socket is readable")
            }
            Self::DeadlinePassed { call, accepted } => {
                // As `ssl` says it.
                write!(f, "The {call} operation timed out")?;
                accepted.map_or(Ok(()), |count| {
                    write!(f, "; {count} bytes were accepted, and are not to be offered again")
                })
            }
            Self::Interrupted => f.write_str("interrupted by a signal handler"),
            Self::Closed => f.write_str("the socket is closed"),
            Self::ShutDown => {
                f.write_str("the write side was shut down; nothing more can be sent")
            }
            Self::DataEnded => {
                f.write_str("TLS was ended with close_notify or an alert; no data may follow")
            }
            Self::NotConnected => {
                f.write_str("the socket is not connected; connect it, or send with sendto")
            }
            Self::Forked(pid) => write!(
                f,
                "this connection belongs to process {pid}, which was forked; a child that went on would use the same \
                 keys and sequence numbers again: open a connection of its own; a server that forks for each connection \
                 wraps its listening socket with do_handshake_on_connect=False, and the child makes the handshake"
            ),
            Self::Aborted => f.write_str("the connection was aborted by this program"),
            Self::Failed(cause) => write!(f, "the connection has failed already: {cause}"),
            Self::Connection { errno, during } => write!(f, "{during}: {}", words(*errno)),
            Self::LingerPassed(seconds) => write!(
                f,
                "the closed connection made no progress for {seconds} s and was reset (kern.ipc.tls.linger_timeout)"
            ),
            Self::ExitPassed(unsent) => write!(
                f,
                "{unsent} accepted bytes could not be sent while the interpreter ends (kern.ipc.tls.close_timeout)"
            ),
            Self::KeyUsedUp {
                records,
                algorithm,
                renewable,
            } => {
                let remedy = if *renewable {
                    "rekey with the next traffic secret, or open a new connection"
                } else {
                    "there is no key update before TLS 1.3: open a new connection"
                };
                write!(
                    f,
                    "{records} records were sealed with one {algorithm} key, as many as it may seal \
                     (kern.ipc.tls.records_per_key, RFC 8446 5.5); {remedy}"
                )
            }
            Self::NumbersUsedUp(sequence) => write!(
                f,
                "sequence number {sequence} leaves no room for more records; rekey or open a new connection"
            ),
            Self::KeyReused => f.write_str(
                "this key was used on this connection before, and a key seals a number once; give the next one",
            ),
            Self::NoKey => f.write_str("there is no key to be changed; install one first"),
            Self::NoSecret => f.write_str(
                "the traffic secret of this connection is not known here; rekey with the next one",
            ),
            Self::NoNextKey(why) => write!(f, "the next key could not be made: {why}"),
            Self::RecordLost { cause, .. } => write!(
                f,
                "a record of the peer was lost: {cause}; those behind it are opened"
            ),
            Self::NotARecord { cause, .. } => write!(
                f,
                "the peer sent what cannot be a record of this session: {cause}; the connection was reset"
            ),
            Self::Truncated => f.write_str("the peer ended the stream in the middle of a record"),
            Self::NoCloseNotify => {
                f.write_str("the peer ended the stream without close_notify")
            }
            Self::DataBeforeCloseNotify => f.write_str(
                "the peer still sends data; receive it, then end TLS",
            ),
            Self::PeerAlert(description) => {
                write!(f, "the peer ended the connection with alert {description}")
            }
            Self::Refused { alert, reason } => {
                write!(f, "{reason}; it was answered with alert {alert}, and the connection is over")
            }
            Self::MessageWaits => {
                f.write_str("a handshake message waits for the library that made the handshake")
            }
            Self::NotData(content_type) => write!(
                f,
                "the next record has content type {content_type}, not application data; receive it with recvmsg and \
                 room for a control message"
            ),
            Self::ReadKeyExpired => f.write_str(
                "the peer has changed its keys (KeyUpdate); give the next ones with rekey_rx",
            ),
            Self::ReadKeyInstalled => {
                f.write_str("the socket has a session to receive already; it stays")
            }
            Self::RecordOpen => {
                f.write_str("a record is held open (MSG_MORE); close it with a flush before")
            }
            Self::MessageTooLong { len, space } => write!(
                f,
                "{len} bytes must go as one, but kern.ipc.tls.sendspace is {space}; send less or raise it"
            ),
            Self::Unsent(held) => write!(
                f,
                "{held} bytes are still held; flush them before the socket is let go"
            ),
            Self::NotRegular => {
                f.write_str("not a regular file; read it and send what was read")
            }
            Self::File { errno, offset } => write!(
                f,
                "cannot read the file at offset {offset}: {}",
                words(*errno)
            ),
            Self::FileShrank { at, wanted } => write!(
                f,
                "the file ended at offset {at} while bytes up to {wanted} were accepted for sending: it shrank \
                 meanwhile; the connection was reset, because the peer was promised them"
            ),
            Self::Seal(why) => write!(
                f,
                "a record could not be sealed ({why}); the connection was reset"
            ),
            Self::Open(why) => write!(
                f,
                "a record could not be opened ({why}); the connection was reset"
            ),
            Self::Internal(what) => write!(
                f,
                "an internal error of ktls ({what}); the connection was reset"
            ),
            Self::Resource { errno, wanted } => {
                let remedy = match *errno {
                    Errno::MFILE => "; raise the limit of open files (ulimit -n)",
                    Errno::NFILE => "; the system has too many open files",
                    _ => "",
                };
                write!(f, "cannot make {wanted}: {}{remedy}", words(*errno))
            }
        }
    }
}

/// What the system says to an errno, without its number, which an `OSError` shows by itself.
#[must_use]
pub fn words(errno: Errno) -> String {
    let number = errno.raw_os_error();
    let mut words = std::io::Error::from_raw_os_error(number).to_string();
    if let Some(at) = words.rfind(&format!(" (os error {number})")) {
        words.truncate(at);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Errno, Error};

    fn deadline_passed() -> Error {
        Error::DeadlinePassed {
            call: "sendall",
            accepted: None,
        }
    }

    #[test]
    fn the_end_of_a_calls_time_names_the_call_and_what_it_accepted() {
        let error = deadline_passed();
        assert!(error.is_timed_out());
        assert_eq!(error.to_string(), "The sendall operation timed out");
        assert_eq!(
            error.after(70_000).to_string(),
            "The sendall operation timed out; 70000 bytes were accepted, and are not to be offered again"
        );
        assert!(matches!(Error::Closed.after(7), Error::Closed));
    }

    #[test]
    fn the_words_of_the_system_come_without_their_number() {
        let (errno, during) = (Errno::CONNRESET, "sending failed");
        let error = Error::Connection { errno, during };
        assert_eq!(
            error.to_string(),
            "sending failed: Connection reset by peer"
        );
    }
}
