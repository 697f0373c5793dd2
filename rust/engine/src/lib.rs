//! Both halves of a TLS connection: plaintext in, records in order out; records in, plaintext out.
//!
//! A [`SendStream`] is the send half of one connection (`send/`). A write fixes the frames and appends them to the send
//! buffer by reference; a thread that has time claims a batch of them, brings the payload into a seal buffer and seals
//! it, and a thread that comes to the ready head sends it to the transport (`transport/`). The caller's own thread does
//! both by default; the pool (`pool/`) when a backlog pays for waking it, when the caller must not be held up, or when
//! the socket was full. Thresholds are `tunables.rs`, set from above.
//!
//! A [`RecvStream`] is the receive half (`receive/`): it takes records off the same transport in the caller's thread and
//! opens them into the caller's buffer.
//!
//! It is not: TLS itself (that is `ktls-record`), policy, or anything that knows Python.

mod backend;
mod counters;
mod deadline;
mod error;
mod fork_lock;
mod ledger;
mod poll_fd;
mod poll_peers;
mod pool;
mod receive;
mod replies;
mod send;
#[expect(
    unsafe_code,
    reason = "system calls that have no safe form; each block has its SAFETY note"
)]
mod sys;
mod times;
mod traffic;
mod transport;
mod tunables;
mod turn;

pub use backend::{Backend, RecordCounts};
pub use counters::snapshot as counters;
pub use deadline::Deadline;
pub use error::{Error, Result, words};
pub use fork_lock::{OwnerProcess, fork_count, watch_forks};
pub use poll_fd::{KeptPollFd, ReadReadiness};
pub use pool::{Binding, Completion, Outcome, Pool, Unsent};
pub use receive::{Message, NewReadKeys, PeerControl, RecvFlags, RecvStream, receive};
pub use replies::Replies;
pub use send::{
    Accepted, AfterMessage, Data, KeyUpdate, NewWriteState, RecordSplit, SendStream, SharedBytes,
    UpdateSecret, WriteFlags,
};
pub use sys::{discard, duplicate, memory_file, take_byte};
pub use times::{Times, snapshot as times};
pub use traffic::Traffic;
pub use transport::{TcpTransport, Transport};
pub use tunables::{SetError, Tunable, all as tunables, set as set_tunable};
pub use turn::Turn;
