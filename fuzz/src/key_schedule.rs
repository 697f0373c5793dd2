//! Secrets of any length, as a forged key log gives them, through the key schedule.

use arbitrary::{Arbitrary, Unstructured};
use ktls_record::schedule::{self, Hash, Prf};

use crate::suites;

#[derive(Arbitrary, Debug)]
struct Derivation {
    suite: u8,
    sha384: bool,
    secret: Vec<u8>,
    label: String,
    context: Vec<u8>,
    out_len: u16,
    client_random: [u8; 32],
    server_random: [u8; 32],
}

/// Keys of the right lengths, or a refusal; what is derived does not depend on how much of it is asked for.
pub fn key_schedule(data: &[u8]) {
    let Ok(given) = Derivation::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let suite = suites::suite(given.suite);
    let hash = if given.sha384 {
        Hash::Sha384
    } else {
        Hash::Sha256
    };
    let fits = matches!(given.secret.len(), 32 | 48);

    if let Ok(keys) = schedule::traffic_keys(suite, &given.secret) {
        assert!(fits);
        assert_eq!(
            (keys.key().len(), keys.iv().len()),
            (suite.key_len(), suite.iv_len())
        );
    }
    let next = schedule::next_traffic_secret(&given.secret);
    assert_eq!(next.is_ok(), fits);
    assert!(
        next.is_ok_and(|next| next.len() == given.secret.len() && *next != given.secret) || !fits
    );

    let mut expanded = vec![0; usize::from(given.out_len)];
    let answer =
        schedule::hkdf_expand_label(&given.secret, &given.label, &given.context, &mut expanded);
    let short = given.label.len() <= 249 && given.context.len() <= 255;
    let most = 255 * given.secret.len();
    assert_eq!(answer.is_ok(), fits && short && expanded.len() <= most);

    let block = schedule::key_block(
        suite,
        hash,
        &given.secret,
        &given.client_random,
        &given.server_random,
    );
    if let Ok(block) = block {
        assert_eq!(block.client_write.key().len(), suite.key_len());
        assert!(block.client_write.key() != block.server_write.key());
        assert!(format!("{block:?}{:?}", block.client_write).len() < 200);
    }

    let seed: [&[u8]; 2] = [&given.client_random, &given.context];
    for prf in [Prf::Md5Sha1, Prf::Sha2(hash)] {
        let mut long = vec![0; usize::from(given.out_len % 1000) + 1];
        prf.derive(&given.secret, &given.label, &seed, &mut long);
        let mut short = vec![0xff; long.len() / 2];
        prf.derive(&given.secret, &given.label, &seed, &mut short);
        assert_eq!(short, long[..short.len()]);
    }
}
