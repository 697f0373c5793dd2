//! A provider's AEAD that this crate does not know: keyed somewhere else, called through a trait object.
//!
//! It sees nonces, additional data and text; headers, explicit nonces, inner types and padding are placed here, so that
//! whatever it does to the bytes it is given, a record has the form and the length that it must have.

use std::sync::Arc;

use crate::cipher::aead::{content, read_header, write_header, write_inner};
use crate::cipher::{Open, Opened, Seal, room, wiped_on_error};
use crate::error::Error;
use crate::frame::{Aad, Frame, RecordHeader};
use crate::keys::Keys;
use crate::nonce::Nonces;
use crate::suite::{NONCE_LEN, Suite, TAG_LEN};
use crate::wipe;

/// One record in the hands of an [`ExternalAead`].
pub struct AeadRecord<'r> {
    sequence: u64,
    content_type: u8,
    nonce: [u8; NONCE_LEN],
    aad: Aad,
    payload_len: usize,
    header_size: usize,
    record: &'r mut [u8],
    is_refused: bool,
}

impl AeadRecord<'_> {
    /// Its number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The content type; of a record that is to be opened, the one in its header.
    #[must_use]
    pub const fn content_type(&self) -> u8 {
        self.content_type
    }

    /// The nonce.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; NONCE_LEN] {
        &self.nonce
    }

    /// What is authenticated beside the text.
    #[must_use]
    pub fn aad(&self) -> &[u8] {
        self.aad.as_ref()
    }

    /// Bytes before the payload: header and explicit nonce.
    #[must_use]
    pub const fn header_size(&self) -> usize {
        self.header_size
    }

    /// Payload bytes; of a record that is to be opened in TLS 1.3 with its inner type and padding.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// The whole record: header, text, tag.
    #[must_use]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.record
    }

    /// The nonce, the additional data, the text that is encrypted or decrypted where it is, and the tag.
    #[must_use]
    pub fn parts(&mut self) -> (&[u8; NONCE_LEN], &[u8], &mut [u8], &mut [u8]) {
        let text_end = self.record.len() - TAG_LEN;
        let (before, tag) = self.record.split_at_mut(text_end);
        (
            &self.nonce,
            self.aad.as_ref(),
            &mut before[self.header_size..],
            tag,
        )
    }

    /// It does not authenticate.
    pub fn refuse(&mut self) {
        self.is_refused = true;
    }
}

/// A key in the hands of a provider.
pub trait ExternalAead: Send + Sync {
    /// Encrypt the text of every record where it is, and write the tag.
    ///
    /// # Errors
    /// [`Error::Backend`]: nothing of the batch is used.
    fn seal(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error>;

    /// Verify and decrypt the text of every record where it is; one that does not authenticate is
    /// [refused](AeadRecord::refuse).
    ///
    /// # Errors
    /// [`Error::Backend`]: nothing of the batch is used.
    fn open(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error>;

    /// Whether a call may wait for others, so that the caller must hold no lock.
    fn may_wait(&self) -> bool {
        false
    }
}

/// Records of an AEAD suite that `aead`, which has the key, seals; as [`Provider::sealer`](crate::provider::Provider::sealer).
///
/// # Errors
/// [`Error::NotAead`] for a suite with a MAC.
pub fn sealer(
    keys: &Keys,
    explicit_base: u64,
    aead: Box<dyn ExternalAead>,
) -> Result<Box<dyn Seal>, Error> {
    Ok(Box::new(ExternalSealer {
        suite: aead_suite(keys)?,
        nonces: Nonces::new(keys),
        explicit_base,
        aead,
    }))
}

/// Records of an AEAD suite that `aead`, which has the key, opens.
///
/// # Errors
/// [`Error::NotAead`] for a suite with a MAC.
pub fn opener(keys: &Keys, aead: Box<dyn ExternalAead>) -> Result<Arc<dyn Open>, Error> {
    Ok(Arc::new(ExternalOpener {
        suite: aead_suite(keys)?,
        nonces: Nonces::new(keys),
        aead,
    }))
}

fn aead_suite(keys: &Keys) -> Result<Suite, Error> {
    match keys.suite().mac() {
        None => Ok(keys.suite()),
        Some(_) => Err(Error::NotAead {
            algorithm: keys.suite().algorithm(),
        }),
    }
}

struct ExternalSealer {
    suite: Suite,
    nonces: Nonces,
    explicit_base: u64,
    aead: Box<dyn ExternalAead>,
}

impl ExternalSealer {
    /// Writes all but what the AEAD does.
    fn begin<'r>(&self, frame: Frame, record: &'r mut [u8]) -> Result<AeadRecord<'r>, Error> {
        frame.check(self.suite, record.len())?;
        let header_size = self.suite.header_size();
        let explicit = self.explicit_base.wrapping_add(frame.sequence);
        let aad = write_header(self.suite, frame, explicit, &mut record[..header_size]);
        let inner = header_size + frame.payload_len;
        let text_end = record.len() - TAG_LEN;
        write_inner(frame, &mut record[inner..text_end]);
        record[text_end..].fill(0);
        Ok(AeadRecord {
            sequence: frame.sequence,
            content_type: frame.content_type,
            nonce: self.nonces.nonce(frame.sequence, explicit),
            aad,
            payload_len: frame.payload_len,
            header_size,
            record,
            is_refused: false,
        })
    }
}

