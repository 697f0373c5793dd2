//! Every system call of the engine, and its only `unsafe`. No policy: one call, one function, errno out.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

/// Duplicates the descriptor of that number.
///
/// # Errors
/// EBADF when it is not open.
pub fn duplicate(raw: RawFd) -> Result<OwnedFd, Errno> {
    with_descriptor(raw, |fd| rustix::io::fcntl_dupfd_cloexec(fd, 0))?
}

/// Does something with the descriptor of that number, which the caller keeps open meanwhile.
///
/// # Errors
/// EBADF for a number that no descriptor can have.
pub fn with_descriptor<T>(raw: RawFd, call: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T, Errno> {
    if raw < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number only reaches system calls, which refuse one that is not open, and nothing of it outlives
    // `call`. A descriptor that is closed and given anew meanwhile is the mistake of whoever closed it.
    Ok(call(unsafe { BorrowedFd::borrow_raw(raw) }))
}

/// `send(2)` that never blocks and never raises SIGPIPE.
pub(crate) fn send(socket: &OwnedFd, data: &[u8], more: bool) -> Result<usize, Errno> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if more {
        flags |= SendFlags::MORE;
    }
    rustix::net::send(socket, data, flags)
}

/// Resets the connection, whoever else holds a descriptor of it.
pub(crate) fn reset(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::connect_unspec(socket)
}

pub(crate) fn shutdown_write(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::shutdown(socket, Shutdown::Write)
}

/// Waits until the socket is writable or failed; `None` waits without limit. Ok(false): the time is over.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Errno> {
    wait_for(fd, PollFlags::OUT, timeout)
}

/// Waits until the socket is readable, at its end or failed; otherwise as [`wait_writable`].
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Errno> {
    wait_for(fd, PollFlags::IN, timeout)
}

/// Whether nothing can be sent or received, and there is no error to say why: before a connection, or long after it.
pub(crate) fn has_hung_up(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let polled = rustix::event::poll(&mut fds, Some(&at_once)).is_ok();
    let found = fds[0].revents();
    polled && found.contains(PollFlags::HUP) && !found.contains(PollFlags::ERR)
}

fn wait_for(fd: BorrowedFd<'_>, what: PollFlags, timeout: Option<Duration>) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(fd, what)];
    let timeout = timeout.map(|t| Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(t.subsec_nanos()),
    });
    Ok(rustix::event::poll(&mut fds, timeout.as_ref())? > 0)
}

/// Looks at what a socket has without taking it; waits for something unless told otherwise.
pub(crate) fn peek(socket: BorrowedFd<'_>, out: &mut [u8], at_once: bool) -> Result<usize, Errno> {
    let flags = if at_once {
        RecvFlags::PEEK | RecvFlags::DONTWAIT
    } else {
        RecvFlags::PEEK
    };
    rustix::net::recv(socket, out, flags).map(|(count, _)| count)
}

/// Takes what a socket has.
pub(crate) fn receive(socket: BorrowedFd<'_>, out: &mut [u8]) -> Result<usize, Errno> {
    rustix::net::recv(socket, out, RecvFlags::empty()).map(|(count, _)| count)
}

