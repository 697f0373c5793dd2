//! Takes bytes off a socket as they are, for a TLS library that opens records itself. It keeps nothing.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sys;
use crate::transport::TcpTransport;

/// Takes what lies ready, up to the length of `out`; waits for the first byte, without a lock. 0: the end of the
/// stream. `flags` are those of recv(2), such as MSG_PEEK.
///
/// # Errors
/// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, or whatever ended the connection.
pub fn receive(
    transport: &TcpTransport,
    out: &mut [u8],
    flags: u32,
    deadline: &mut Deadline<'_>,
) -> Result<usize> {
    let socket = transport.socket();
    loop {
        transport.check_open()?;
        match sys::receive(socket, out, RecvFlags::from_bits_retain(flags)) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => deadline.check_signals()?,
            Err(Errno::AGAIN) if !deadline.is_blocking() => return Err(Error::NothingReceived),
            Err(Errno::AGAIN) => {
                let nap = deadline.nap()?;
                match sys::wait_readable(socket.as_fd(), Some(nap)) {
                    Ok(true) => {}
                    Ok(false) | Err(Errno::INTR) => deadline.check_signals()?,
                    Err(errno) => return Err(transport.reading_failed(errno)),
                }
            }
            Err(errno) => return Err(transport.reading_failed(errno)),
        }
    }
}
