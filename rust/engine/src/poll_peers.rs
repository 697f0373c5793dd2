//! The sockets that poll descriptors are connected to, a few for many: what their peer is says whether they are
//! writable.
//!
//! All are local datagram sockets with names that the kernel gives. `roomy` and `full` have stopped receiving, so
//! whoever writes to them gets EPIPE. The queue of `full` was filled before that: who is connected to it is not
//! writable. A connected socket takes datagrams from its peer alone, so nobody else makes a descriptor readable.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::fork_lock;
use crate::pool::lock;
use crate::sys;

/// As many as share one set: each may hold a byte of its peers' send buffers.
const MEMBERS: usize = 256;

/// What a byte in a queue counts against the sender's buffer, with room to spare.
const BYTE_COST: usize = 1024;

/// More than this in a queue is memory thrown away.
const LONGEST_QUEUE: usize = 1024;

/// Those of this process, by the number of forks before it: an inherited lock may be held for ever.
static SETS: [Mutex<Sets>; 32] = [const { Mutex::new(Sets::new()) }; 32];

struct Sets {
    fork_count: u32,
    sets: Vec<Arc<PollPeers>>,
    /// This kernel, or a sandbox, does not do what is needed.
    is_refused: bool,
}

struct Peer {
    socket: OwnedFd,
    name: SocketAddrUnix,
}

pub(crate) struct PollPeers {
    fork_count: u32,
    /// Of the network that the names belong to.
    network: u64,
    roomy: Peer,
    full: Peer,
    /// Receives, and is a peer only while a descriptor is made to fail.
    failing: Mutex<Peer>,
}

/// One descriptor's peers, and its own name.
pub(crate) struct Joined {
    peers: Arc<PollPeers>,
    name: SocketAddrUnix,
}

impl Sets {
    const fn new() -> Self {
        Self {
            fork_count: 0,
            sets: Vec::new(),
            is_refused: false,
        }
    }
}

/// A new descriptor that is neither readable nor writable. None: not here, or not now for want of descriptors.
pub(crate) fn join() -> Option<(OwnedFd, Joined)> {
    let fork_count = fork_lock::fork_count();
    let mut sets = lock(&SETS[fork_count as usize % SETS.len()]);
    if sets.fork_count != fork_count {
        // What another process made is not closed: its numbers may be others' here.
        core::mem::forget(core::mem::replace(&mut *sets, Sets::new()));
        sets.fork_count = fork_count;
    }
    if sets.is_refused {
        return None;
    }
    match sets.join() {
        Ok(joined) => Some(joined),
        Err(errno) => {
            sets.is_refused = !matches!(
                errno,
                Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS
            );
            None
        }
    }
}

impl Sets {
    fn join(&mut self) -> Result<(OwnedFd, Joined), Errno> {
        let near = sys::local_socket()?;
        let network = sys::network_of(&near)?;
        // One that nobody uses is kept, for the next.
        let mut has_spare = false;
        self.sets
            .retain(|set| Arc::strong_count(set) > 1 || !core::mem::replace(&mut has_spare, true));
        let free =
            |set: &&Arc<PollPeers>| set.network == network && Arc::strong_count(set) <= MEMBERS;
        if let Some(set) = self.sets.iter().find(free) {
            return set.join(near);
        }
        let made = Arc::new(PollPeers::new(network, self.fork_count)?);
        made.check()?;
        self.sets.push(Arc::clone(&made));
        made.join(near)
    }
}

impl Peer {
    fn new() -> Result<Self, Errno> {
        let socket = sys::local_socket()?;
        let name = sys::bind_local(&socket)?;
        Ok(Self { socket, name })
    }
}

