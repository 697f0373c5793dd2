//! The TLS record layer, without the rest of TLS.
//!
//! Given the keys of one direction it seals payload into records and opens records again, for TLS 1.0 to 1.3;
//! given the secrets of a handshake that somebody else made it derives those keys. It does no I/O, reads no clock,
//! keeps no state between records (but for the chained IVs of TLS 1.0) and makes no handshake: the caller counts the
//! records. What a peer says about the connection after the handshake, [`control`] understands.
//!
//! ```
//! use ktls_record::{Algorithm, Frame, Keys, Suite, Version, provider};
//!
//! # fn main() -> Result<(), ktls_record::Error> {
//! let suite = Suite::new(Version::Tls13, Algorithm::Aes128Gcm)?;
//! let keys = Keys::new(suite, &[1; 16], &[2; 12])?;
//! let payload = b"hello";
//!
//! let frame = Frame { content_type: 23, sequence: 0, payload_len: payload.len(), padding_len: 0 };
//! let mut record = vec![0; suite.record_size(payload.len())];
//! provider::sealer("ring", &keys, 0)?.seal_from(frame, payload, &mut record)?;
//!
//! let opened = provider::opener("ring", &keys)?.open_in_place(0, &mut record)?;
//! assert_eq!(opened.payload, payload);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod alert;
mod cipher;
pub mod content_type;
pub mod control;
mod error;
pub mod external;
mod frame;
pub mod handover;
pub mod handshake;
pub mod keylog;
mod keys;
mod nonce;
pub mod provider;
pub mod schedule;
mod suite;
mod wipe;

pub use cipher::{Open, Opened, Seal};
pub use error::Error;
pub use frame::{Frame, HEADER_LEN, MAX_FRAME_LEN, RecordHeader};
pub use keys::Keys;
pub use nonce::explicit_nonce;
pub use suite::{Algorithm, Mac, MacOrder, Suite, Version};
