//! What a write brings, and how it is to be framed.

use std::sync::Arc;

use super::run::{APPLICATION_DATA, SharedBytes};

/// What a write brings: bytes to look at now, and, where there is one, an owner that keeps them.
pub enum Data<'a> {
    /// Bytes that must be copied to outlive the call.
    Borrowed(&'a [u8]),
    /// Bytes that can be referenced.
    Shared(SharedBytes),
}

impl Data<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(owner) => (**owner).as_ref(),
        }
    }

    pub(super) fn to_shared(&self) -> SharedBytes {
        match self {
            Self::Borrowed(bytes) => Arc::new(bytes.to_vec()),
            Self::Shared(owner) => Arc::clone(owner),
        }
    }
}

/// How a write is framed.
#[derive(Clone, Copy, Debug)]
pub struct WriteFlags {
    /// The content type of its records.
    pub content_type: u8,
    /// All of it at once or nothing, in records of its own (upstream's `PR_ATOMIC`).
    pub atomic: bool,
    /// More data follows (MSG_MORE): the last record stays open for it.
    pub more: bool,
}

impl WriteFlags {
    /// Application data, as much as there is space for.
    pub const DATA: Self = Self {
        content_type: APPLICATION_DATA,
        atomic: false,
        more: false,
    };

    /// Whether it may share a record with another write.
    pub(super) fn may_share_record(self) -> bool {
        self.content_type == APPLICATION_DATA && !self.atomic
    }
}
