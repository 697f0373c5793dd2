//! Files: accepted as references to their ranges, after a look at their first byte.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::SendStream;
use super::data::WriteFlags;
use super::run::Payload;
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sys;

impl SendStream {
    /// Accepts `count` bytes of a regular file from `offset`; short at the end of the file. When it may wait it
    /// returns once the file was read, so that the caller may change it.
    ///
    /// # Errors
    /// As [`SendStream::send`]; EINVAL for anything but a regular file, and the errno of its first byte when that cannot
    /// be read. Nothing was accepted then.
    pub fn send_file(
        self: &Arc<Self>,
        file: OwnedFd,
        offset: u64,
        count: u64,
        deadline: &mut Deadline<'_>,
    ) -> Result<u64> {
        self.send_shared_file(&Arc::new(file), offset, count, deadline)
    }

    /// The same for a file that is offered again when this would wait.
    ///
    /// # Errors
    /// As [`SendStream::send_file`].
    pub fn send_shared_file(
        self: &Arc<Self>,
        file: &Arc<OwnedFd>,
        offset: u64,
        count: u64,
        deadline: &mut Deadline<'_>,
    ) -> Result<u64> {
        self.check_process()?;
        let size = sys::regular_file_len(file)
            .map_err(|errno| Error::File { errno, offset })?
            .ok_or(Error::NotRegular)?;
        let len = count.min(size.saturating_sub(offset));
        if len == 0 || !has_byte_at(file, offset, deadline.is_blocking())? {
            return Ok(0);
        }
        let writer = self.begin_write(deadline)?;
        let source = |position: usize| Payload::File {
            file: Arc::clone(file),
            offset: offset + position as u64,
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (accepted, ended) = self.write_pieces(len, WriteFlags::DATA, source, deadline);
        drop(writer);
        if let Some(error) = ended
            && (accepted == 0 || !error.may_follow_a_part())
        {
            return Err(error);
        }
        if deadline.is_blocking() && accepted == len {
            // What was accepted must not be offered again: too late is no error of this call any more.
            match self.await_files(deadline) {
                Err(error) if !error.leaves_connection() => return Err(error),
                _ => {}
            }
        }
        Ok(accepted as u64)
    }

    /// Waits until every file that was accepted has been read.
    ///
    /// # Errors
    /// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, or whatever ended the connection.
    pub fn await_files(self: &Arc<Self>, deadline: &mut Deadline<'_>) -> Result<()> {
        let read = |state: &State| !state.buffer.has_unread_file();
        let waited = self.drive_until(read, |state| state.life.check_drain(), deadline);
        self.settle();
        waited
    }
}

/// Whether the file can be read at its first byte, and has one there: before its bytes are promised to the peer.
fn has_byte_at(file: &OwnedFd, offset: u64, may_wait: bool) -> Result<bool> {
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    match sys::read_at(file, &mut buffers, offset, !may_wait) {
        Ok(count) => Ok(count > 0),
        // Not in memory: that is seen when it is read.
        Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(errno) => Err(Error::File { errno, offset }),
    }
}
