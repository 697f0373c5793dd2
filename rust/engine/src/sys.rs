//! Every system call of the engine, and its only `unsafe`. No policy: one call, one function, errno out.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{DupFlags, Errno, ReadWriteFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

/// Duplicates the descriptor of that number.
///
/// # Errors
/// EBADF when it is not open.
pub fn duplicate(raw: RawFd) -> Result<OwnedFd, Errno> {
    if raw < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number only reaches a system call, which refuses one that is not open, and nothing of it outlives
    // the call. A descriptor that is closed and given anew meanwhile is the mistake of whoever closed it.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

/// `recv(2)` of one byte from the socket of that number, without waiting: whether there was one.
///
/// # Errors
/// EBADF when it is not open, ENOTCONN, EAGAIN.
pub fn take_byte(raw: RawFd) -> Result<bool, Errno> {
    if raw < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: as in `duplicate`.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::net::recv(fd, &mut [0; 1][..], RecvFlags::DONTWAIT).map(|(count, _)| count > 0)
}

/// A file in memory, empty, which no other program inherits.
///
/// # Errors
/// EMFILE, ENFILE, ENOSYS.
pub fn memory_file(name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
}

/// Has the three called around every `fork` of this process: before it, after it in the parent, and in the child.
pub(crate) fn at_fork(
    before: extern "C" fn(),
    in_parent: extern "C" fn(),
    in_child: extern "C" fn(),
) {
    // SAFETY: the three are functions of this library, which is never unloaded, and do not unwind. The call fails for
    // want of memory alone; the page that forks wipe is seen then.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// A word that reads 0 in every child, however it was forked; None where the kernel cannot do that.
pub(crate) fn word_wiped_on_fork() -> Option<&'static AtomicU32> {
    let size = rustix::param::page_size();
    // SAFETY: a new private mapping that replaces nothing.
    let page = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the mapping that was just made.
    if unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } != 0 {
        return None;
    }
    // SAFETY: the mapping is aligned to a page, zeroed, and never unmapped.
    Some(unsafe { AtomicU32::from_ptr(page.cast()) })
}

/// Bytes that TCP has taken and the peer has not acknowledged.
pub(crate) fn unacknowledged(socket: &OwnedFd) -> Result<usize, Errno> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the request writes one int to where the pointer says.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if status < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether there is something to read that nobody has taken.
pub(crate) fn has_unread(socket: &OwnedFd) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|count| count > 0)
}

/// SO_LINGER of the socket: None when it is off.
pub(crate) fn linger(socket: &OwnedFd) -> Option<Duration> {
    rustix::net::sockopt::socket_linger(socket).ok().flatten()
}

/// Lets `close(2)` of the socket not wait.
pub(crate) fn clear_linger(socket: &OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, None);
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
    let timeout = timeout.map(timespec);
    Ok(rustix::event::poll(&mut fds, timeout.as_ref())? > 0)
}

/// `recv(2)` that never blocks.
pub(crate) fn receive(socket: &OwnedFd, out: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
    rustix::net::recv(socket, out, flags | RecvFlags::DONTWAIT).map(|(count, _)| count)
}

/// Reads a file into the buffers; with `cached_only` only what needs no wait (`RWF_NOWAIT`), else EAGAIN.
pub(crate) fn read_at(
    file: &OwnedFd,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
    cached_only: bool,
) -> Result<usize, Errno> {
    loop {
        let read = if cached_only {
            rustix::io::preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT)
        } else {
            rustix::io::preadv(file, buffers, offset)
        };
        match read {
            // A file system without RWF_NOWAIT, or a kernel without preadv2 (before 4.6, and emulated ones): an
            // ordinary read, which may wait, is the only one it has.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if cached_only => {
                return read_at(file, buffers, offset, false);
            }
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

/// What a poller tells of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) key: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has ended its side.
    pub(crate) peer_ended: bool,
    /// Both sides have ended.
    pub(crate) hung_up: bool,
    /// The connection has failed.
    pub(crate) failed: bool,
}

/// Which of a socket's states to be told of, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
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
    let mut flags = epoll::EventFlags::ONESHOT;
    if interest.readable {
        flags |= epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    }
    if interest.writable {
        flags |= epoll::EventFlags::OUT;
    }
    let data = epoll::EventData::new_u64(key);
    match epoll::modify(epoll, fd, data, flags) {
        Err(Errno::NOENT) => epoll::add(epoll, fd, data, flags),
        other => other,
    }
}

pub(crate) fn epoll_forget(epoll: &OwnedFd, fd: BorrowedFd<'_>) {
    let _ = epoll::delete(epoll, fd);
}

