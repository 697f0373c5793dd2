//! Every check over its seeds and over a little noise, so that the checks keep compiling and the seeds keep passing.

use std::fs;
use std::path::Path;

use ktls_fuzz::{
    control, handover, hello, hello_fields, key_log, key_schedule, peer, records, stream,
};

fn run(name: &str, check: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let mut count = 0;
    for seed in fs::read_dir(&seeds).expect("the target has seeds") {
        check(&fs::read(seed.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", seeds.display());
    let mut state = 1u64;
    for len in [0, 1, 8, 9, 40, 300, 300, 300, 2000, 2000] {
        let noise: Vec<u8> = (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        check(&noise);
    }
}

macro_rules! targets {
    ($($name:ident = $check:path;)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), $check);
        })*
    };
}

targets! {
    handover = handover::handover;
    client_hello = hello::client_hello;
    server_hello = hello::server_hello;
    hello_fields = hello_fields::hello_fields;
    key_log = key_log::key_log;
    open_record = records::open_record;
    forged_record = records::forged_record;
    seal_record = records::seal_record;
    key_schedule = key_schedule::key_schedule;
    control = control::control;
    peer = peer::peer;
    stream = stream::stream;
}
