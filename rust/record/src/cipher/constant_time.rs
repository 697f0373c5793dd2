//! The length of a MAC-then-encrypt payload, found without telling which check of it failed (RFC 5246 §6.2.3.2).
//!
//! The padding says where the payload ends, and it is not authenticated before the MAC is. So time and memory accesses
//! here depend on the length of the record only, which everybody sees, and leave nothing to measure for an attack like
//! Lucky Thirteen:
//!
//! * The last 256 bytes are compared whatever the padding says; a padding that does not fit counts as none.
//! * The hash takes in every block that the longest payload would need. Which bytes of the last blocks are payload, end
//!   mark or bit count, and after which block the digest is taken, is chosen by masks.
//! * The MAC is gathered from every place where it could stand.
//!
//! Not covered: that a record failed at all (the alert says so too), what a caller does with a good one, and what
//! a processor makes of it. What a compiler makes of it is counted by `tests/keys/test_constant_time.py`.

use core::hint::black_box;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::frame::{Aad, MAC_PREFIX_LEN};
use crate::provider::rustcrypto::{BlockHash, MAX_DIGEST_LEN, MAX_HASH_BLOCK_LEN, MAX_STATE_LEN};
use crate::suite::MAX_PADDING_LEN;

/// An HMAC key (RFC 2104) for messages whose length is secret: the hash after the inner and the outer padded key.
#[derive(Clone)]
pub(super) struct SecretLenHmac<H: BlockHash> {
    inner: H::State,
    outer: H::State,
}

impl<H: BlockHash> SecretLenHmac<H> {
    /// With a key of at most a block, which every MAC key of TLS is.
    pub(super) fn new(key: &[u8]) -> Self {
        Self {
            inner: keyed::<H>(key, 0x36),
            outer: keyed::<H>(key, 0x5c),
        }
    }
}

