//! What a stream is to the pool: turns at a worker, news of its socket, and its end when nobody waits for it any more.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::SendStream;
use super::drive::{Role, Step};
use crate::error::{Error, Result};
use crate::pool::{Expiry, Task};
use crate::{counters, tunables};

impl SendStream {
    fn run_worker_turn(self: &Arc<Self>, waited: Duration) -> Result<()> {
        let mut state = self.enter()?;
        if let Some(keys) = &state.buffer.write_state {
            keys.key.times.wait.add(waited);
        }
        state.driver.set_worker_active(true);
        let quantum = tunables::quantum::get() as u64;
        let begin = state.buffer.wire_sent();
        let mut is_used_up = false;
        loop {
            let (after, step) = self.step(state, Role::Worker);
            let Some(entered) = after else { return Ok(()) };
            state = entered;
            match step {
                Step::Progress if state.buffer.wire_sent() - begin >= quantum => {
                    is_used_up = true;
                    break;
                }
                Step::Progress => {}
                Step::Blocked | Step::Failed => break,
                Step::Empty if !self.burst.in_burst() => break,
                Step::Empty | Step::Busy => {
                    let seen = self.changes.load(Ordering::Acquire);
                    drop(state);
                    let changed = self.spin(seen);
                    state = self.enter()?;
                    if !changed {
                        break;
                    }
                }
            }
        }
        state.driver.set_worker_active(false);
        if is_used_up && state.buffer.has_work() {
            // Even when others are at it: a stream of that much is worth two threads.
            drop(state);
            if !self.pool.schedule(self) {
                self.drain_here();
            }
        } else {
            self.settle_entered(state);
        }
        Ok(())
    }
}

impl Task for SendStream {
    fn id(&self) -> u64 {
        self.id
    }

    fn queue(&self) -> usize {
        self.queue
    }

    fn scheduled(&self) -> &AtomicBool {
        &self.scheduled
    }

    fn run_quantum(self: Arc<Self>, waited: Duration) {
        self.scheduled.store(false, Ordering::Release);
        // In a forked child there is no worker.
        let _ = self.run_worker_turn(waited);
    }

    fn on_writable(&self) {
        if let Ok(mut state) = self.enter() {
            state.driver.end_watch();
            self.note_change(&state);
        }
    }

    fn on_panic(&self) {
        self.fail_after_panic();
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.transport.poll_fd()
    }

    fn unsent(&self) -> usize {
        self.enter().map_or(0, |state| {
            if state.life.has_failed() {
                return 0;
            }
            let unsent =
                state.buffer.held() + state.async_writes.waiting_len() + self.transport.at_risk();
            // Records without payload, and a FIN that is due, count as something.
            unsent.max(usize::from(
                state.buffer.has_work() || state.driver.is_sending(),
            ))
        })
    }

    fn expire(&self, now: Instant) -> Expiry {
        let Ok(mut state) = self.enter() else {
            return Expiry::Ended;
        };
        if state.life.has_failed() {
            return Expiry::Ended;
        }
        if !state.life.is_closed() {
            return Expiry::Open;
        }
        let wire_sent = state.buffer.wire_sent();
        let timeout = tunables::linger_timeout::get();
        match state.life.stalled_since(wire_sent, now) {
            Some(since)
                if now.saturating_duration_since(since).as_millis() >= 1000 * timeout as u128 =>
            {
                counters::LINGER_RESETS.add(1);
                self.fail(&mut state, Error::LingerPassed(timeout));
                Expiry::Ended
            }
            _ => {
                drop(state);
                Expiry::Lingers {
                    hears: self.transport.drop_unread(),
                }
            }
        }
    }
}
