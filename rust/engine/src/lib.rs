//! The asynchronous send path: plaintext in, TLS records in order out.
//!
//! A [`Stream`] is the send side of one connection. A write fixes the frames (`frames.rs`) and appends them to the
//! send buffer (`send_buffer.rs`) by reference; whoever has time claims a unit of them, brings the payload into a hot
//! buffer and seals it (`seal.rs`), and whoever comes to the ready head sends it to the transport (`output.rs`).
//! The caller's own thread does both by default; the pool (`workers.rs`) when a backlog pays for waking it, when the
//! caller must not be held up, or when the socket was full. Thresholds are `tunables.rs`, set from above.
//!
//! It is not: TLS itself (that is `ktls-record`), policy, or anything that knows Python.

mod completions;
mod counters;
mod error;
mod frames;
mod gate;
mod output;
mod pages;
mod readiness;
mod receive;
mod seal;
mod send_buffer;
mod stream;
#[expect(
    unsafe_code,
    reason = "system calls that have no safe form; each block has its SAFETY note"
)]
mod sys;
mod transmit;
mod tunables;
mod worker;
mod workers;

pub use completions::Completion;
pub use counters::snapshot as counters;
pub use error::{Error, Result};
pub use frames::Owner;
pub use gate::{after_fork_in_child, after_fork_in_parent, before_fork};
pub use output::{HostSocket, Output};
pub use receive::{ready_records_size, take_records};
pub use stream::{Data, Manner, Patience, Stream};
pub use sys::{discard, duplicate, with_descriptor};
pub use transmit::{NewKey, Renewal};
pub use tunables::{SetError, set as set_tunable};
pub use workers::Pool;