/// Reads a file into the buffers; with `cached_only` only what needs no wait (`RWF_NOWAIT`), else EAGAIN.
pub(crate) fn read_at(
    file: &OwnedFd,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
    cached_only: bool,
) -> Result<usize, Errno> {
    let flags = if cached_only {
        ReadWriteFlags::NOWAIT
    } else {
        ReadWriteFlags::empty()
    };
    loop {
        match rustix::io::preadv2(file, buffers, offset, flags) {
            // A file system without RWF_NOWAIT: an ordinary read, which may wait, is the only one it has.
            Err(Errno::OPNOTSUPP) if cached_only => return read_at(file, buffers, offset, false),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Length of a regular file; None for anything else.
pub(crate) fn regular_file_len(file: &OwnedFd) -> Result<Option<u64>, Errno> {
    let stat = rustix::fs::fstat(file)?;
    let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    Ok(regular.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Overwrites a range of a file with zeros and gives its pages back; its length stays.
///
/// # Errors
/// EOPNOTSUPP where the file system cannot; EBADF for a file that is not open for writing.
pub fn discard(file: impl AsFd, offset: u64, len: u64) -> Result<(), Errno> {
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, offset, len)
}

/// A new event descriptor that does not block.
pub(crate) fn eventfd() -> Result<OwnedFd, Errno> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Adds one to an event descriptor; a full one is as good.
pub(crate) fn eventfd_signal(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Empties an event descriptor.
pub(crate) fn eventfd_clear(fd: &OwnedFd) {
    let _ = rustix::io::read(fd, &mut [0u8; 8]);
}

/// Which of a socket's states to be told of, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

pub(crate) fn epoll() -> Result<OwnedFd, Errno> {
    epoll::create(epoll::CreateFlags::CLOEXEC)
}

/// Watches an event descriptor for ever.
pub(crate) fn epoll_watch(epoll: &OwnedFd, fd: &OwnedFd, key: u64) -> Result<(), Errno> {
    epoll::add(
        epoll,
        fd,
        epoll::EventData::new_u64(key),
        epoll::EventFlags::IN,
    )
}

/// Asks for one event of a socket; the first call and any later one alike.
pub(crate) fn epoll_arm(
    epoll: &OwnedFd,
    fd: BorrowedFd<'_>,
    key: u64,
    interest: Interest,
) -> Result<(), Errno> {
    let flags = epoll::EventFlags::ONESHOT
        | match interest {
            Interest::Readable => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
            Interest::Writable => epoll::EventFlags::OUT,
        };
    let data = epoll::EventData::new_u64(key);
    match epoll::modify(epoll, fd, data, flags) {
        Err(Errno::NOENT) => epoll::add(epoll, fd, data, flags),
        other => other,
    }
}

pub(crate) fn epoll_forget(epoll: &OwnedFd, fd: BorrowedFd<'_>) {
    let _ = epoll::delete(epoll, fd);
}

/// Fills `keys` with the keys of what happened; `wait` sleeps until something does.
pub(crate) fn epoll_wait(epoll: &OwnedFd, keys: &mut Vec<u64>, wait: bool) -> Result<(), Errno> {
    let mut events = [epoll::Event {
        flags: epoll::EventFlags::empty(),
        data: epoll::EventData::new_u64(0),
    }; 64];
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let timeout = if wait { None } else { Some(&zero) };
    keys.clear();
    match epoll::wait(epoll, &mut events[..], timeout) {
        Ok(count) => {
            keys.extend(events.iter().take(count).map(|event| event.data.u64()));
            Ok(())
        }
        Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A pair of connected local sockets with the least buffers, neither blocking.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (near, far) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    for end in [&near, &far] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, 1)?;
    }
    Ok((near, far))
}

/// Writes filler until the descriptor takes no more.
pub(crate) fn fill(fd: &OwnedFd) {
    while rustix::net::send(fd, &[0; 1024], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {}
}

/// Writes one byte if there is room.
pub(crate) fn put_byte(fd: &OwnedFd) {
    let _ = rustix::net::send(fd, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Reads and drops what is there.
pub(crate) fn drain(fd: &OwnedFd) {
    let mut scrap = [0; 4096];
    while matches!(rustix::io::read(fd, &mut scrap), Ok(1..)) {}
}

/// Binds the calling thread to one processor of those it may use, counted round.
pub(crate) fn bind_to_cpu(index: usize) -> Result<(), Errno> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect();
    let Some(&cpu) = cpus.get(index.checked_rem(cpus.len()).unwrap_or(0)) else {
        return Err(Errno::INVAL);
    };
    let mut one = rustix::thread::CpuSet::new();
    one.set(cpu);
    rustix::thread::sched_setaffinity(None, &one)
}

/// Whether the descriptor is a TCP socket.
pub(crate) fn is_tcp(fd: &impl AsFd) -> Result<bool, Errno> {
    let kind = rustix::net::sockopt::socket_type(fd)?;
    let domain = rustix::net::sockopt::socket_domain(fd)?;
    Ok(kind == SocketType::STREAM
        && (domain == AddressFamily::INET || domain == AddressFamily::INET6))
}
