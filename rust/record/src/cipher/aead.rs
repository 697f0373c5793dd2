//! Records of the AEAD suites: TLS 1.2 (RFC 5246 §6.2.3.3, RFC 5288, RFC 7905) and TLS 1.3 (RFC 8446 §5.2).
//!
//! Places header, explicit nonce, inner type and tag around the payload. The cipher itself is a provider's
//! [`Aead`], a type parameter: nothing is allocated or dispatched inside a record.

use std::sync::Arc;

use crate::cipher::{Open, Opened, Seal, room, wiped_on_error};
use crate::error::Error;
use crate::frame::{Aad, Frame, HEADER_LEN, MAX_FRAME_LEN, RecordHeader, check_sequence};
use crate::keys::Keys;
use crate::nonce::{Nonces, explicit_nonce};
use crate::suite::{Algorithm, NONCE_LEN, NonceForm, Suite, TAG_LEN, Version};
use crate::wipe;

/// A keyed AEAD of a provider. Implementations see no TLS, only nonce, additional data and text.
pub(crate) trait Aead: Sized + Send + Sync {
    /// Take a key of the algorithm's length.
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error>;

    /// Encrypt `text` in place and write the tag, of [`TAG_LEN`] bytes.
    fn seal_in_place(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Error>;

    /// Encrypt `payload` followed by `inner_type` (at most one byte) into `out`, which ends with the tag.
    fn seal_from(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        payload: &[u8],
        inner_type: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error>;

    /// Verify and decrypt `text_and_tag` in place. On an error its contents are unspecified.
    fn open_in_place(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text_and_tag: &mut [u8],
    ) -> Result<(), Error>;

    /// Verify and decrypt `text` into `out`, which is as long. On an error the contents of `out` are unspecified.
    fn open_from(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Error>;
}

/// A write key of an AEAD suite.
pub(crate) struct AeadSealer<C> {
    suite: Suite,
    cipher: C,
    nonces: Nonces,
    /// The explicit nonce of sequence number 0.
    explicit_base: u64,
}

impl<C: Aead> AeadSealer<C> {
    pub(crate) fn new(keys: &Keys, explicit_base: u64) -> Result<Self, Error> {
        let cipher = C::new(keys.suite().algorithm(), keys.key())?;
        Ok(Self {
            suite: keys.suite(),
            cipher,
            nonces: Nonces::new(keys),
            explicit_base,
        })
    }

    /// Write the header and explicit nonce; returns what the cipher needs and the part it works on.
    fn begin<'r>(
        &self,
        frame: Frame,
        record: &'r mut [u8],
    ) -> Result<([u8; NONCE_LEN], Aad, &'r mut [u8]), Error> {
        frame.check(self.suite, record.len())?;
        let explicit = self.explicit_base.wrapping_add(frame.sequence);
        let (before, rest) = record.split_at_mut(self.suite.header_size());
        let aad = write_header(self.suite, frame, explicit, before);
        Ok((self.nonces.nonce(frame.sequence, explicit), aad, rest))
    }
}

impl<C: Aead> Seal for AeadSealer<C> {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error> {
        let (nonce, aad, rest) = self.begin(frame, record)?;
        let text_len = frame.payload_len + self.suite.inner_type_len() + frame.padding_len;
        let (text, tag) = rest.split_at_mut(text_len);
        write_inner(frame, &mut text[frame.payload_len..]);
        let sealed = self.cipher.seal_in_place(nonce, aad.as_ref(), text, tag);
        wipe_working_copies(self.suite);
        wiped_on_error(sealed, record)
    }

    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error> {
        frame.check_payload(payload)?;
        if frame.padding_len > 0 {
            // What follows the payload in one pass is at most a byte.
            frame.check(self.suite, record.len())?;
            record[self.suite.header_size()..][..payload.len()].copy_from_slice(payload);
            return self.seal_in_place(frame, record);
        }
        let (nonce, aad, rest) = self.begin(frame, record)?;
        let inner_type: &[u8] = match self.suite.version() {
            Version::Tls13 => &[frame.content_type],
            Version::Tls10 | Version::Tls11 | Version::Tls12 => &[],
        };
        let sealed = self
            .cipher
            .seal_from(nonce, aad.as_ref(), payload, inner_type, rest);
        wipe_working_copies(self.suite);
        wiped_on_error(sealed, record)
    }
}

/// A read key of an AEAD suite.
pub(crate) struct AeadOpener<C> {
    suite: Suite,
    cipher: C,
    nonces: Nonces,
}

impl<C: Aead> AeadOpener<C> {
    pub(crate) fn new(keys: &Keys) -> Result<Self, Error> {
        let cipher = C::new(keys.suite().algorithm(), keys.key())?;
        Ok(Self {
            suite: keys.suite(),
            cipher,
            nonces: Nonces::new(keys),
        })
    }
}

impl<C: Aead + 'static> Open for AeadOpener<C> {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn open_in_place<'r>(&self, sequence: u64, record: &'r mut [u8]) -> Result<Opened<'r>, Error> {
        let (header, nonce, aad) = read_header(self.suite, &self.nonces, sequence, record)?;
        let rest = &mut record[self.suite.header_size()..];
        let opened = self.cipher.open_in_place(nonce, aad.as_ref(), rest);
        wipe_working_copies(self.suite);
        wiped_on_error(opened, rest)?;
        content(self.suite, header, &mut rest[..header.text_len()])
    }

    fn open_into<'o>(
        &self,
        sequence: u64,
        record: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<'o>, Error> {
        let (header, nonce, aad) = read_header(self.suite, &self.nonces, sequence, record)?;
        let out = room(out, header.text_len())?;
        // The checks of the header leave no record without a tag.
        let Some((text, tag)) = record[self.suite.header_size()..].split_last_chunk() else {
            return Err(Error::BadRecord);
        };
        let opened = self.cipher.open_from(nonce, aad.as_ref(), text, tag, out);
        wipe_working_copies(self.suite);
        wiped_on_error(opened, out)?;
        content(self.suite, header, out)
    }

    fn clone_state(self: Arc<Self>) -> Arc<dyn Open> {
        self
    }
}

// Shared with `external`, and part of every record's path: a call of its own costs more than what it does.

/// Write what stands before the payload, header and explicit nonce; returns the additional data.
#[inline(always)]
pub(crate) fn write_header(suite: Suite, frame: Frame, explicit: u64, before: &mut [u8]) -> Aad {
    let header = frame.header(suite);
    before[..HEADER_LEN].copy_from_slice(&header);
    if suite.nonce_form() == NonceForm::Explicit {
        before[HEADER_LEN..].copy_from_slice(&explicit.to_be_bytes());
    }
    Aad::new(suite, frame.sequence, header, frame.payload_len)
}

/// Write what stands between payload and tag: nothing, or inner type and padding (RFC 8446 §5.4).
#[inline(always)]
pub(crate) fn write_inner(frame: Frame, between: &mut [u8]) {
    if let Some((inner_type, padding)) = between.split_first_mut() {
        *inner_type = frame.content_type;
        padding.fill(0);
    }
}

/// Check a whole record; returns its header, nonce and additional data.
#[inline(always)]
pub(crate) fn read_header(
    suite: Suite,
    nonces: &Nonces,
    sequence: u64,
    record: &[u8],
) -> Result<(RecordHeader, [u8; NONCE_LEN], Aad), Error> {
    check_sequence(sequence)?;
    let header = RecordHeader::of_record(suite, record)?;
    let explicit = explicit_nonce(suite, record).unwrap_or(0);
    let nonce = nonces.nonce(sequence, explicit);
    Ok((header, nonce, header.aad(suite, sequence)))
}

/// What the decrypted text of a record is.
#[inline(always)]
pub(crate) fn content(
    suite: Suite,
    header: RecordHeader,
    text: &mut [u8],
) -> Result<Opened<'_>, Error> {
    match suite.version() {
        Version::Tls13 => strip_inner(text),
        Version::Tls10 | Version::Tls11 | Version::Tls12 => Ok(Opened {
            content_type: header.outer_type(),
            payload: text,
        }),
    }
}

/// Separate content, inner type and zero padding (RFC 8446 §5.4).
fn strip_inner(text: &mut [u8]) -> Result<Opened<'_>, Error> {
    if text.len() > MAX_FRAME_LEN + 1 {
        let error = Error::RecordOverflow {
            actual: text.len(),
            maximum: MAX_FRAME_LEN + 1,
        };
        return wiped_on_error(Err(error), text);
    }
    let Some(end) = text.iter().rposition(|&byte| byte != 0) else {
        return Err(Error::NoContentType);
    };
    let content_type = text[end];
    Ok(Opened {
        content_type,
        payload: &mut text[..end],
    })
}

/// The key of ChaCha20 is its state, which both providers copy to the stack and leave there; that of AES stays where it
/// was expanded.
fn wipe_working_copies(suite: Suite) {
    if suite.algorithm() == Algorithm::ChaCha20Poly1305 {
        wipe::after_record();
    }
}
