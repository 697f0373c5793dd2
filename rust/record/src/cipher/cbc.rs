//! Records of AES-CBC with HMAC: TLS 1.0 to 1.2, MAC-then-encrypt (RFC 5246 §6.2.3.2) and encrypt-then-MAC (RFC 7366).
//!
//! Places header, IV, MAC and the least padding around the payload. Whether to split a write of TLS 1.0 against
//! predictable IVs is the caller's decision; an empty payload makes a record like any other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;

use crate::cipher::constant_time::{self, SecretLenHmac};
use crate::cipher::iv::{Block, Chain, RandomIvs};
use crate::cipher::{Open, Opened, Seal, room, wiped_on_error};
use crate::error::Error;
use crate::frame::{Aad, Frame, HEADER_LEN, MAX_FRAME_LEN, RecordHeader, check_sequence};
use crate::keys::Keys;
use crate::provider::rustcrypto::{DecryptKey, EncryptKey, RecordMac, keyed_mac, mac_of};
use crate::suite::{BLOCK_LEN, MacOrder, Suite};

/// A write key of an AES-CBC suite.
pub(crate) struct CbcSealer<M> {
    suite: Suite,
    cipher: EncryptKey,
    mac: M,
    ivs: Ivs,
}

/// Where the IVs of sealed records come from.
enum Ivs {
    Random(RandomIvs),
    Chained(Mutex<Chain>),
}

impl<M: RecordMac> CbcSealer<M> {
    pub(crate) fn new(keys: &Keys) -> Result<Self, Error> {
        Ok(Self {
            suite: keys.suite(),
            cipher: EncryptKey::new(keys.key())?,
            mac: keyed_mac(keys.mac_key())?,
            ivs: match chain(keys) {
                Some(chain) => Ivs::Chained(chain),
                None => Ivs::Random(RandomIvs::new()?),
            },
        })
    }

    /// Seal a checked frame; `payload` None: it lies in its place.
    fn seal(&self, frame: Frame, payload: Option<&[u8]>, record: &mut [u8]) -> Result<(), Error> {
        match &self.ivs {
            Ivs::Random(ivs) => {
                let iv = ivs.of(frame.sequence);
                record[HEADER_LEN..][..BLOCK_LEN].copy_from_slice(&iv);
                self.write(frame, payload, &iv, record);
            }
            // Held until the end: the next IV is the end of this record.
            Ivs::Chained(chain) => {
                let mut chain = lock(chain);
                let iv = chain.iv_of(frame.sequence)?;
                let last = self.write(frame, payload, &iv, record);
                chain.advance(frame.sequence, last);
            }
        }
        Ok(())
    }

    /// Write all of a record but its explicit IV; returns the last cipher block.
    pub(super) fn write(
        &self,
        frame: Frame,
        payload: Option<&[u8]>,
        iv: &Block,
        record: &mut [u8],
    ) -> Block {
        let header = frame.header(self.suite);
        let aad = |len| Aad::new(self.suite, frame.sequence, header, len);
        let (before, body) = record.split_at_mut(self.suite.header_size());
        before[..HEADER_LEN].copy_from_slice(&header);
        if let Some(payload) = payload {
            body[..frame.payload_len].copy_from_slice(payload);
        }
        let mac_len = self.suite.mac_key_len();
        if encrypts_then_macs(self.suite) {
            let (text, tag) = body.split_at_mut(body.len() - mac_len);
            fill_padding(&mut text[frame.payload_len..]);
            self.cipher.encrypt(iv, text);
            let sent_iv = &before[HEADER_LEN..];
            let aad = aad(sent_iv.len() + text.len());
            tag.copy_from_slice(&mac_of(&self.mac, &[aad.as_ref(), sent_iv, text]));
            last_block(text)
        } else {
            let (text, trailer) = body.split_at_mut(frame.payload_len);
            let (tag, padding) = trailer.split_at_mut(mac_len);
            tag.copy_from_slice(&mac_of(&self.mac, &[aad(text.len()).as_ref(), text]));
            fill_padding(padding);
            self.cipher.encrypt(iv, body);
            last_block(body)
        }
    }
}

impl<M: RecordMac> Seal for CbcSealer<M> {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error> {
        frame.check(self.suite, record.len())?;
        self.seal(frame, None, record)
    }

    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error> {
        frame.check_payload(payload)?;
        frame.check(self.suite, record.len())?;
        self.seal(frame, Some(payload), record)
    }
}

/// A read key of an AES-CBC suite.
pub(crate) struct CbcOpener<M: RecordMac> {
    suite: Suite,
    cipher: DecryptKey,
    mac: MacKey<M>,
    /// Only where the IVs are chained.
    chain: Option<Mutex<Chain>>,
}

/// The MAC key in the form that the order of MAC and encryption asks for.
#[derive(Clone)]
enum MacKey<M: RecordMac> {
    /// The length of what the MAC covers is encrypted.
    MacThenEncrypt(SecretLenHmac<M::Hash>),
    /// The MAC covers what travels.
    EncryptThenMac(M),
}

impl<M: RecordMac> CbcOpener<M> {
    pub(crate) fn new(keys: &Keys) -> Result<Self, Error> {
        Ok(Self {
            suite: keys.suite(),
            cipher: DecryptKey::new(keys.key())?,
            mac: if encrypts_then_macs(keys.suite()) {
                MacKey::EncryptThenMac(keyed_mac(keys.mac_key())?)
            } else {
                MacKey::MacThenEncrypt(SecretLenHmac::new(keys.mac_key()))
            },
            chain: chain(keys),
        })
    }

