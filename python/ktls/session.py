"""Sessions: what was agreed when the keys of a connection were installed.

A session says who seals and in what form; the keys and the sequence number live in the engine's
stream. The checks that FreeBSD makes on the way (``docs/freebsd.md`` rows 3 to 20) are made here,
in its order.
"""

import errno
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ktls import _core, backends, log, params, policy
from ktls import constants as c
from ktls.constants import Mode, RecordSplit
from ktls.params import TLSEnable
from ktls.session_keys import first_keys, next_keys
from ktls.sysctl import PREFIX, sysctl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_log = log.logger("backends")


@dataclass(frozen=True, slots=True)
class Session:
    """What one direction of one connection agreed on when its keys were installed.

    Lengths are payload bytes of a record: `max_frame_len` those in force, at most
    `frame_len_limit`, which the peer and ``kern.ipc.tls.maxlen`` allow.
    """

    tls_vminor: int
    cipher_algorithm: int
    key_len: int
    backend: str
    provider: _core.Provider
    frame_len_limit: int
    max_frame_len: int
    block_padding: int = 0
    record_limit: int | None = None
    split: RecordSplit = RecordSplit.NONE
    mode: Mode = Mode.SW

    @property
    def record_params(self) -> _core.RecordParams:
        """How the engine is to write records, whatever their keys."""
        return _core.RecordParams(
            self.provider,
            max_frame_len=self.max_frame_len,
            block_padding=self.block_padding,
            record_limit=self.record_limit,
            split=self.split,
        )

    @property
    def permits_empty_frames(self) -> bool:
        """Whether a write of nothing makes a record: it means something in TLS 1.0 AES-CBC only."""
        return _has_chained_iv(self.tls_vminor, self.cipher_algorithm)

    def __str__(self) -> str:
        suite = params.suite_name(self.tls_vminor, self.cipher_algorithm, self.key_len)
        return f"{suite}, sealed by {self.backend}"


class Slot:
    """Where a socket's session is: empty, then one session until the end.

    The stream keeps it, beside the keys: both come to be in one step. Of two threads that try to
    fill it at once one gets EALREADY.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: _core.SendStream) -> None:
        self._stream = stream

    @property
    def session(self) -> Session | None:
        """None while empty."""
        session: Session | None = self._stream.session
        return session

    @property
    def mode(self) -> Mode:
        """NONE while empty."""
        session = self.session
        return Mode.NONE if session is None else session.mode

    def enable(self, en: TLSEnable, *, listening: bool) -> None:
        """TCP_TXTLS_ENABLE.  Raises OSError with upstream's errno, checked in upstream's order."""
        params.check_lengths(en)
        self._check_enabled()
        params.check(en, cbc_enable=bool(sysctl[PREFIX + "cbc_enable"]))
        session = _create(
            en.tls_vminor,
            en.cipher_algorithm,
            len(en.cipher_key),
            c.TLS_MAX_MSG_SIZE_V10_2,
            handed_over=False,
        )
        direction = first_keys(en)
        # docs/freebsd.md rows 17 to 20.
        if listening:
            raise OSError(
                errno.ENOTCONN, "the socket is listening; enable TLS on the sockets it accepts"
            )
        self._stream.install(direction, session.record_params, session)
        sysctl.count(PREFIX + "stats.offload_total")

    def plan(self, handover: _core.Handover, *, is_enabled: bool = False) -> Session:
        """The session of a handshake that is taken over: the same checks of policy.

        `is_enabled`: the context has switched on for itself.  Raises OSError as ``enable``.
        """
        self._check_enabled(is_enabled=is_enabled)
        cbc = handover.cipher_algorithm == c.CRYPTO_AES_CBC
        if cbc and not sysctl[PREFIX + "cbc_enable"]:
            raise params.cbc_is_off()
        return _interned(
            _create(
                handover.tls_vminor,
                handover.cipher_algorithm,
                handover.key_len,
                handover.max_frame_len,
                handed_over=True,
            )
        )

    def limit_frames(self, max_frame_len: int) -> None:
        """TLS_TX_MAX_PAYLOAD_LEN.  Raises OSError: EINVAL, EBUSY while a record is open."""
        while True:
            session = self._require_session("limit its records")
            # One less in TLS 1.3, whose inner content type counts for the peer (RFC 8449 4).
            least = 64 - (session.tls_vminor == c.TLS_MINOR_VER_THREE)
            if not least <= max_frame_len <= session.frame_len_limit:
                raise OSError(
                    errno.EINVAL,
                    f"a payload of {max_frame_len} bytes is outside {least} to"
                    f" {session.frame_len_limit}, which the version, kern.ipc.tls.maxlen and the"
                    " peer allow",
                )
            changed = replace(session, max_frame_len=max_frame_len)
            # Another thread may have switched its mode meanwhile.
            if self._stream.set_max_frame_len(max_frame_len, session, changed):
                return

    def exchange(self, old: Session, new: Session) -> bool:
        """Put `new` in the place of `old` for what is framed from now on; False: it has changed."""
        return self._stream.exchange_session(old, new)

    def frame_limit(self) -> int:
        """The payload bytes of a record at most.  Raises OSError EINVAL."""
        return self._require_session("ask for its records' length").max_frame_len

    def rekey(self, new: "ReadableBuffer | TLSEnable") -> None:
        """Go on with other keys; see ``Socket.rekey``."""
        session = self._require_session("rekey")
        direction = next_keys(session, new)
        announce = not isinstance(new, TLSEnable)
        self._stream.rekey(direction, session.record_params, announce=announce)

    def _check_enabled(self, *, is_enabled: bool = False) -> None:
        """``docs/freebsd.md`` rows 4 to 9."""
        policy.admit(is_enabled=is_enabled)
        session = self.session
        if session is not None:
            raise OSError(errno.EALREADY, f"the socket has a session already ({session}); it stays")
        if not is_enabled:
            policy.require_ext_pgs()

    def _require_session(self, purpose: str) -> Session:
        self._stream.check_process()
        session = self.session
        if session is None:
            raise OSError(
                errno.EINVAL, f"there is no session to {purpose}; set TCP_TXTLS_ENABLE before"
            )
        return session


@functools.lru_cache(maxsize=64)
def _interned(session: Session) -> Session:
    """The one object of these values: most connections agree on the same."""
    return session


def _create(
    tls_vminor: int, cipher_algorithm: int, key_len: int, limit: int, *, handed_over: bool
) -> Session:
    """Who seals (``docs/freebsd.md`` row 16)."""
    params.check_key_len(cipher_algorithm, key_len)
    try:
        backend, provider = backends.choose(tls_vminor, cipher_algorithm, key_len)
    except OSError as error:
        _log.warning("no backend seals: %s", error.strerror)
        raise
    split = RecordSplit.NONE
    if _has_chained_iv(tls_vminor, cipher_algorithm):
        split = policy.tls10_record_split(handed_over=handed_over)
    return Session(
        tls_vminor,
        cipher_algorithm,
        key_len,
        backend.name,
        provider,
        frame_len_limit=policy.max_frame_len(limit),
        max_frame_len=policy.max_frame_len(limit),
        block_padding=policy.pad_to(tls_vminor),
        record_limit=policy.record_limit(cipher_algorithm),
        split=split,
    )


def _has_chained_iv(tls_vminor: int, cipher_algorithm: int) -> bool:
    """Whether the IV of a record is the end of the one before."""
    return tls_vminor == c.TLS_MINOR_VER_ZERO and cipher_algorithm == c.CRYPTO_AES_CBC
