"""`prepare`: makes the secrets of a context's handshakes readable, once, before the handshakes.

A prepared context stays a stock `ssl.SSLContext`: `wrap_socket` and `wrap_bio` work as before, and
leave nothing in the key log in memory (`stock.py`). What is set here is looked at again at every
handshake (`prepared`), because a context that was changed in between would hand over nothing, or
the wrong thing.
"""

import os
import ssl
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ktls._core import OpenSSLSide
from ktls.errors import HandoverError
from ktls.handover.keylog import Log, process_log, user_log
from ktls.handover.stock import sweep_after_calls
from ktls.per_process import PerProcess


@dataclass(slots=True)
class Prepared:
    """What was done to a context."""

    keylog_filename: str | None
    log: Log | None
    refusal: str = ""
    """Why no secret can be read, or an empty string."""
    is_enabled: bool = False
    """Whether the context asks for this library by its type: `kern.ipc.tls.enable` is not asked."""


def prepare(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context ready for `ktls.wrap_socket`, once it is set up, and return it.

    A key log in memory is set (`keylog_filename`; a file that the user set there already is kept
    and only read), OP_NO_RENEGOTIATION is set, and an SNI callback is wrapped so that the context
    that it puts in place is prepared, too. A second call changes nothing; where the context was
    changed since, the next hand-over does it again. What *stock* connections of the context write
    to the key log in memory is wiped at the end of each call; a `sslsocket_class` or
    `sslobject_class` of your own is left as it is, and its lines stay until anybody else's call
    wipes them.

    TypeError for anything but an `ssl.SSLContext`.
    """
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"prepare() takes an ssl.SSLContext, not {type(context).__name__}")
    _prepare(context)
    return context


def prepare_enabled(context: ssl.SSLContext) -> None:
    """As `prepare`, for a context whose type asks for this library, whatever the switch says."""
    if not _prepare(context).is_enabled:
        _states[context].is_enabled = True


def _prepare(context: ssl.SSLContext) -> Prepared:
    with _lock():
        state = _current(context)
        if state is None or _is_changed(context, state):
            state = _states[context] = _arm(context, state)
        _wrap_sni_callback(context)
    return state


def prepared(context: ssl.SSLContext, server_side: bool) -> Prepared:
    """Return what `prepare` did to the context, done again where the context was changed since.

    That is safe at any time: `keylog_filename` is written only where it is None, so that no
    handshake of another thread is logging.

    TypeError for anything but an `ssl.SSLContext`; HandoverError when it was never prepared.
    """
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"an ssl.SSLContext is needed, not {type(context).__name__}")
    state = _current(context)
    if state is None:
        raise HandoverError(
            "this SSLContext was not prepared: call ktls.prepare(ctx) first, or use a"
            " ktls.SSLContext"
        )
    if _is_changed(context, state) or server_side:
        state = _prepare(context)
    return state


def follow(owner: Any, side: OpenSSLSide) -> None:
    """Let this handshake read the log of any context that an SNI callback puts in place.

    `owner` is whom the callback is given.
    """
    _followed[owner] = side


def unfollow(owner: Any) -> None:
    """The handshake has ended."""
    _followed.pop(owner, None)


# A signal handler may come back here in the middle.
_lock = PerProcess(threading.RLock)
_states: weakref.WeakKeyDictionary[ssl.SSLContext, Prepared] = weakref.WeakKeyDictionary()
_followed: weakref.WeakKeyDictionary[Any, OpenSSLSide] = weakref.WeakKeyDictionary()

_NO_RENEGOTIATION: Final = ssl.OP_NO_RENEGOTIATION


def _current(context: ssl.SSLContext) -> Prepared | None:
    """What was done to the context, done again in a forked child.

    The child must not read, or be read by, its parent.
    """
    state = _states.get(context)
    if state is None or state.log is None or not state.log.reader.is_inherited:
        return state
    if _is_changed(context, state):
        return state
    if state.log.in_memory:
        context.keylog_filename = None  # type: ignore[assignment]  # the stub forgets None
    state = _states[context] = _arm(context, state)
    return state


def _arm(context: ssl.SSLContext, before: Prepared | None) -> Prepared:
    is_enabled = before is not None and before.is_enabled
    context.options |= _NO_RENEGOTIATION
    path = context.keylog_filename
    if path is not None:
        try:
            return Prepared(path, user_log(path), is_enabled=is_enabled)
        except OSError as error:
            return Prepared(path, None, _unreadable(path, error), is_enabled)
    try:
        log = process_log()
        context.keylog_filename = log.path
    except OSError as error:
        reason = f"no key log in memory can be made here: {error}"
        return Prepared(None, None, reason, is_enabled)
    sweep_after_calls(context)
    return Prepared(log.path, log, is_enabled=is_enabled)


def _unreadable(path: str, error: OSError) -> str:
    return (
        f"the context's own key log {path!r} cannot be read back ({error.strerror or error}): "
        "set keylog_filename to a readable regular file, or to None, before ktls.prepare(ctx)"
    )


def _is_changed(context: ssl.SSLContext, state: Prepared) -> bool:
    return (
        context.keylog_filename != state.keylog_filename or not context.options & _NO_RENEGOTIATION
    )


class _SNIHook:
    """The user's SNI callback; the context that it puts in place is prepared and followed."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback

    def __call__(self, owner: Any, name: str, context: ssl.SSLContext) -> Any:
        side = _followed.get(owner)
        if side is None:
            return self.callback(owner, name, context)
        answer = side.call_back(self.callback, owner, name, context)
        current = owner.context
        if current is not context:
            prepare(current)
            if (log := _states[current].log) is not None:
                side.follow(log.reader)
        return answer


def _wrap_sni_callback(context: ssl.SSLContext) -> None:
    callback = context.sni_callback
    if callback is not None and not isinstance(callback, _SNIHook):
        context.sni_callback = _SNIHook(callback)


def _prepare_again_in_child() -> None:
    """After fork, before the child's stock handshakes log into its parent's file.

    Safe here: the child has one thread, so that nothing is logged while the file changes. A fork
    that runs no hook is made up for when the context is used next.
    """
    for context in list(_states):
        _current(context)


os.register_at_fork(after_in_child=_prepare_again_in_child)
