//! Providers that come at run time: native ones behind a C struct, and those that are written in Python.

#[expect(
    unsafe_code,
    reason = "calls functions of somebody else's library; each block has its SAFETY note"
)]
pub(crate) mod native;
pub(crate) mod python;