    /// Verify and decrypt `text`, the part of a record between IV and `tag`; returns the payload length. `sent_iv` is
    /// empty where the IV is chained, `tag` where the MAC is encrypted.
    fn open(
        &self,
        (header, sequence): (RecordHeader, u64),
        (iv, sent_iv): (&Block, &[u8]),
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<usize, Error> {
        let aad = |len| header.aad_of(self.suite, sequence, len);
        if text.len() % BLOCK_LEN != 0 {
            return Err(Error::BadRecord);
        }
        let len = match &self.mac {
            MacKey::EncryptThenMac(mac) => {
                let aad = aad(sent_iv.len() + text.len());
                let expected = mac_of(mac, &[aad.as_ref(), sent_iv, text]);
                if !bool::from(expected.as_slice().ct_eq(tag)) {
                    return Err(Error::BadRecord);
                }
                self.cipher.decrypt(iv, text);
                unpadded_len(text)
            }
            MacKey::MacThenEncrypt(mac) => {
                self.cipher.decrypt(iv, text);
                constant_time::payload_len(mac, text, aad)
            }
        };
        match len.ok_or(Error::BadRecord)? {
            len if len > MAX_FRAME_LEN => Err(Error::RecordOverflow {
                actual: len,
                maximum: MAX_FRAME_LEN,
            }),
            len => Ok(len),
        }
    }

    /// [`open`](Self::open) with the IV of the record, and the chain moved on where there is one; wipes `text` on an
    /// error. `last` is the last block of the encrypted text.
    fn open_next(
        &self,
        (header, sequence): (RecordHeader, u64),
        sent_iv: &[u8],
        last: Block,
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<usize, Error> {
        let opened = match &self.chain {
            None => {
                let iv = last_block(sent_iv);
                self.open((header, sequence), (&iv, sent_iv), text, tag)
            }
            Some(chain) => {
                let mut chain = lock(chain);
                let iv = chain.iv_of(sequence)?;
                let opened = self.open((header, sequence), (&iv, &[]), text, tag);
                if opened.is_ok() {
                    chain.advance(sequence, last);
                }
                opened
            }
        };
        wiped_on_error(opened, text)
    }
}

impl<M: RecordMac> Open for CbcOpener<M> {
    fn suite(&self) -> Suite {
        self.suite
    }

    fn open_in_place<'r>(&self, sequence: u64, record: &'r mut [u8]) -> Result<Opened<'r>, Error> {
        check_sequence(sequence)?;
        let header = RecordHeader::of_record(self.suite, record)?;
        let (before, body) = record.split_at_mut(self.suite.header_size());
        let (text, tag) = body.split_at_mut(header.text_len());
        let (sent_iv, last) = (&before[HEADER_LEN..], last_block(text));
        let opened = self.open_next((header, sequence), sent_iv, last, text, tag);
        if let Err(Error::BadRecord | Error::RecordOverflow { .. }) = opened {
            tag.fill(0);
        }
        Ok(Opened {
            content_type: header.outer_type(),
            payload: &mut text[..opened?],
        })
    }

    fn open_into<'o>(
        &self,
        sequence: u64,
        record: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<'o>, Error> {
        check_sequence(sequence)?;
        let header = RecordHeader::of_record(self.suite, record)?;
        let text = room(out, header.text_len())?;
        let (before, body) = record.split_at(self.suite.header_size());
        let (encrypted, tag) = body.split_at(header.text_len());
        let (sent_iv, last) = (&before[HEADER_LEN..], last_block(encrypted));
        text.copy_from_slice(encrypted);
        let len = self.open_next((header, sequence), sent_iv, last, text, tag)?;
        Ok(Opened {
            content_type: header.outer_type(),
            payload: &mut text[..len],
        })
    }

    fn clone_state(self: Arc<Self>) -> Arc<dyn Open> {
        let Some(chain) = &self.chain else {
            return self;
        };
        Arc::new(Self {
            suite: self.suite,
            cipher: self.cipher.clone(),
            mac: self.mac.clone(),
            chain: Some(Mutex::new(lock(chain).clone())),
        })
    }

    fn chained_iv(&self) -> Option<Block> {
        self.chain.as_ref().map(|chain| lock(chain).next_iv())
    }
}

fn encrypts_then_macs(suite: Suite) -> bool {
    suite.mac_order() == Some(MacOrder::EncryptThenMac)
}

fn chain(keys: &Keys) -> Option<Mutex<Chain>> {
    // Only a chained suite has an implicit IV of a block.
    let iv = Block::try_from(keys.iv()).ok()?;
    Some(Mutex::new(Chain::new(iv)))
}

fn lock(chain: &Mutex<Chain>) -> MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fill 1 to 16 bytes with their number less one (RFC 5246 §6.2.3.2).
fn fill_padding(padding: &mut [u8]) {
    let [.., count] = (padding.len() - 1).to_be_bytes();
    padding.fill(count);
}

/// Length before the padding of authenticated text, None when it is malformed. It may branch: the MAC covered it.
fn unpadded_len(text: &[u8]) -> Option<usize> {
    let &count = text.last()?;
    let len = text.len().checked_sub(usize::from(count) + 1)?;
    text[len..].iter().all(|&byte| byte == count).then_some(len)
}

/// The last block of bytes that hold at least one.
fn last_block(bytes: &[u8]) -> Block {
    bytes.last_chunk().copied().unwrap_or([0; BLOCK_LEN])
}
