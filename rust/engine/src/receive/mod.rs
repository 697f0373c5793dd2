//! The receive half of one connection: who may take bytes off the socket, what is kept, who opens records.
//!
//! A [`RecvStream`] gives raw bytes until it has keys, then plaintext (`stream.rs`). Each call takes what lies ready,
//! never waiting, and opens what fits straight into the caller's buffer (`open.rs`). What is kept between calls is in
//! `state.rs`: the beginning of a record (`partial.rs`), and plaintext that found no place (`kept.rs`). An idle
//! connection keeps nothing.
//!
//! | step | holds | may be interrupted |
//! |---|---|---|
//! | take bytes off the socket, open records | the state | no |
//! | wait for the socket | the turn of waiting readers (`turn.rs`) | yes |
//! | run signal handlers | the turn, which the thread's own handlers may enter | yes |
//!
//! It knows nothing of the send half. `raw.rs` reads for a TLS library that opens records itself.

mod advance;
mod at_once;
mod guess;
mod kept;
mod open;
mod opening;
mod output;
mod partial;
mod peer_control;
mod raw;
mod read_keys;
mod readiness;
mod scratch;
mod state;
mod stream;
mod turn;

pub use self::peer_control::PeerControl;
pub use self::raw::receive;
pub use self::read_keys::NewReadKeys;
pub use self::stream::{Message, RecvFlags, RecvStream};
