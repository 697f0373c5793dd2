"""Sessions: what was agreed when the keys of a connection were installed.

A session says who seals and in what form; the keys and the sequence number live in the engine's
stream. The checks that FreeBSD makes on the way (rows 3 to 20 of TCP_TXTLS_ENABLE) are made here,
in its order.
"""

import errno
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypedDict

from ktls import _core, backends, params, policy
from ktls import constants as c
from ktls.constants import Mode
from ktls.fragments import Fragment
from ktls.params import TLSEnable
from ktls.sysctl import PREFIX, sysctl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


KEY_UPDATE: Final = bytes([24, 0, 0, 1, 0])
"""The message that announces the next keys and asks for none (RFC 8446 4.6.3)."""


class _Form(TypedDict):
    provider: str
    max_frame_len: int
    pad_to: int
    record_limit: int | None


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
    provider: str
    frame_len_limit: int
    max_frame_len: int
    pad_to: int = 0
    record_limit: int | None = None
    fragment: Fragment = Fragment.NONE
    mode: Mode = Mode.SW

    @property
    def form(self) -> "_Form":
        """How the engine is to write records, whatever their keys."""
        return {
            "provider": self.provider,
            "max_frame_len": self.max_frame_len,
            "pad_to": self.pad_to,
            "record_limit": self.record_limit,
        }

    @property
    def permits_empty_frames(self) -> bool:
        """Whether a write of nothing makes a record: it means something in TLS 1.0 AES-CBC only."""
        return _chains(self.tls_vminor, self.cipher_algorithm)

    def __str__(self) -> str:
        suite = params.suite_name(self.tls_vminor, self.cipher_algorithm, self.key_len)
        return f"{suite}, sealed by {self.backend}"


class Slot:
    """Where a socket keeps its session: empty, then one session until the end.

    Two threads may try to fill it at once; one of them gets EALREADY.
    """

    __slots__ = ("session",)

    def __init__(self) -> None:
        self.session: Session | None = None

    @property
    def mode(self) -> Mode:
        """NONE while empty."""
        return Mode.NONE if self.session is None else self.session.mode

    def enable(self, stream: _core.Stream, en: TLSEnable, *, listening: bool) -> None:
        """TCP_TXTLS_ENABLE.  Raises OSError with upstream's errno, checked in upstream's order."""
        params.check_lengths(en)
        self._admit()
        params.check(en, cbc_enable=bool(sysctl[PREFIX + "cbc_enable"]))
        session = _create(
            en.tls_vminor,
            en.cipher_algorithm,
            len(en.cipher_key),
            c.TLS_MAX_MSG_SIZE_V10_2,
            handed_over=False,
        )
        mac = en.cipher_algorithm == c.CRYPTO_AES_CBC
        keys = _core.Keys(
            en.tls_vminor,
            en.cipher_algorithm,
            en.cipher_key,
            en.iv,
            en.auth_algorithm if mac else 0,
            en.auth_key,
        )
        self._fill(stream, session, keys, en.sequence, None, None, listening=listening)

    def install(
        self,
        stream: _core.Stream,
        keys: _core.Keys,
        sequence: int,
        explicit_nonce: int | None,
        max_frame_len: int,
        secret: _core.Secret | None,
        *,
        listening: bool,
    ) -> None:
        """The same from keys that are in the engine already (the hand-over's way in).

        `secret`: the TLS 1.3 traffic secret that they come from.
        """
        self._admit()
        if keys.cipher_algorithm == c.CRYPTO_AES_CBC and not sysctl[PREFIX + "cbc_enable"]:
            raise params.cbc_is_off()
        session = _create(
            keys.tls_vminor,
            keys.cipher_algorithm,
            keys.key_len,
            max_frame_len,
            handed_over=True,
        )
        self._fill(stream, session, keys, sequence, explicit_nonce, secret, listening=listening)

    def replace(self, stream: _core.Stream, keys: _core.Keys, secret: _core.Secret | None) -> None:
        """Other keys from record 0, before the first ones have sealed anything."""
        session = self._present("replace the keys of")
        stream.install(keys, 0, secret=secret, **session.form)

    def limit_frames(self, stream: _core.Stream, max_frame_len: int) -> None:
        """TLS_TX_MAX_PAYLOAD_LEN.  Raises OSError: EINVAL, EBUSY while a record is open."""
        session = self._present("limit its records")
        # One less in TLS 1.3, whose inner content type counts for the peer (RFC 8449 4).
        least = 64 - (session.tls_vminor == c.TLS_MINOR_VER_THREE)
        if not least <= max_frame_len <= session.frame_len_limit:
            raise OSError(
                errno.EINVAL,
                f"a payload of {max_frame_len} bytes is outside {least} to"
                f" {session.frame_len_limit}, which the version, kern.ipc.tls.maxlen and the peer"
                " allow",
            )
        with _filling:
            stream.set_max_frame_len(max_frame_len)
            self.session = replace(session, max_frame_len=max_frame_len)

    def frame_limit(self) -> int:
        """The payload bytes of a record at most.  Raises OSError EINVAL."""
        return self._present("ask for its records' length").max_frame_len

    def rekey(self, stream: _core.Stream, new: "ReadableBuffer | TLSEnable") -> None:
        """Go on with other keys; see ``Socket.rekey``."""
        session = self._present("rekey")
        if session.tls_vminor != c.TLS_MINOR_VER_THREE:
            raise OSError(
                errno.EBUSY,
                f"TLS 1.{session.tls_vminor - 1} has no key update; make a new connection",
            )
        if isinstance(new, TLSEnable):
            keys = _keys_of_the_same_suite(new, session)
            stream.rekey(keys, new.sequence, **session.form)
            return
        secret = _core.Secret("TRAFFIC_SECRET", new)
        expected = params.traffic_secret_len(session.cipher_algorithm, session.key_len)
        if len(secret) != expected:
            raise OSError(
                errno.EINVAL,
                f"the traffic secret has {len(secret)} bytes; that of {session} has {expected}",
            )
        keys = secret.keys(session.cipher_algorithm, session.key_len)
        stream.rekey(keys, 0, message=KEY_UPDATE, secret=secret, **session.form)

    def _admit(self) -> None:
        """Rows 4 to 9."""
        policy.admit()
        self._require_empty()
        policy.require_ext_pgs()

    def _present(self, purpose: str) -> Session:
        if self.session is None:
            raise OSError(
                errno.EINVAL, f"there is no session to {purpose}; set TCP_TXTLS_ENABLE before"
            )
        return self.session

    def _require_empty(self) -> None:
        if self.session is not None:
            raise OSError(
                errno.EALREADY, f"the socket has a session already ({self.session}); it stays"
            )

    def _fill(
        self,
        stream: _core.Stream,
        session: Session,
        keys: _core.Keys,
        sequence: int,
        explicit_nonce: int | None,
        secret: _core.Secret | None,
        *,
        listening: bool,
    ) -> None:
        """Rows 17 to 20."""
        if listening:
            raise OSError(
                errno.ENOTCONN, "the socket is listening; enable TLS on the sockets it accepts"
            )
        with _filling:
            self._require_empty()
            stream.install(
                keys, sequence, explicit_nonce=explicit_nonce, secret=secret, **session.form
            )
            self.session = session
        sysctl.count(PREFIX + "stats.offload_total")


