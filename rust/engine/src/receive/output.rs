//! Where received bytes go: the caller's buffer, or a buffer that grows as they come.

/// See the head of this file.
pub(super) enum Output<'a> {
    /// Of the caller; never read here but for what was written.
    Borrowed {
        /// All of it.
        buffer: &'a mut [u8],
        /// Bytes at its beginning that were received.
        filled: usize,
    },
    /// Holds what was received, and grows up to `max` bytes.
    Growing {
        /// What was received.
        bytes: &'a mut Vec<u8>,
        /// The most bytes.
        max: usize,
    },
}

impl Output<'_> {
    /// The most bytes it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Borrowed { buffer, .. } => buffer.len(),
            Self::Growing { max, .. } => *max,
        }
    }

    /// Bytes received.
    pub(super) fn filled(&self) -> &[u8] {
        match self {
            Self::Borrowed { buffer, filled } => &buffer[..*filled],
            Self::Growing { bytes, .. } => bytes,
        }
    }

    /// Bytes that it still takes.
    pub(super) fn room(&self) -> usize {
        self.size() - self.filled().len()
    }

    /// Appends as much as it takes; returns how many bytes.
    pub(super) fn append(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.room());
        match self {
            Self::Borrowed { buffer, filled } => {
                buffer[*filled..*filled + count].copy_from_slice(&data[..count]);
                *filled += count;
            }
            Self::Growing { bytes, .. } => bytes.extend_from_slice(&data[..count]),
        }
        count
    }

    /// Lets `write` fill the next `size` bytes, which fit, and keeps as many as it says.
    pub(super) fn fill_with<T>(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut [u8]) -> (usize, T),
    ) -> T {
        match self {
            Self::Borrowed { buffer, filled } => {
                let (kept, result) = write(&mut buffer[*filled..*filled + size]);
                *filled += kept;
                result
            }
            Self::Growing { bytes, .. } => {
                let before = bytes.len();
                bytes.resize(before + size, 0);
                let (kept, result) = write(&mut bytes[before..]);
                bytes.truncate(before + kept);
                result
            }
        }
    }
}