/// Fills `events` with what happened; sleeps for at most `timeout` until something does, None: as long as it takes.
pub(crate) fn epoll_wait(
    epoll: &OwnedFd,
    events: &mut Vec<Event>,
    timeout: Option<Duration>,
) -> Result<(), Errno> {
    let mut raw = [epoll::Event {
        flags: epoll::EventFlags::empty(),
        data: epoll::EventData::new_u64(0),
    }; 64];
    let timeout = timeout.map(timespec);
    events.clear();
    match epoll::wait(epoll, &mut raw[..], timeout.as_ref()) {
        Ok(count) => {
            events.extend(raw.iter().take(count).map(|event| {
                let flags = event.flags;
                Event {
                    key: event.data.u64(),
                    readable: flags.contains(epoll::EventFlags::IN),
                    writable: flags.contains(epoll::EventFlags::OUT),
                    peer_ended: flags.contains(epoll::EventFlags::RDHUP),
                    hung_up: flags.contains(epoll::EventFlags::HUP),
                    failed: flags.contains(epoll::EventFlags::ERR),
                }
            }));
            Ok(())
        }
        Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// What fills the least send buffer, which the kernel gives no program less than, to more than the quarter that leaves
/// a socket writable, and not wholly: a full one says EAGAIN before EPIPE.
const FILLER: [u8; 1500] = [0; 1500];

/// The most that a program may ask for; the kernel has a limit of its own.
const LARGEST_BUFFER: usize = 1 << 30;

/// A pair of connected local sockets: what is written to the first is refused with EPIPE, and it is not writable.
pub(crate) fn poll_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (near, far) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::send(&near, &FILLER, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&near, 1)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&far, 1)?;
    // Of datagrams this says nothing to the other end but to its writers.
    rustix::net::shutdown(&far, Shutdown::Read)?;
    Ok((near, far))
}

/// Makes the first socket of such a pair writable, or not.
pub(crate) fn set_pair_writable(near: &OwnedFd, writable: bool) {
    let size = if writable { LARGEST_BUFFER } else { 1 };
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(near, size);
}

/// A local datagram socket that does not block, without a name.
pub(crate) fn local_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

/// Gives a local socket a name of the kernel's choice.
pub(crate) fn bind_local(socket: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    rustix::net::bind(socket, &SocketAddrUnix::new_unnamed())?;
    SocketAddrUnix::try_from(rustix::net::getsockname(socket)?)
}

/// Connects a local datagram socket, whatever it was connected to. What lies in its queue is dropped.
pub(crate) fn connect_local(socket: &OwnedFd, name: &SocketAddrUnix) -> Result<(), Errno> {
    rustix::net::connect(socket, name)
}

/// Takes its peer from a local datagram socket.
pub(crate) fn disconnect(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::connect_unspec(socket)
}

pub(crate) fn shutdown_read(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::shutdown(socket, Shutdown::Read)
}

/// Makes the send buffer as large as the kernel lets it be; its size.
pub(crate) fn enlarge_send_buffer(socket: &OwnedFd) -> Result<usize, Errno> {
    rustix::net::sockopt::set_socket_send_buffer_size(socket, LARGEST_BUFFER)?;
    rustix::net::sockopt::socket_send_buffer_size(socket)
}

/// Which network the socket belongs to: a number that is no other's while the system runs.
pub(crate) fn network_of(socket: &OwnedFd) -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    let mut len: libc::socklen_t = u64::BITS / 8;
    // SAFETY: the descriptor is open, and at most `len` bytes are written to where the pointers say.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if status < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(cookie)
}

/// Whether the socket is writable now.
pub(crate) fn is_writable(socket: &OwnedFd) -> bool {
    wait_writable(socket.as_fd(), Some(Duration::ZERO)) == Ok(true)
}

/// Sends one byte to the local socket of that name if there is room.
pub(crate) fn put_byte_to(from: &OwnedFd, to: &SocketAddrUnix) -> Result<(), Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendto(from, &[0], flags, to).map(drop)
}

/// Sends one byte if there is room.
pub(crate) fn put_byte(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::net::send(fd, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
}

/// Hangs the first socket of such a pair up: both ways (POLLHUP), or what it reads (POLLRDHUP).
pub(crate) fn hang_up(near: &OwnedFd, both: bool) {
    let how = if both { Shutdown::Both } else { Shutdown::Read };
    let _ = rustix::net::shutdown(near, how);
}

/// Makes the first socket of such a pair fail, by what the second does: it leaves with something unread.
pub(crate) fn fail_pair(far: &OwnedFd) {
    let _ = rustix::net::connect_unspec(far);
}

/// Gives the number of `old` to the file that `new` is, in one step.
pub(crate) fn replace(new: &OwnedFd, old: &mut OwnedFd) -> Result<(), Errno> {
    rustix::io::dup3(new, old, DupFlags::CLOEXEC)
}

/// Takes one datagram and drops it; whether there was one.
pub(crate) fn take_datagram(fd: &OwnedFd) -> bool {
    matches!(rustix::io::read(fd, &mut [0]), Ok(1..))
}

/// The processors that the calling thread may run on.
pub(crate) fn allowed_cpus() -> Result<Vec<usize>, Errno> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect())
}

/// Keeps the calling thread on these processors.
pub(crate) fn bind_to_cpus(cpus: &[usize]) -> Result<(), Errno> {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// Whether the calling thread is the one that the process began with.
pub(crate) fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// Whether the descriptor is a TCP socket.
pub(crate) fn is_tcp(fd: &impl AsFd) -> Result<bool, Errno> {
    let kind = rustix::net::sockopt::socket_type(fd)?;
    let domain = rustix::net::sockopt::socket_domain(fd)?;
    Ok(kind == SocketType::STREAM
        && (domain == AddressFamily::INET || domain == AddressFamily::INET6))
}