def _create(
    tls_vminor: int, cipher_algorithm: int, key_len: int, limit: int, *, handed_over: bool
) -> Session:
    """Row 16: who seals."""
    params.check_key_len(cipher_algorithm, key_len)
    backend, provider = backends.choose(tls_vminor, cipher_algorithm, key_len)
    fragment = Fragment.NONE
    if _chains(tls_vminor, cipher_algorithm):
        fragment = policy.tls10_fragment(handed_over=handed_over)
    return Session(
        tls_vminor,
        cipher_algorithm,
        key_len,
        backend.name,
        provider,
        frame_len_limit=policy.max_frame_len(limit),
        max_frame_len=policy.max_frame_len(limit),
        pad_to=policy.pad_to(tls_vminor),
        record_limit=policy.record_limit(cipher_algorithm),
        fragment=fragment,
    )


def _keys_of_the_same_suite(en: TLSEnable, session: Session) -> _core.Keys:
    params.check_lengths(en)
    params.check(en)
    old = (session.tls_vminor, session.cipher_algorithm, session.key_len)
    new = (en.tls_vminor, en.cipher_algorithm, len(en.cipher_key))
    if old != new:
        raise OSError(
            errno.EINVAL,
            f"the session is {params.suite_name(*old)}, the keys are for"
            f" {params.suite_name(*new)}; a new key keeps version and cipher",
        )
    return _core.Keys(en.tls_vminor, en.cipher_algorithm, en.cipher_key, en.iv)


def _chains(tls_vminor: int, cipher_algorithm: int) -> bool:
    """Whether the IV of a record is the end of the one before."""
    return tls_vminor == c.TLS_MINOR_VER_ZERO and cipher_algorithm == c.CRYPTO_AES_CBC


_filling = threading.Lock()


def _after_fork_in_child() -> None:
    global _filling
    _filling = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