impl PollPeers {
    fn new(network: u64, fork_count: u32) -> Result<Self, Errno> {
        let (roomy, full, failing) = (Peer::new()?, Peer::new()?, Peer::new()?);
        for peer in [&roomy, &full] {
            if sys::enlarge_send_buffer(&peer.socket)? < MEMBERS * BYTE_COST {
                return Err(Errno::OPNOTSUPP);
            }
        }
        fill(&full)?;
        sys::shutdown_read(&roomy.socket)?;
        sys::shutdown_read(&full.socket)?;
        Ok(Self {
            fork_count,
            network,
            roomy,
            full,
            failing: Mutex::new(failing),
        })
    }

    fn join(self: &Arc<Self>, near: OwnedFd) -> Result<(OwnedFd, Joined), Errno> {
        sys::enlarge_send_buffer(&near)?;
        // With a peer before it has a name: nobody else gets anything in.
        sys::connect_local(&near, &self.full.name)?;
        let name = sys::bind_local(&near)?;
        let peers = Arc::clone(self);
        Ok((near, Joined { peers, name }))
    }

    /// Whether this kernel does what is needed; it is asked once for each set.
    fn check(self: &Arc<Self>) -> Result<(), Errno> {
        let (near, joined) = self.join(sys::local_socket()?)?;
        let holds = !sys::is_writable(&near)
            && sys::put_byte(&near) == Err(Errno::PIPE)
            && joined.put_byte(&near, false) == Ok(())
            && sys::take_datagram(&near);
        joined.show_writable(&near, true);
        let holds = holds
            && sys::is_writable(&near)
            && sys::put_byte(&near) == Err(Errno::PIPE)
            && joined.put_byte(&near, true) == Ok(())
            && sys::take_datagram(&near);
        if holds { Ok(()) } else { Err(Errno::OPNOTSUPP) }
    }
}

impl Joined {
    /// Whether this process made the sockets.
    pub(crate) fn is_own(&self) -> bool {
        self.peers.fork_count == fork_lock::fork_count()
    }

    /// Makes the descriptor readable, whose peer is what was shown last.
    pub(crate) fn put_byte(&self, near: &OwnedFd, is_writable: bool) -> Result<(), Errno> {
        let peer = if is_writable {
            &self.peers.roomy
        } else {
            &self.peers.full
        };
        let put = sys::put_byte_to(&peer.socket, &self.name);
        if !matches!(put, Ok(()) | Err(Errno::PIPE)) {
            // A sandbox that came later. One that seems readable for ever loses nothing.
            sys::hang_up(near, false);
        }
        put
    }

    /// Makes the descriptor writable, or not. It is not readable then.
    pub(crate) fn show_writable(&self, near: &OwnedFd, writable: bool) {
        if !writable {
            let _ = sys::connect_local(near, &self.peers.full.name);
            // The kernel wakes those that saw the full queue alone, and a poller of edges does not look.
            sys::is_writable(near);
        } else if sys::connect_local(near, &self.peers.roomy.name).is_err() {
            // A sandbox that came later; without a peer it is writable.
            let _ = sys::disconnect(near);
        }
    }

    /// Makes the descriptor, which is writable, fail and hang up: its peer leaves with something unread.
    pub(crate) fn fail(&self, near: &OwnedFd) {
        let failing = lock(&self.peers.failing);
        let failed = sys::connect_local(near, &failing.name)
            .and_then(|()| sys::connect_local(&failing.socket, &self.name))
            .and_then(|()| sys::put_byte(near));
        // Before the error: who is woken by that sees both.
        sys::hang_up(near, true);
        let _ = failed.and_then(|()| sys::disconnect(&failing.socket));
        // The queue of the other, which receives, is anybody's.
        self.show_writable(near, true);
    }
}

/// Fills the queue of the socket.
fn fill(full: &Peer) -> Result<(), Errno> {
    let mut queued = 0;
    loop {
        // Each sender has room for so many.
        let sender = sys::local_socket()?;
        let before = queued;
        loop {
            match sys::put_byte_to(&sender, &full.name) {
                Ok(()) if queued < LONGEST_QUEUE => queued += 1,
                Ok(()) => return Err(Errno::OPNOTSUPP),
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        if queued == before {
            return Ok(());
        }
    }
}
