//! Who drives a stream: who sends now, who will go on, and whom a thread that leaves has to call.
//!
//! A stream with bytes in it is never left alone. What a leaving thread owes it ([`Driver::next_duty`]), first row first:
//!
//! | what is so | who goes on | duty |
//! |---|---|---|
//! | nothing to seal or send | nobody needs to | `None` |
//! | a thread sends, a worker is here, or a batch is being sealed | they come back and ask again | `None` |
//! | TCP takes bytes | a worker | `Schedule` |
//! | TCP is full, the poller watches, or a caller polls the socket itself | they do | `None` |
//! | TCP is full | the poller, which then schedules | `Watch` |

/// What a thread that leaves owes the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    None,
    /// Give it a turn at its worker.
    Schedule,
    /// Have the poller watch its socket.
    Watch,
}

/// See the head of this file.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each names one who can go on; the table says what they mean together"
)]
pub(super) struct Driver {
    sending: bool,
    /// A thread has a batch ready and waits for its turn to send it.
    send_wanted: bool,
    /// A worker stays with this stream: what is appended is seen.
    worker_active: bool,
    /// TCP took nothing at the last try.
    blocked: bool,
    /// The poller tells when the socket is writable.
    watched: bool,
    /// Callers inside poll(2) on the socket, who go on by themselves.
    polling: usize,
}

impl Driver {
    /// Whether a thread that comes now may send.
    pub(super) fn may_send(&self) -> bool {
        !self.sending && !self.blocked
    }

    /// A thread begins to send; [`Driver::end_send`] is owed.
    pub(super) fn begin_send(&mut self) {
        self.sending = true;
        self.send_wanted = false;
    }

    /// It has ended.
    pub(super) fn end_send(&mut self) {
        self.sending = false;
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Whether the head is another thread's, which waits for its turn: it has the batch in its cache.
    pub(super) fn is_send_wanted(&self) -> bool {
        self.send_wanted
    }

    pub(super) fn want_send(&mut self, wanted: bool) {
        self.send_wanted = wanted;
    }

    /// TCP takes nothing.
    pub(super) fn block(&mut self) {
        self.blocked = true;
    }

    /// TCP may take something.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn set_worker_active(&mut self, active: bool) {
        self.worker_active = active;
    }

    pub(super) fn is_worker_active(&self) -> bool {
        self.worker_active
    }

    /// The poller has the socket.
    pub(super) fn watch(&mut self) {
        self.watched = true;
    }

    /// The poller has told, and watches no more.
    pub(super) fn end_watch(&mut self) {
        self.watched = false;
        self.blocked = false;
    }

    pub(super) fn begin_poll(&mut self) {
        self.polling += 1;
    }

    pub(super) fn end_poll(&mut self) {
        self.polling = self.polling.saturating_sub(1);
    }

    /// Whether what lies ready will be sent without the thread that put it there.
    pub(super) fn has_driver(&self) -> bool {
        self.sending || self.worker_active || (self.blocked && (self.watched || self.polling > 0))
    }

    /// What a thread that leaves owes.
    pub(super) fn next_duty(&self, has_work: bool, is_sealing: bool) -> Duty {
        if !has_work || self.sending || self.worker_active || is_sealing {
            Duty::None
        } else if !self.blocked {
            Duty::Schedule
        } else if self.watched || self.polling > 0 {
            Duty::None
        } else {
            Duty::Watch
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Driver, Duty};

    #[test]
    fn nothing_to_do_is_no_duty() {
        let mut driver = Driver::default();
        assert_eq!(driver.next_duty(false, false), Duty::None);
        driver.block();
        assert_eq!(driver.next_duty(false, false), Duty::None);
    }

    #[test]
    fn work_without_anybody_is_scheduled() {
        let driver = Driver::default();
        assert_eq!(driver.next_duty(true, false), Duty::Schedule);
        assert!(!driver.has_driver());
    }

    #[test]
    fn whoever_is_inside_asks_again_at_the_end() {
        let mut driver = Driver::default();
        driver.begin_send();
        assert_eq!(driver.next_duty(true, false), Duty::None);
        assert!(!driver.may_send());
        driver.end_send();
        driver.set_worker_active(true);
        assert_eq!(driver.next_duty(true, false), Duty::None);
        driver.set_worker_active(false);
        assert_eq!(driver.next_duty(true, true), Duty::None, "being sealed");
        assert_eq!(driver.next_duty(true, false), Duty::Schedule);
    }

    #[test]
    fn a_full_socket_is_watched_once() {
        let mut driver = Driver::default();
        driver.block();
        assert!(!driver.may_send());
        assert!(!driver.has_driver(), "full, and nobody looks");
        assert_eq!(driver.next_duty(true, false), Duty::Watch);
        driver.watch();
        assert!(driver.has_driver());
        assert_eq!(driver.next_duty(true, false), Duty::None);
        driver.end_watch();
        assert_eq!(driver.next_duty(true, false), Duty::Schedule);
    }

    #[test]
    fn a_caller_that_polls_is_enough() {
        let mut driver = Driver::default();
        driver.block();
        driver.begin_poll();
        driver.begin_poll();
        assert_eq!(driver.next_duty(true, false), Duty::None);
        driver.end_poll();
        assert_eq!(driver.next_duty(true, false), Duty::None);
        driver.end_poll();
        assert_eq!(driver.next_duty(true, false), Duty::Watch);
    }

    #[test]
    fn the_head_is_left_to_the_thread_that_wants_it_until_somebody_sends() {
        let mut driver = Driver::default();
        driver.want_send(true);
        assert!(driver.is_send_wanted());
        driver.begin_send();
        assert!(!driver.is_send_wanted());
    }
}