impl<H: BlockHash> Drop for SecretLenHmac<H> {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

fn keyed<H: BlockHash>(key: &[u8], pad: u8) -> H::State {
    let mut block = [pad; MAX_HASH_BLOCK_LEN];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = H::INITIAL;
    H::compress(&mut state, &block[..H::BLOCK_LEN]);
    block.zeroize();
    state
}

/// The payload length of a decrypted `text` (payload, MAC, padding), or None when padding or MAC are wrong. `aad_of`
/// gives what the MAC begins with for a payload length, and must not branch on it.
pub(super) fn payload_len<H: BlockHash>(
    mac: &SecretLenHmac<H>,
    text: &[u8],
    aad_of: impl Fn(usize) -> Aad,
) -> Option<usize> {
    // Public: the longest payload has one byte of padding, which is its count.
    let longest = text.len().checked_sub(H::DIGEST_LEN + 1)?;
    let (claimed, good) = verdict(mac, text, longest, aad_of);
    // From here on it shows whether the record is a good one.
    bool::from(good).then_some(claimed)
}

/// The length that the padding claims, and whether padding and MAC are right. A function of its own, for its
/// instructions are counted.
#[inline(never)]
fn verdict<H: BlockHash>(
    mac: &SecretLenHmac<H>,
    text: &[u8],
    longest: usize,
    aad_of: impl Fn(usize) -> Aad,
) -> (usize, Choice) {
    let shortest = longest.saturating_sub(MAX_PADDING_LEN - 1);
    let (padding, good_padding) = padding_of(text, longest - shortest);
    let places = Places {
        shortest,
        longest,
        claimed: longest.wrapping_sub(usize::from(padding)),
    };
    let prefix = aad_of(places.claimed);
    let expected = mac_of_claimed(mac, text, places, prefix.as_ref());
    let found = gathered::<H>(text, places);
    let good_mac = expected[..H::DIGEST_LEN].ct_eq(&found[..H::DIGEST_LEN]);
    (places.claimed, good_padding & good_mac)
}

/// Where a payload may end, which is public, and where the padding says that it does, which is not.
#[derive(Clone, Copy)]
struct Places {
    shortest: usize,
    longest: usize,
    claimed: usize,
}

/// Padding bytes before the last one, and whether all of them say so; at most `longest`, below 256, fit.
fn padding_of(text: &[u8], longest: usize) -> (u8, Choice) {
    let said = black_box(text.last().copied().unwrap_or(0));
    let too_long = below(longest, usize::from(said));
    let padding = black_box(said & !too_long);
    let mut wrong = too_long;
    for (index, byte) in text.iter().rev().take(longest + 1).enumerate() {
        wrong |= (byte ^ said) & !below(usize::from(padding), index);
    }
    (padding, wrong.ct_eq(&0))
}

/// The MAC of the payload that the padding claims.
fn mac_of_claimed<H: BlockHash>(
    mac: &SecretLenHmac<H>,
    text: &[u8],
    places: Places,
    prefix: &[u8],
) -> [u8; MAX_STATE_LEN] {
    let mut state = mac.inner.clone();
    let mut block = [0; MAX_HASH_BLOCK_LEN];
    let block = &mut block[..H::BLOCK_LEN];

    // Blocks of nothing but prefix and payload, wherever the payload ends.
    let whole_len = (MAC_PREFIX_LEN + places.shortest) / H::BLOCK_LEN * H::BLOCK_LEN;
    if whole_len > 0 {
        fill(block, 0, prefix, text);
        H::compress(&mut state, block);
        H::compress(
            &mut state,
            &text[H::BLOCK_LEN - MAC_PREFIX_LEN..whole_len - MAC_PREFIX_LEN],
        );
    }

    let end = MAC_PREFIX_LEN.wrapping_add(places.claimed);
    let ending = end.wrapping_add(H::COUNT_LEN) / H::BLOCK_LEN;
    let bit_count = (H::BLOCK_LEN.wrapping_add(end) as u64).wrapping_mul(8);
    let last = (MAC_PREFIX_LEN + places.longest + H::COUNT_LEN) / H::BLOCK_LEN;
    let mut digest = [0; MAX_STATE_LEN];
    for index in whole_len / H::BLOCK_LEN..=last {
        let begin = index * H::BLOCK_LEN;
        let is_ending = equal(index, ending);
        fill(block, begin, prefix, &text[..places.longest]);
        for (byte, position) in block.iter_mut().zip(begin..) {
            *byte = *byte & below(position, end) | 0x80 & equal(position, end);
        }
        for (byte, count) in block.iter_mut().rev().zip(bit_count.to_le_bytes()) {
            *byte |= count & is_ending;
        }
        H::compress(&mut state, block);
        for (byte, state) in digest.iter_mut().zip(H::bytes(&state)) {
            *byte |= state & is_ending;
        }
    }
    finish(mac, &digest[..H::DIGEST_LEN])
}

/// The outer hash of HMAC over an inner digest.
fn finish<H: BlockHash>(mac: &SecretLenHmac<H>, inner: &[u8]) -> [u8; MAX_STATE_LEN] {
    let mut block = [0; MAX_HASH_BLOCK_LEN];
    let block = &mut block[..H::BLOCK_LEN];
    let bit_count = ((H::BLOCK_LEN + inner.len()) as u64 * 8).to_be_bytes();
    block[..inner.len()].copy_from_slice(inner);
    block[inner.len()] = 0x80;
    block[H::BLOCK_LEN - bit_count.len()..].copy_from_slice(&bit_count);
    let mut state = mac.outer.clone();
    H::compress(&mut state, block);
    H::bytes(&state)
}

/// The bytes of `prefix` and `text` from position `begin` on, then zeros; the lengths are public.
fn fill(block: &mut [u8], begin: usize, prefix: &[u8], text: &[u8]) {
    let before = prefix.len().saturating_sub(begin).min(block.len());
    let (head, rest) = block.split_at_mut(before);
    head.copy_from_slice(&prefix[prefix.len() - before..][..before]);
    let from = text.get((begin + before).saturating_sub(prefix.len())..);
    let from = from.unwrap_or_default();
    let count = from.len().min(rest.len());
    let (payload, zeros) = rest.split_at_mut(count);
    payload.copy_from_slice(&from[..count]);
    zeros.fill(0);
}

/// The bytes that stand after the payload that the padding claims, as many as a digest has.
fn gathered<H: BlockHash>(text: &[u8], places: Places) -> [u8; MAX_DIGEST_LEN] {
    let begin = places.claimed.wrapping_sub(places.shortest);
    let end = begin.wrapping_add(H::DIGEST_LEN);
    let window = &text[places.shortest..places.longest + H::DIGEST_LEN];
    // In rows of a digest's length: whichever bytes are the MAC, one of them is in each column.
    let mut found = [0; MAX_DIGEST_LEN];
    let mut rotation = 0;
    for (row, bytes) in window.chunks(H::DIGEST_LEN).enumerate() {
        let positions = row * H::DIGEST_LEN..;
        for (column, (byte, position)) in (0..).zip(bytes.iter().zip(positions)) {
            let inside = !below(position, begin) & below(position, end);
            found[usize::from(column)] |= byte & inside;
            rotation |= column & equal(position, begin);
        }
    }
    // Digests have fewer than 64 bytes.
    for bit in 0..6 {
        let turned = equal(usize::from(rotation >> bit & 1), 1);
        let before = found;
        for (column, byte) in found[..H::DIGEST_LEN].iter_mut().enumerate() {
            let other = before[(column + (1 << bit)) % H::DIGEST_LEN];
            *byte ^= (*byte ^ other) & turned;
        }
    }
    found
}

/// All ones where `a` is less than `b`, else zero, for lengths of a record.
fn below(a: usize, b: usize) -> u8 {
    let [.., borrow] = (a.wrapping_sub(b) >> (usize::BITS - 1)).to_be_bytes();
    0_u8.wrapping_sub(borrow)
}

/// All ones where `a` is `b`, else zero, for lengths of a record.
fn equal(a: usize, b: usize) -> u8 {
    below(a ^ b, 1)
}
