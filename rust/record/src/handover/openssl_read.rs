//! OpenSSL's read state after the hand-over (RFC 5246 §6.1): seals messages again under the keys that it believes in.
//!
//! After the switch OpenSSL sees nothing of the stream. What only it understands (tickets, post-handshake
//! authentication) is given to it as if the peer had sent nothing else. Such a record never reaches a wire, and no
//! record of the peer under these keys and numbers reaches OpenSSL.

use core::fmt;

use super::DirectionKeys;
use super::content_type::HANDSHAKE;
use crate::cipher::Seal;
use crate::error::Error;
use crate::frame::{Frame, MAX_FRAME_LEN};
use crate::provider;

/// Any provider does: few records are sealed here.
const PROVIDER: &str = "ring";

/// The keys and the record number with which OpenSSL believes that the peer writes.
pub struct OpensslReadState {
    seal: Box<dyn Seal>,
    sequence: u64,
}

impl OpensslReadState {
    /// `read` are the keys of the peer at the hand-over.
    ///
    /// # Errors
    /// When the provider does not know the suite.
    pub fn new(read: &DirectionKeys) -> Result<Self, Error> {
        Ok(Self {
            seal: provider::sealer(PROVIDER, &read.keys, 0)?,
            sequence: read.sequence,
        })
    }

    /// Records that hold this handshake message, header included.
    ///
    /// # Errors
    /// When the provider refuses.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut records = Vec::new();
        for payload in message.chunks(MAX_FRAME_LEN) {
            let frame = Frame {
                content_type: HANDSHAKE,
                sequence: self.sequence,
                payload_len: payload.len(),
                padding_len: 0,
            };
            let start = records.len();
            records.resize(start + frame.record_size(self.seal.suite()), 0);
            self.seal.seal_from(frame, payload, &mut records[start..])?;
            self.sequence += 1;
        }
        Ok(records)
    }
}

impl fmt::Debug for OpensslReadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslReadState")
            .field("suite", &self.seal.suite())
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::OpensslReadState;
    use crate::handover::DirectionKeys;
    use crate::suite::{Algorithm, Suite, Version};
    use crate::{Error, HEADER_LEN, Keys, content_type, provider};

    #[test]
    fn a_message_comes_in_records_that_the_keys_of_the_peer_open() -> Result<(), Error> {
        let suite = Suite::new(Version::Tls13, Algorithm::Aes128Gcm)?;
        let keys = Keys::new(suite, &[1; 16], &[2; 12])?;
        let direction = DirectionKeys {
            keys: keys.clone(),
            sequence: 7,
            explicit_nonce: None,
            secret: None,
        };
        let mut state = OpensslReadState::new(&direction)?;
        let message: Vec<u8> = (0..20000u32).map(|i| i.to_le_bytes()[0]).collect();
        let opener = provider::opener("ring", &keys)?;
        let mut sequence = 7;
        for _ in 0..2 {
            let records = state.seal(&message)?;
            let mut payload = Vec::new();
            let mut rest = &records[..];
            while let &[_, _, _, high, low, ..] = rest {
                let size = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
                let (record, after) = rest.split_at(size);
                let mut record = record.to_vec();
                let opened = opener.open_in_place(sequence, &mut record)?;
                assert_eq!(opened.content_type, content_type::HANDSHAKE);
                payload.extend_from_slice(opened.payload);
                sequence += 1;
                rest = after;
            }
            assert_eq!(payload, message);
        }
        assert_eq!(sequence, 11);
        Ok(())
    }
}
