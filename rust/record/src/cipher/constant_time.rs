//! The length of a MAC-then-encrypt payload, found without telling which check of it failed (RFC 5246 §6.2.3.2).
//!
//! The padding says where the payload ends, and it is not authenticated before the MAC is. So time and memory accesses
//! here depend on the length of the record only, which everybody sees: the last 256 bytes are compared whatever the
//! padding says; a padding that does not fit counts as none; and the MAC is finished and compared at *every* place
//! where the payload could end, of which the one that the padding says counts. That costs up to 256 short hashes
//! a record, and leaves nothing to measure for an attack like Lucky Thirteen.
//!
//! Not covered: that a record failed at all (the alert says so too), what a caller does with a good one, and what
//! a compiler or a processor makes of `subtle`, whose word is best effort.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};

use crate::frame::Aad;
use crate::provider::rustcrypto::RecordMac;
use crate::suite::MAX_PADDING_LEN;

/// The payload length of a decrypted `text` (payload, MAC of `mac_len` bytes, padding), or None when padding or MAC are
/// wrong. `aad_of` gives what the MAC begins with for a payload length, and must not branch on it.
pub(super) fn payload_len<M: RecordMac>(
    mac: &M,
    mac_len: usize,
    text: &[u8],
    aad_of: impl Fn(usize) -> Aad,
) -> Option<usize> {
    // Public: the longest payload has one byte of padding, which is its count.
    let longest = text.len().checked_sub(mac_len + 1)?;
    let shortest = longest.saturating_sub(MAX_PADDING_LEN - 1);

    let (padding, mut good) = padding_after(text, longest - shortest);
    let claimed = longest as u64 - u64::from(padding);

    let mut mac = mac.clone();
    mac.update(aad_of(usize::try_from(claimed).unwrap_or(0)).as_ref());
    mac.update(&text[..shortest]);
    let mut authentic = Choice::from(0);
    for len in shortest..=longest {
        let expected = mac.clone().finalize().into_bytes();
        let found = &text[len..len + mac_len];
        authentic |= (len as u64).ct_eq(&claimed) & expected[..].ct_eq(found);
        mac.update(&text[len..=len]);
    }
    good &= authentic;
    bool::from(good).then(|| usize::try_from(claimed).unwrap_or(0))
}

/// Padding bytes before the last one, and whether all of them say so; at most `longest` fit.
fn padding_after(text: &[u8], longest: usize) -> (u8, Choice) {
    let said = text.last().copied().unwrap_or(0);
    let too_long = u64::from(said).ct_gt(&(longest as u64));
    let padding = u8::conditional_select(&said, &0, too_long);
    let mut good = !too_long;
    for (index, byte) in text.iter().rev().take(longest + 1).enumerate() {
        let outside = (index as u64).ct_gt(&u64::from(padding));
        good &= outside | byte.ct_eq(&said);
    }
    (padding, good)
}
