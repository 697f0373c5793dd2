//! Takes whole records of application data off a socket for a TLS library that opens them.
//!
//! It opens nothing and keeps nothing; it only finds out where records end before it takes them, because what follows
//! a close_notify may be another protocol's.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sys;
use crate::transport::TcpTransport;

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
/// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, or whatever ended the connection.
pub fn ready_records_size(socket: &TcpTransport, deadline: &mut Deadline<'_>) -> Result<usize> {
    // Borrowed for the look alone: a signal handler may receive while this waits.
    let mut look = |socket: &OwnedFd| {
        SEEN.with_borrow_mut(|seen| {
            seen.resize(BURST_SIZE, 0);
            let count = sys::receive(socket, seen, RecvFlags::PEEK)?;
            Ok(data_records_size(&seen[..count]))
        })
    };
    when_readable(socket, deadline, &mut look)
}

/// Takes what lies ready, up to the length of `out`; waits for the first byte. 0: the end of the stream. `flags` are
/// those of recv(2), such as MSG_PEEK.
///
/// # Errors
/// As [`ready_records_size`].
pub fn receive(
    socket: &TcpTransport,
    out: &mut [u8],
    flags: u32,
    deadline: &mut Deadline<'_>,
) -> Result<usize> {
    let flags = RecvFlags::from_bits_retain(flags);
    when_readable(socket, deadline, &mut |socket| {
        sys::receive(socket, out, flags)
    })
}

/// Does something with a socket that has something to read; waits for that without a lock.
fn when_readable(
    socket: &TcpTransport,
    deadline: &mut Deadline<'_>,
    take: &mut dyn FnMut(&OwnedFd) -> core::result::Result<usize, Errno>,
) -> Result<usize> {
    loop {
        socket.check_open()?;
        match take(socket.socket()) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => deadline.check_signals()?,
            Err(Errno::AGAIN) if !deadline.is_blocking() => return Err(Error::NothingReceived),
            Err(Errno::AGAIN) => {
                let nap = deadline.nap()?;
                match sys::wait_readable(socket.socket().as_fd(), Some(nap)) {
                    Ok(true) => {}
                    Ok(false) | Err(Errno::INTR) => deadline.check_signals()?,
                    Err(errno) => return Err(socket.reading_failed(errno)),
                }
            }
            Err(errno) => return Err(socket.reading_failed(errno)),
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