impl Seal for ExternalSealer {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error> {
        let mut begun = self.begin(frame, record)?;
        let sealed = self.aead.seal(core::slice::from_mut(&mut begun));
        wipe::after_record();
        wiped_on_error(sealed, record)
    }

    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error> {
        frame.check_payload(payload)?;
        frame.check(self.suite, record.len())?;
        record[self.suite.header_size()..][..payload.len()].copy_from_slice(payload);
        self.seal_in_place(frame, record)
    }

    fn seal_batch(&self, batch: &mut [(Frame, &mut [u8])]) -> Result<(), Error> {
        let sealed = batch
            .iter_mut()
            .map(|(frame, record)| self.begin(*frame, record))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|mut begun| self.aead.seal(&mut begun));
        if sealed.is_err() {
            for (_, record) in batch {
                record.fill(0);
            }
        }
        sealed
    }

    fn may_wait(&self) -> bool {
        self.aead.may_wait()
    }
}

struct ExternalOpener {
    suite: Suite,
    nonces: Nonces,
    aead: Box<dyn ExternalAead>,
}

impl ExternalOpener {
    fn begin<'r>(
        &self,
        sequence: u64,
        record: &'r mut [u8],
    ) -> Result<(RecordHeader, AeadRecord<'r>), Error> {
        let (header, nonce, aad) = read_header(self.suite, &self.nonces, sequence, record)?;
        let begun = AeadRecord {
            sequence,
            content_type: header.outer_type(),
            nonce,
            aad,
            payload_len: header.text_len(),
            header_size: self.suite.header_size(),
            record,
            is_refused: false,
        };
        Ok((header, begun))
    }

    /// What an AEAD has made of a record.
    fn finish<'r>(
        &self,
        header: RecordHeader,
        begun: AeadRecord<'r>,
        opened: Result<(), Error>,
    ) -> Result<Opened<'r>, Error> {
        let is_refused = begun.is_refused;
        let rest = &mut begun.record[begun.header_size..];
        let checked = match opened {
            Ok(()) if is_refused => Err(Error::BadRecord),
            other => other,
        };
        wiped_on_error(checked, rest)?;
        content(self.suite, header, &mut rest[..header.text_len()])
    }
}

impl Open for ExternalOpener {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn open_in_place<'r>(&self, sequence: u64, record: &'r mut [u8]) -> Result<Opened<'r>, Error> {
        let (header, mut begun) = self.begin(sequence, record)?;
        let opened = self.aead.open(core::slice::from_mut(&mut begun));
        wipe::after_record();
        self.finish(header, begun, opened)
    }

    fn open_into<'o>(
        &self,
        sequence: u64,
        record: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<'o>, Error> {
        let header = RecordHeader::of_record(self.suite, record)?;
        let out = room(out, header.text_len())?;
        let mut copy = record.to_vec();
        let opened = self.open_in_place(sequence, &mut copy).map(|opened| {
            let len = opened.payload.len();
            out[..len].copy_from_slice(opened.payload);
            opened.payload.fill(0);
            (opened.content_type, len)
        });
        match opened {
            Ok((content_type, len)) => {
                let (payload, rest) = out.split_at_mut(len);
                rest.fill(0);
                Ok(Opened {
                    content_type,
                    payload,
                })
            }
            Err(error) => wiped_on_error(Err(error), out),
        }
    }

    fn open_batch<'r>(&self, batch: Vec<(u64, &'r mut [u8])>) -> Vec<Result<Opened<'r>, Error>> {
        let begun: Vec<_> = batch
            .into_iter()
            .map(|(sequence, record)| self.begin(sequence, record))
            .collect();
        // What cannot be a record ends the batch.
        let mut failure = None;
        let mut headers = Vec::with_capacity(begun.len());
        let mut records = Vec::with_capacity(begun.len());
        for begun in begun {
            match begun {
                Ok((header, record)) => {
                    headers.push(header);
                    records.push(record);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let opened = self.aead.open(&mut records);
        headers
            .into_iter()
            .zip(records)
            .map(|(header, record)| self.finish(header, record, opened.clone()))
            .chain(failure.map(Err))
            .collect()
    }

    fn may_wait(&self) -> bool {
        self.aead.may_wait()
    }

    fn clone_state(self: Arc<Self>) -> Arc<dyn Open> {
        self
    }
}
