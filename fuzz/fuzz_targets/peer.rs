#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ktls_fuzz::peer::peer(data));
