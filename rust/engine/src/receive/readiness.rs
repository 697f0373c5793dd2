//! Whether the program's poll descriptor is readable: when a record is here that a reader gets something of, and not for
//! a part of one, nor for what the peer says about the connection.

use super::stream::RecvStream;
use crate::poll_fd::ReadReadiness;

impl ReadReadiness for RecvStream {
    fn look(&self, tell: &mut dyn FnMut(bool)) -> bool {
        // Whoever waits for the socket takes what came, and tells afterwards.
        if self.is_awaited() {
            return false;
        }
        let Ok(mut state) = self.enter() else {
            return false;
        };
        if state.keys.is_none() {
            tell(true);
            return false;
        }
        let is_ready = state.look(self.transport());
        tell(is_ready);
        let watch = !is_ready && !state.waits_for_keys();
        let replies = state.take_replies();
        drop(state);
        self.reply(&replies);
        watch
    }

    fn tell_rest(&self, tell: &mut dyn FnMut(bool)) -> bool {
        let Ok(mut state) = self.enter() else {
            return false;
        };
        let is_ready = if state.low_water > 1 {
            state.look(self.transport())
        } else {
            state.look_inside(self.transport())
        };
        tell(is_ready);
        let watch = !is_ready && !state.waits_for_keys();
        let replies = state.take_replies();
        drop(state);
        self.reply(&replies);
        watch
    }
}
