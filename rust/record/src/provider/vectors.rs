//! Published AEAD vectors against every provider. They use any additional data, so they run below the record layer.

use crate::cipher::aead::Aead;
use crate::error::Error;
use crate::provider::vector_file::{Case, cases};
use crate::suite::{Algorithm, NONCE_LEN, TAG_LEN};

const SPECIFICATION: &str = include_str!("../../tests/data/gcm_specification.txt");
const NIST: &str = include_str!("../../tests/data/nist_gcm.txt");
const WYCHEPROOF_GCM: &str = include_str!("../../tests/data/wycheproof_aes_gcm.txt");
const WYCHEPROOF_CHACHA: &str = include_str!("../../tests/data/wycheproof_chacha20_poly1305.txt");

#[derive(Default, Debug, PartialEq)]
struct Tally {
    valid: usize,
    invalid: usize,
}

struct Vector {
    algorithm: Algorithm,
    key: Vec<u8>,
    nonce: [u8; NONCE_LEN],
    plaintext: Vec<u8>,
    aad: Vec<u8>,
    /// Ciphertext and tag.
    sealed: Vec<u8>,
    valid: bool,
    id: String,
}

impl Vector {
    fn read(case: &Case) -> Self {
        let algorithm = match case.find("section") {
            Some("AES-128-GCM") => Algorithm::Aes128Gcm,
            Some("AES-256-GCM") => Algorithm::Aes256Gcm,
            Some("ChaCha20-Poly1305") => Algorithm::ChaCha20Poly1305,
            other => panic!("no such algorithm: {other:?}"),
        };
        Self {
            algorithm,
            key: case.bytes("Key"),
            nonce: case.bytes("IV").try_into().expect("a nonce of 96 bits"),
            plaintext: case.bytes("PT"),
            aad: case.bytes("AAD"),
            sealed: [case.bytes("CT"), case.bytes("Tag")].concat(),
            valid: case.find("Result").is_none_or(|result| result == "valid"),
            id: case.find("Id").unwrap_or("-").to_owned(),
        }
    }

    fn check_valid<A: Aead>(&self, cipher: &A) {
        let Self {
            nonce,
            aad,
            plaintext,
            sealed,
            id,
            ..
        } = self;
        let mut in_place = [plaintext.as_slice(), &[0; TAG_LEN]].concat();
        let (text, tag) = in_place.split_at_mut(plaintext.len());
        assert_eq!(cipher.seal_in_place(*nonce, aad, text, tag), Ok(()));
        assert_eq!(&in_place, sealed, "seal_in_place, id {id}");

        let mut out = vec![0; sealed.len()];
        assert_eq!(
            cipher.seal_from(*nonce, aad, plaintext, &[], &mut out),
            Ok(())
        );
        assert_eq!(&out, sealed, "seal_from, id {id}");
        if let Some((last, head)) = plaintext.split_last() {
            out.fill(0);
            assert_eq!(
                cipher.seal_from(*nonce, aad, head, &[*last], &mut out),
                Ok(())
            );
            assert_eq!(&out, sealed, "seal_from with a last byte apart, id {id}");
        }

        let mut opened = sealed.clone();
        assert_eq!(
            cipher.open_in_place(*nonce, aad, &mut opened),
            Ok(()),
            "id {id}"
        );
        assert_eq!(
            &opened[..plaintext.len()],
            plaintext,
            "open_in_place, id {id}"
        );

        let mut out = vec![0xee; plaintext.len()];
        let (text, tag) = sealed.split_last_chunk().expect("a tag");
        let opened = cipher.open_from(*nonce, aad, text, tag, &mut out);
        assert_eq!(opened, Ok(()), "id {id}");
        assert_eq!(&out, plaintext, "open_from, id {id}");
    }

    fn check_invalid<A: Aead>(&self, cipher: &A) {
        let mut text = self.sealed.clone();
        let opened = cipher.open_in_place(self.nonce, &self.aad, &mut text);
        assert_eq!(opened, Err(Error::BadRecord), "id {}", self.id);

        let (text, tag) = self.sealed.split_last_chunk().expect("a tag");
        let mut out = vec![0; text.len()];
        let opened = cipher.open_from(self.nonce, &self.aad, text, tag, &mut out);
        assert_eq!(opened, Err(Error::BadRecord), "id {}", self.id);
    }
}

fn run<A: Aead>(file: &str) -> Tally {
    let mut tally = Tally::default();
    for vector in cases(file).iter().map(Vector::read) {
        let cipher = A::new(vector.algorithm, &vector.key).expect("a key of the right length");
        if vector.valid {
            vector.check_valid(&cipher);
            tally.valid += 1;
        } else {
            vector.check_invalid(&cipher);
            tally.invalid += 1;
        }
    }
    tally
}

fn refuses_wrong_keys<A: Aead>() {
    for algorithm in [
        Algorithm::Aes128Gcm,
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
    ] {
        let refused = A::new(algorithm, &[0; 24]).err();
        assert!(matches!(
            refused,
            Some(Error::Provider {
                action: "take the key",
                ..
            })
        ));
    }
}

macro_rules! provider_tests {
    ($module:ident, $aead:ty) => {
        mod $module {
            use super::*;

            #[test]
            fn gcm_specification() {
                assert_eq!(
                    run::<$aead>(SPECIFICATION),
                    Tally {
                        valid: 8,
                        invalid: 0
                    }
                );
            }

            #[test]
            fn nist_gcm() {
                assert_eq!(
                    run::<$aead>(NIST),
                    Tally {
                        valid: 200,
                        invalid: 0
                    }
                );
            }

            #[test]
            fn wycheproof_gcm() {
                assert_eq!(
                    run::<$aead>(WYCHEPROOF_GCM),
                    Tally {
                        valid: 79,
                        invalid: 54
                    }
                );
            }

            #[test]
            fn wycheproof_chacha20_poly1305() {
                assert_eq!(
                    run::<$aead>(WYCHEPROOF_CHACHA),
                    Tally {
                        valid: 256,
                        invalid: 60
                    }
                );
            }

            #[test]
            fn wrong_key_length() {
                refuses_wrong_keys::<$aead>();
            }
        }
    };
}

provider_tests!(ring, crate::provider::RingAead);
#[cfg(feature = "aws-lc")]
provider_tests!(aws_lc, crate::provider::AwsLcAead);
