//! Takes whole records of application data off a socket, in as few system calls as there are bursts.
//!
//! Reading stays the TLS library's; this only finds out where records end before it takes them, because what follows a
//! close_notify may be another protocol's.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::stream::Patience;
use crate::sys;

/// Bytes looked at once: four full records.
const BURST_SIZE: usize = 4 * (5 + 16384 + 256);

const HEADER_LEN: usize = 5;

/// Longest protected fragment of any version (RFC 5246 §6.2.3).
const MAX_FRAGMENT_LEN: usize = 16384 + 2048;

thread_local! {
    static SEEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Size of the whole records of application data that lie ready; waits for the first bytes. 0: what comes next is
/// something else, not whole yet, or the end of the stream.
///
/// # Errors
/// EAGAIN when it may not wait, ETIMEDOUT, EINTR, or whatever ended the connection.
pub fn ready_records_size(socket: BorrowedFd<'_>, patience: &mut Patience<'_>) -> Result<usize> {
    if patience.may_wait && patience.deadline.is_some() {
        wait_readable(socket, patience)?;
    }
    SEEN.with_borrow_mut(|seen| {
        seen.resize(BURST_SIZE, 0);
        loop {
            match sys::peek(socket, seen, !patience.may_wait) {
                Ok(count) => return Ok(data_records_size(&seen[..count])),
                Err(Errno::INTR) if !(patience.interrupted)() => {}
                Err(Errno::INTR) => return Err(Error::interrupted()),
                Err(errno) => return Err(Error::from_errno(errno, "reading failed")),
            }
        }
    })
}

/// Takes bytes that [`ready_records_size`] has counted.
///
/// # Errors
/// Whatever ended the connection meanwhile.
pub fn take_records(socket: BorrowedFd<'_>, out: &mut [u8]) -> Result<usize> {
    sys::receive(socket, out).map_err(|errno| Error::from_errno(errno, "reading failed"))
}

fn wait_readable(socket: BorrowedFd<'_>, patience: &mut Patience<'_>) -> Result<()> {
    loop {
        let left = patience.remaining();
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Error::timed_out());
        }
        match sys::wait_readable(socket, left) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Errno::INTR) if !(patience.interrupted)() => {}
            Err(Errno::INTR) => return Err(Error::interrupted()),
            Err(errno) => return Err(Error::from_errno(errno, "waiting for the socket failed")),
        }
    }
}

/// Size of the whole records that say they are application data, from the start of `bytes`.
fn data_records_size(bytes: &[u8]) -> usize {
    let mut size = 0;
    while let Some(&[23, 3, _, high, low]) = bytes.get(size..size + HEADER_LEN) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let end = size + HEADER_LEN + len;
        if len > MAX_FRAGMENT_LEN || end > bytes.len() {
            break;
        }
        size = end;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::data_records_size;

    #[test]
    fn only_whole_data_records_count() {
        let record = [&[23, 3, 3, 0, 4][..], &[1, 2, 3, 4]].concat();
        assert_eq!(data_records_size(&[]), 0);
        assert_eq!(data_records_size(&record), 9);
        assert_eq!(data_records_size(&record[..8]), 0);
        assert_eq!(data_records_size(&record[..4]), 0);
        assert_eq!(data_records_size(&[&record[..], &record[..7]].concat()), 9);
        assert_eq!(data_records_size(&[&record[..], &record[..]].concat()), 18);
        assert_eq!(
            data_records_size(&[&record[..], &[21, 3, 3, 0, 2, 1, 0]].concat()),
            9
        );
        assert_eq!(data_records_size(&[23, 3, 3, 0xff, 0xff]), 0);
        assert_eq!(data_records_size(b"220 clear text again\r\n"), 0);
    }
}
