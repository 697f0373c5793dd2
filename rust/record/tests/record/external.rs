//! An AEAD that this crate does not know: what it is given, and what its answers do to a record.

use ktls_record::external::{self, AeadRecord, ExternalAead};
use ktls_record::{Algorithm, Error, Frame, Keys, Mac, MacOrder, Opened, Suite, Version};

/// Adds one to each byte; the tag is the additional data and the nonce, summed.
#[derive(Clone, Copy, PartialEq)]
enum Toy {
    Works,
    Fails,
}

impl Toy {
    fn tag(record: &mut AeadRecord<'_>) -> u8 {
        let (nonce, aad, _, _) = record.parts();
        nonce
            .iter()
            .chain(aad)
            .fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn check(self) -> Result<(), Error> {
        match self {
            Self::Works => Ok(()),
            Self::Fails => Err(Error::Backend {
                backend: "toy".into(),
                reason: "it is to".into(),
            }),
        }
    }
}

impl ExternalAead for Toy {
    fn seal(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        for record in batch {
            let sum = Self::tag(record);
            let (_, _, text, tag) = record.parts();
            text.iter_mut()
                .for_each(|byte| *byte = byte.wrapping_add(1));
            tag.fill(sum);
        }
        self.check()
    }

    fn open(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        for record in batch {
            let sum = Self::tag(record);
            let (_, _, text, tag) = record.parts();
            text.iter_mut()
                .for_each(|byte| *byte = byte.wrapping_sub(1));
            if tag.iter().any(|byte| *byte != sum) {
                record.refuse();
            }
        }
        self.check()
    }
}

fn keys(version: Version) -> Keys {
    let suite = Suite::new(version, Algorithm::Aes128Gcm).expect("a suite");
    let iv = vec![2; suite.iv_len()];
    Keys::new(suite, &[1; 16], &iv).expect("keys")
}

fn frame(sequence: u64, payload: &[u8]) -> Frame {
    Frame {
        content_type: 23,
        sequence,
        payload_len: payload.len(),
        padding_len: 0,
    }
}

fn sealed(version: Version, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let keys = keys(version);
    let sealer = external::sealer(&keys, 5, Box::new(Toy::Works)).expect("a sealer");
    let mut record = vec![0; keys.suite().record_size(payload.len())];
    sealer
        .seal_from(frame(sequence, payload), payload, &mut record)
        .expect("sealed");
    record
}

#[test]
fn what_is_sealed_opens_in_each_way() {
    for version in [Version::Tls12, Version::Tls13] {
        let payload = b"a payload";
        let mut record = sealed(version, 3, payload);
        let opener = external::opener(&keys(version), Box::new(Toy::Works)).expect("an opener");
        let mut out = vec![0xee; 40];
        let opened = opener.open_into(3, &record, &mut out).expect("opened");
        assert_eq!((opened.content_type, &*opened.payload), (23, &payload[..]));
        let batch = opener.open_batch(vec![(3, &mut record[..])]);
        let expected = Opened {
            content_type: 23,
            payload: &mut payload.to_vec()[..],
        };
        assert_eq!(batch, [Ok(expected)]);
    }
}

#[test]
fn a_batch_is_sealed_as_one_by_one() {
    let keys = keys(Version::Tls13);
    let sealer = external::sealer(&keys, 0, Box::new(Toy::Works)).expect("a sealer");
    let size = keys.suite().record_size(4);
    let mut records = vec![0; 2 * size];
    let (first, second) = records.split_at_mut(size);
    first[5..9].copy_from_slice(b"1111");
    second[5..9].copy_from_slice(b"2222");
    let batch = &mut [(frame(8, b"1111"), first), (frame(9, b"2222"), second)];
    assert_eq!(sealer.seal_batch(batch), Ok(()));
    let one_by_one = [
        sealed(Version::Tls13, 8, b"1111"),
        sealed(Version::Tls13, 9, b"2222"),
    ];
    assert_eq!(records, one_by_one.concat());
}

#[test]
fn what_is_refused_does_not_authenticate_and_is_wiped() {
    let mut record = sealed(Version::Tls12, 0, b"secret");
    let last = record.len() - 1;
    record[last] ^= 1;
    let opener = external::opener(&keys(Version::Tls12), Box::new(Toy::Works)).expect("an opener");
    assert_eq!(opener.open_in_place(0, &mut record), Err(Error::BadRecord));
    assert!(record[13..].iter().all(|byte| *byte == 0));
}

#[test]
fn one_that_fails_leaves_nothing_behind() {
    let keys = keys(Version::Tls13);
    let sealer = external::sealer(&keys, 0, Box::new(Toy::Fails)).expect("a sealer");
    let mut record = vec![0xee; keys.suite().record_size(6)];
    let failed = sealer.seal_from(frame(0, b"secret"), b"secret", &mut record);
    assert!(matches!(failed, Err(Error::Backend { .. })));
    assert!(record.iter().all(|byte| *byte == 0));
    let mut record = vec![0xee; keys.suite().record_size(6)];
    let batch = &mut [(frame(0, b"secret"), &mut record[..])];
    assert!(sealer.seal_batch(batch).is_err());
    assert!(record.iter().all(|byte| *byte == 0));

    let mut record = sealed(Version::Tls13, 0, b"secret");
    let opener = external::opener(&keys, Box::new(Toy::Fails)).expect("an opener");
    let batch = opener.open_batch(vec![(0, &mut record[..])]);
    assert!(matches!(&batch[..], [Err(Error::Backend { .. })]));
    assert!(record[5..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_suite_with_a_mac_is_none_of_its() {
    let suite = Suite::cbc(
        Version::Tls12,
        Algorithm::Aes128Cbc,
        Mac::HmacSha1,
        MacOrder::MacThenEncrypt,
    )
    .expect("a suite");
    let keys = Keys::with_mac(suite, &[1; 16], &[], &[2; 20]).expect("keys");
    let refused = external::sealer(&keys, 0, Box::new(Toy::Works)).err();
    assert!(matches!(refused, Some(Error::NotAead { .. })));
    assert!(external::opener(&keys, Box::new(Toy::Works)).is_err());
}
