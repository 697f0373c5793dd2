"""`prepare`: makes the secrets of a context's handshakes readable, once, before the handshakes.

A prepared context stays a stock `ssl.SSLContext`: `wrap_socket` and `wrap_bio` work as before, and
leave nothing in the key log in memory (`stock.py`). What is set here is looked at again at every
handshake (`prepared`), because a context that was changed in between would hand over nothing, or
the wrong thing.
"""

import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ktls._core import OpenSSLSide
from ktls.errors import HandoverError
from ktls.handover.keylog import Log, process_log, user_log
from ktls.handover.stock import sweep_after_calls
from ktls.handover.weak_identity import WeakIdentityMap
from ktls.per_process import PerProcess


@dataclass(slots=True)
class Prepared:
    """What was done to a context."""

    keylog_filename: str | None
    log: Log | None
    refusal: str = ""
    """Why no secret can be read, or an empty string.  It may be otherwise the next time."""


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


def is_enabled(context: ssl.SSLContext) -> bool:
    """Whether the context asks for this library by its type: `kern.ipc.tls.enable` is not asked."""
    return bool(getattr(context, "_enables_ktls", False))


def _prepare(context: ssl.SSLContext) -> Prepared:
    with _lock():
        state = _current(context)
        if state is None or _is_to_be_armed(context, state):
            state = _arm(context)
            _states.set(context, state)
        _wrap_sni_callback(context)
    return state


def prepared(context: ssl.SSLContext, server_side: bool) -> Prepared:
    """Return what `prepare` did to the context, done again where the context was changed since.

    That is safe at any time: `keylog_filename` is written only where it is None, so that no
    handshake of another thread is logging.

    A `ktls.SSLContext` is prepared here at the latest.

    TypeError for anything but an `ssl.SSLContext`; HandoverError when it was never prepared.
    """
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"an ssl.SSLContext is needed, not {type(context).__name__}")
    state = _current(context)
    if state is None and not is_enabled(context):
        raise HandoverError(
            "this SSLContext was not prepared: call ktls.prepare(ctx) first, or use a"
            " ktls.SSLContext"
        )
    if state is None or server_side or _is_to_be_armed(context, state):
        state = _prepare(context)
    return state


def follow(owner: Any, side: OpenSSLSide) -> None:
    """Let this handshake read the log of any context that an SNI callback puts in place.

    `owner` is whom the callback is given.
    """
    _followed.set(owner, side)


def unfollow(owner: Any) -> None:
    """The handshake has ended."""
    _followed.discard(owner)


# A signal handler may come back here in the middle.
_lock = PerProcess(threading.RLock)
_states: WeakIdentityMap[Prepared] = WeakIdentityMap()
_followed: WeakIdentityMap[OpenSSLSide] = WeakIdentityMap()

_NO_RENEGOTIATION: Final = ssl.OP_NO_RENEGOTIATION
# As OpenSSL has them: a `ktls.SSLContext` shows what its user set.
_ATTRIBUTES: Final = vars(ssl._ssl._SSLContext)  # type: ignore[attr-defined]  # the stub leaves it out
_KEYLOG_FILENAME: Final[Any] = _ATTRIBUTES["keylog_filename"]
_SNI_CALLBACK: Final[Any] = _ATTRIBUTES["sni_callback"]


def keylog_filename(context: ssl.SSLContext) -> str | None:
    """Return the key log file that the user chose; None for the one in memory, too."""
    path: str | None = _KEYLOG_FILENAME.__get__(context)
    return None if _is_in_memory(context, path) else path


def set_keylog_filename(context: ssl.SSLContext, path: Any) -> None:
    """As `SSLContext.keylog_filename`; None leaves the one in memory where it is."""
    if path is not None or not _is_in_memory(context, _KEYLOG_FILENAME.__get__(context)):
        _KEYLOG_FILENAME.__set__(context, path)


def _is_in_memory(context: ssl.SSLContext, path: str | None) -> bool:
    state = _states.get(context)
    if state is None or state.log is None:
        return False
    return state.log.in_memory and path == state.keylog_filename


def sni_callback(context: ssl.SSLContext) -> Callable[..., Any] | None:
    """Return the callback that the user set."""
    callback: Callable[..., Any] | None = _SNI_CALLBACK.__get__(context)
    return callback.callback if isinstance(callback, _SNIHook) else callback


def set_sni_callback(context: ssl.SSLContext, callback: Any) -> None:
    """As `SSLContext.sni_callback`; the next hand-over wraps it."""
    _SNI_CALLBACK.__set__(context, callback)


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
        _KEYLOG_FILENAME.__set__(context, None)
    state = _arm(context)
    _states.set(context, state)
    return state


def _arm(context: ssl.SSLContext) -> Prepared:
    context.options |= _NO_RENEGOTIATION
    path = _KEYLOG_FILENAME.__get__(context)
    made = process_log.made()
    # It is there already when a signal handler raised before this was remembered.
    in_memory = made is not None and path == made.path
    if path is not None and not in_memory:
        try:
            return Prepared(path, user_log(path))
        except OSError as error:
            return Prepared(path, None, _unreadable(path, error))
    try:
        log = process_log()
        if not in_memory:
            _KEYLOG_FILENAME.__set__(context, log.path)
    except OSError as error:
        return Prepared(None, None, f"no key log in memory can be made here: {error}")
    sweep_after_calls(context)
    return Prepared(log.path, log)


def _unreadable(path: str, error: OSError) -> str:
    return (
        f"the context's own key log {path!r} cannot be read back ({error.strerror or error}): "
        "set keylog_filename to a readable regular file, or to None, before ktls.prepare(ctx)"
    )


def _is_to_be_armed(context: ssl.SSLContext, state: Prepared) -> bool:
    """Whether it is to be done again: what came in the way may have gone, such as EMFILE."""
    return state.log is None or _is_changed(context, state)


def _is_changed(context: ssl.SSLContext, state: Prepared) -> bool:
    return (
        _KEYLOG_FILENAME.__get__(context) != state.keylog_filename
        or not context.options & _NO_RENEGOTIATION
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
            log = _prepare(current).log
            if log is not None:
                side.follow(log.reader)
        return answer


def _wrap_sni_callback(context: ssl.SSLContext) -> None:
    callback = _SNI_CALLBACK.__get__(context)
    if callback is not None and not isinstance(callback, _SNIHook):
        _SNI_CALLBACK.__set__(context, _SNIHook(callback))


def _prepare_again_in_child() -> None:
    """After fork, before the child's stock handshakes log into its parent's file.

    Safe here: the child has one thread, so that nothing is logged while the file changes. A fork
    that runs no hook is made up for when the context is used next.
    """
    for context in _states.alive():
        _current(context)


os.register_at_fork(after_in_child=_prepare_again_in_child)
