//! What the fuzz targets assert, as plain functions: `fuzz_targets` hands them the fuzzer's bytes, `tests/seeds.rs`
//! hands them the seeds. A function that returns is content; what it does not like it panics about.
//!
//! Raw targets take the bytes as they are. The others read a structure from them, so that the fuzzer gets past
//! checks that no luck gets past, such as an authentication tag.

pub mod control;
pub mod handover;
pub mod hello;
pub mod hello_fields;
pub mod key_log;
pub mod key_schedule;
pub mod peer;
pub mod records;
pub mod stream;
pub mod suites;
