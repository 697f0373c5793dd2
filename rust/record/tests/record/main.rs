//! The record layer through its public interface, against published values and against itself.

mod cbc;
mod cbc_refusals;
mod cbc_suites;
mod cbc_vectors;
mod control;
mod control_splits;
mod external;
mod handover;
mod handover_forged;
mod handover_key_update;
mod handover_refusals;
mod hello;
mod keylog;
mod keys;
mod open_into;
mod openssl;
mod recorded;
mod refusals;
mod rfc8448;
mod round_trip;
mod sample;
mod schedule;
#[path = "../vector_file/mod.rs"]
mod vector_file;
mod wire_sizes;
