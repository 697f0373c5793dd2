"""The boundary between the policy in Python and the mechanism in Rust.

Bytes-like objects, integers, and opaque objects that hold keys cross it. ``bytes`` are referenced,
every other buffer is copied before the call returns; it must be C-contiguous. No threshold is kept
here: numbers come in through `set_tunable`, whose names are those of ``ktls.sysctl``.

Errors of the system are OSError; arguments outside their range are ValueError. Of a connection:
EBADF after `close`, EPERM in a forked child, EPIPE after `shutdown_write`, and the cause of a
failure once, from then on EPIPE. A time-out is in seconds, None is for ever; when it has passed
the call raises TimeoutError without an errno. What a signal handler raises ends a call that waits.
"""

# Signatures in as few lines as they take:
# fmt: off

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, final, overload

from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "BUILD_PROFILE", "MSG_MORE", "AsyncWrite", "BatchRecord", "Cork", "DirectionKeys", "Handover",
    "KeyLog", "Keys", "OpenSSLSide", "Opener", "Provider", "Reading", "RecordParams", "RecvStream",
    "Sealer", "Secret", "SendStream", "adopt", "counters", "fork_count", "get_wait_callback",
    "histograms", "providers", "set_tunable", "set_wait_callback", "start_workers",
    "stop_completions", "stop_workers", "takes_byte", "tunables", "wait_completions",
    "worker_count", "workers_started",
]

_T = TypeVar("_T")

BUILD_PROFILE: Final[str]
"""``"release"`` or ``"debug"``; a debug build must not be measured."""
MSG_MORE: Final[int]

def providers() -> list[str]:
    """Names of the cipher providers compiled in, ``"ring"`` always among them."""

@final
class Provider:
    """Who seals and opens, with its counts; those of a name go on when it comes again.

    ``counters`` has them as ``stats.NAME.tls13_gcm_encrypts`` and so on. `use_count`: sessions that
    have keys in its hands, each direction for itself.
    """

    name: Final[str]
    counted_as: Final[str]
    use_count: Final[int]
    computes: Final[bool]  # without the interpreter
    @staticmethod
    def compiled_in(name: str, counted_as: str | None = None) -> Provider:
        """One of `providers`, or ValueError; `counted_as`, where it works under another name."""
    @staticmethod
    def libcrypto() -> Provider:
        """The libcrypto that ``ssl`` uses. OSError EOPNOTSUPP says what is missing."""
    @staticmethod
    def native(name: str, capsule: object) -> Provider:
        """A native backend (``ktls_backend.h``). OSError EINVAL for another version of it."""
    @staticmethod
    def in_python(name: str) -> Provider:
        """A backend in Python; keys go to what `for_session` makes of it."""
    def for_session(self, factory: Callable[[bytes], object]) -> Provider:
        """One whose ciphers `factory` makes, each of a key, in whatever thread uses it first."""
    def takes(self, tls_vminor: int, cipher_algorithm: int, key_len: int) -> bool:
        """Whether it seals and opens this suite; `key_len` in bytes."""

@final
class BatchRecord:
    """A record in the hands of a cipher in Python: see ``ktls.backends.python``."""

    sequence: Final[int]
    content_type: Final[int]
    nonce: Final[bytes]
    aad: Final[bytes]
    header: Final[memoryview]
    payload: Final[memoryview]
    trailer: Final[memoryview]
    text: Final[memoryview]
    tag: Final[memoryview]
    def refuse(self) -> None:
        """It does not authenticate."""

# -- keys ------------------------------------------------------------------------------------------

@final
class Keys:
    """The keying material of one direction: suite, key, implicit IV, MAC key. Zeroized on free.

    Numbers are FreeBSD's ``CRYPTO_*``; ValueError names what is outside the suite table.
    """

    tls_vminor: Final[int]  # 1 to 4 for TLS 1.0 to 1.3
    cipher_algorithm: Final[int]
    auth_algorithm: Final[int]
    encrypt_then_mac: Final[bool]
    key_len: Final[int]
    header_size: Final[int]  # bytes before the payload: 5 and the explicit nonce or IV
    trailer_size: Final[int]  # and after it at the most: inner type, tag, MAC and padding
    def __new__(
        cls, tls_vminor: int, cipher_algorithm: int, cipher_key: ReadableBuffer, iv: ReadableBuffer,
        auth_algorithm: int = 0, auth_key: ReadableBuffer | None = None, *,
        encrypt_then_mac: bool = False) -> Keys: ...
    def with_iv(self, iv: ReadableBuffer) -> Keys:
        """The same with another implicit IV: TLS 1.0 AES-CBC after a record sealed elsewhere."""

@final
class Secret:
    """A traffic secret (RFC 8446 §7.1) or a master secret. Zeroized on free, never shown."""

    label: Final[str]  # that of the key log, such as "SERVER_TRAFFIC_SECRET_0"
    def __new__(cls, label: str, value: ReadableBuffer) -> Secret: ...
    def __len__(self) -> int: ...
    def keys(self, cipher_algorithm: int, key_len: int) -> Keys:
        """The keys of a traffic secret, whose length tells the hash (RFC 8446 §7.3)."""
    def next(self) -> Secret:
        """The traffic secret after a KeyUpdate (RFC 8446 §7.2)."""
    def key_block(
        self, tls_vminor: int, prf_hash: str, client_random: ReadableBuffer,
        server_random: ReadableBuffer, cipher_algorithm: int, key_len: int, auth_algorithm: int = 0,
        *, encrypt_then_mac: bool = False) -> tuple[Keys, Keys]:
        """The client's and the server's write keys of a master secret (RFC 5246 §6.3).

        `prf_hash` is "sha256" or "sha384"; TLS 1.0 and 1.1 ignore it.
        """

@final
class DirectionKeys:
    """The keys of one direction, and the number of the record that is next under them.

    `explicit_nonce` is that of the next record (TLS 1.2 AES-GCM), at random when None. From
    `secret`, the traffic secret of these keys, the keys after a KeyUpdate are made (TLS 1.3).
    """

    sequence: Final[int]
    def __new__(
        cls, keys: Keys, sequence: int = 0, *, explicit_nonce: int | None = None,
        secret: Secret | None = None) -> DirectionKeys: ...

@final
class RecordParams:
    """How records are written, whatever their keys.

    Payloads have at most `max_frame_len` bytes, 1 to 16384; in TLS 1.3 zeros bring them to a
    multiple of `block_padding`. A key seals at most `record_limit` records of data. `split`: an
    "empty" record, or the first byte ("split"), precedes each write (TLS 1.0 AES-CBC).
    """

    def __new__(
        cls, provider: Provider | str, *, max_frame_len: int = 16384, block_padding: int = 0,
        record_limit: int | None = None, split: str = "none") -> RecordParams: ...

@final
class Opener:
    """Opens records one after another, without I/O; by ring where no provider is named."""

    sequence: Final[int]
    chained_iv: Final[bytes | None]  # the IV of the next record (TLS 1.0 AES-CBC)
    explicit_nonce: Final[int | None]  # that of the last record opened (TLS 1.2 AES-GCM)
    def __new__(
        cls, keys: Keys, sequence: int = 0, provider: Provider | str | None = None) -> Opener: ...
    def open(self, record: ReadableBuffer) -> tuple[int, bytes]:
        """Content type (in TLS 1.3 the inner one) and payload; BadRecord, without detail."""
    def clone(self) -> Opener: ...

@final
class Sealer:
    """Seals records one after another, without I/O; by ring where no provider is named.

    `explicit_nonce` is that of the first record (TLS 1.2 AES-GCM), at random when None.
    """

    sequence: Final[int]
    def __new__(
        cls, keys: Keys, sequence: int = 0, explicit_nonce: int | None = None,
        provider: Provider | str | None = None) -> Sealer: ...
    def seal(self, data: ReadableBuffer, content_type: int = 23) -> bytes:
        """Records of at most 16384 payload bytes each, back to back."""
    def seal_into(self, data: ReadableBuffer, out: WriteableBuffer, content_type: int = 23) -> int:
        """The same into `out`; returns the size. ValueError, and nothing is sealed: too small."""

# -- a connection ----------------------------------------------------------------------------------

@final
class SendStream:
    """The send half of one TCP connection: its descriptor, its send buffer and its session.

    Takes `sock` over and closes it: the connection lives on in another descriptor. OSError, and
    `sock` stays: EMFILE, or the errno of what is no TCP socket. Any thread may call anything; a
    record is never torn by another thread's. Without keys bytes go out as they are.
    """

    session: Final[Any]  # what was installed with the keys; None before
    sequence: Final[int]  # number of the next record; 0 without keys
    pending: Final[int]  # payload bytes accepted and not yet taken by TCP; 0 when closed
    closed: Final[bool]
    is_unclosed: Final[bool]  # this process has still to close it
    is_released: Final[bool]
    queue: Final[int]  # that of its worker, KTLS-<queue>
    endpoints: Final[str]  # both addresses, with a blank between; - for one that is not there
    def __new__(cls, sock: socket.socket, queue: int | None = None) -> SendStream:
        """`queue`, modulo the number of workers; None: chosen by the addresses and ports."""
    def traffic(self) -> tuple[dict[str, int | None], dict[str, int | None]]:
        """What was sent and what was received under the keys, by name; see ``ktls.connections``.

        Zeros once it is gone, and in a forked child.
        """
    def install(self, direction: DirectionKeys, params: RecordParams, session: object) -> None:
        """From the next byte on, write records with these keys; the session is there from then on.

        EALREADY with a session, EINVAL for keys that sealed here before, ValueError when the
        provider does not know the suite: nothing has changed then.
        """
    def rekey(
        self, direction: DirectionKeys, params: RecordParams, *, announce: bool = False) -> None:
        """What was accepted keeps its keys, what follows has these. Never waits.

        `announce`: a KeyUpdate comes in between, under the old keys. ENOTCONN without keys, EINVAL
        for keys that sealed here before.
        """
    def update_key(self, *, request: bool = False) -> None:
        """The same with a KeyUpdate and the next keys; EINVAL where their secret is not known."""
    def set_face(self, face: Callable[[], object]) -> None:
        """What a wait callback is given: the object of this weak reference, with a `fileno`."""
    def set_max_frame_len(self, max_frame_len: int, old: object, new: object) -> bool:
        """Change the length, 1 to 16384, and the session as `exchange_session`.

        EBUSY while a record is open.
        """
    def exchange_session(self, old: object, new: object) -> bool:
        """Put `new` in the place of `old`; False when that is not the session any more."""
    def check_process(self) -> None:
        """Raise EPERM in a forked child, EBADF when closed."""
    def settimeout(self, timeout: float | None) -> None:
        """For both halves. 0 does not wait: calls are BlockingIOError. OverflowError: too long."""
    def gettimeout(self) -> float | None: ...
    def send(self, data: ReadableBuffer, content_type: int = 23, flags: int = 0) -> int:
        """Accept as much as there is room for, all of it without a time-out; returns the count.

        MSG_MORE leaves the last record of application data open for the next write; MSG_DONTWAIT
        is known, too. TimeoutError or BlockingIOError when nothing was accepted.
        """
    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Accept all; a part may have been accepted before an error."""
    def sendmsg(
        self, buffers: Sequence[ReadableBuffer], content_type: int = 23, flags: int = 0, *,
        atomic: bool = False) -> int:
        """The concatenation as one write. `atomic`: all or nothing; EMSGSIZE: it can never fit."""
    def send_counted(self, data: ReadableBuffer, accepted: list[int]) -> int:
        """As `send`; `accepted` has the count also when a signal handler raises."""
    def sendfile(
        self, fd: int, offset: int, count: int, file: Any = None, before: int = 0) -> int:
        """Accept `count` bytes of a regular file from `offset`, less at its end or with a time-out.

        `file.seek` is then called with the position behind what was accepted, also when a signal
        handler raises. A file that shrinks before it was read resets the connection (EIO).
        `before`: bytes that a time-out says were accepted before these.
        """
    def async_write(self, data: ReadableBuffer, future: object) -> AsyncWrite | None:
        """Accept all without waiting. None: TCP has it; else `wait_completions` has `future`."""
    def cork(self) -> Cork:
        """Every write of application data leaves its last record open, until the cork is pulled."""
    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only, the same until `close`.

        Readable when the socket is or plaintext is left, writable when `send` has room; none of
        that before `note_connect`. Writing to it is EPIPE.
        """
    def note_connect(self) -> None:
        """The kernel was asked for a peer, whatever came of it: `fileno` tells from now on."""
    def set_readable(self, more: bool) -> None:
        """Start anew with watching the socket, which was read; `more`: plaintext is left above."""
    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything accepted so far."""
    def shutdown_write(self) -> None:
        """FIN after everything accepted; writes are EPIPE from now on."""
    def close(self, *, discard: bool = False) -> None:
        """Let what was accepted drain in the background; wait for it as SO_LINGER says.

        `discard`: what lies unread is dropped, for which the kernel would reset the connection.
        """
    def abort(self) -> None:
        """Drop what is queued and reset the connection."""
    def release(self) -> socket.socket:
        """The connection as a socket again, the same each time. EBUSY unless all was sent."""
    def duplicate(self) -> socket.SocketType:
        """The socket on another descriptor, for a call that waits."""
    def with_socket(self, call: Callable[[socket.SocketType], _T]) -> _T:
        """`call` with the socket, for the time of the call: for what is not made here."""
    untouched: bool  # nothing was sent or received: its end is not the connection's
    is_inheritable: Final[bool]  # untouched, and the parent's
    def inherit(self) -> socket.socket:
        """In a forked child, the connection that is `is_inheritable` as a socket; closes this."""

@final
class RecvStream:
    """The receive half: bytes as they come, with keys the content of records.

    It has the descriptor and the time-out of `send`. `flags` are those of recv(2); without
    MSG_WAITALL a call returns what lies there. Nothing, or 0, is the end of the stream. Errors are
    OSError, those of a record once each: see ``Socket.recv``. With the keys of a handshake it
    follows alerts, KeyUpdates and close_notify, and errors are those of ``SSLSocket.recv``.
    """

    session: Final[Any]
    sequence: Final[int | None]  # number of the next record
    low_water: Final[int]  # SO_RCVLOWAT with keys: bytes of plaintext that a call waits for
    pending: Final[int]  # bytes of data that a call returns without looking at the socket
    def __new__(cls, send: SendStream) -> RecvStream: ...
    def install(self, direction: DirectionKeys, provider: Provider | str, session: object) -> None:
        """Open everything that was not received yet. EALREADY with a session; it is kept here."""
    def rekey(self, direction: DirectionKeys, provider: Provider | str) -> None:
        """Open everything that was not opened yet with other keys; a KeyUpdate waits for that."""
    def set_low_water(self, len: int) -> None: ...
    def recv(self, size: int, flags: int = 0) -> bytes: ...
    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int: ...
    def recvmsg(
        self, size: int, flags: int = 0, *, takes_type: bool = False
    ) -> tuple[bytes, tuple[int, int, int, int] | None, bool]:
        """Bytes of one record, whether they are its last in the third place.

        The second is type, version and plaintext length, with the first bytes alone. Without
        `takes_type` a record that is no data is EIO.
        """
    def recvmsg_into(
        self, buffers: Sequence[WriteableBuffer], flags: int = 0, *, takes_type: bool = False
    ) -> tuple[int, tuple[int, int, int, int] | None, bool]: ...
    def unwrap(self) -> None:
        """Say close_notify, at once, and wait for the peer's; after a hand-over."""
    def hear(self) -> None:
        """Tell OpenSSL of messages that came for it, where it is kept for them."""

@final
class Cork:
    """One cork of a stream, pulled at the end of the ``with``, or when it is dropped."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

@final
class AsyncWrite:
    """A write of `async_write` that had not ended when the call returned. Keeps nothing alive."""

    def cancel(self) -> bool:
        """Take it back while nothing of it is framed, also after `close`. False: too late."""

# -- the hand-over ---------------------------------------------------------------------------------

@final
class KeyLog:
    """Reads the lines of an NSS key log that something else appends to, from its present end on.

    Lines of a client random that is not registered are dropped; its length is the number of those
    that are. `wipe`: what was read is overwritten, and the file cut to nothing while no registered
    handshake is inside OpenSSL. `fd` is duplicated. EPERM in a forked child.
    """

    is_inherited: Final[bool]  # this process is a fork of the one that made it
    def __new__(cls, fd: int, *, wipe: bool) -> KeyLog: ...
    @staticmethod
    def in_memory() -> KeyLog:
        """Of a new file in memory, which is wiped. OSError where there is none to be had."""
    def fileno(self) -> int:
        """The descriptor of its own, as long as the object lives."""
    def __len__(self) -> int: ...
    def register(self, client_random: ReadableBuffer) -> None:
        """Keep what is logged under these 32 bytes. Counted: two connections may carry the same."""
    def release(self, client_random: ReadableBuffer) -> None:
        """Undo one `register`; KeyError without one."""
    def secrets(self, client_random: ReadableBuffer) -> list[Secret]:
        """Every secret logged so far under this random, oldest first, whoever had it logged."""
    def sweep(self) -> None:
        """Read what is new; with `wipe` nothing of it stays in the file."""
    def sweep_after(self, function: Callable[[], _T]) -> _T:
        """Call and `sweep`, also when it raises: no signal handler comes between.

        What cannot be swept, in a forked child too, is no error.
        """

@final
class Handover:
    """What a finished handshake agreed on, with keys that open its records. For one `switch`."""

    tls_vminor: Final[int]
    cipher_algorithm: Final[int]
    key_len: Final[int]
    auth_algorithm: Final[int]
    max_frame_len: Final[int]  # payload bytes that the peer takes (RFC 6066 §4, RFC 8449 §4)
    offers_post_handshake_auth: Final[bool]  # by the client (RFC 8446 §4.2.6)

@final
class Reading:
    """How what comes after a hand-over is opened: by `stream`, with this provider.

    OpenSSL is kept to hear of tickets and of post-handshake authentication where these are wanted.
    """

    def __new__(
        cls, stream: RecvStream, provider: Provider | str, session: object, *, keeps_tickets: bool,
        post_handshake_auth: bool) -> Reading: ...

@final
class OpenSSLSide:
    """OpenSSL between two memory BIOs, and the socket of `send` around it.

    It makes the handshake; it seals and reads, too, until `switch`. Whatever it writes leaves
    through `send`. `ssl` is the C object inside an SSLObject. Waiting calls have the time-out of
    `send`; what OpenSSL raises is raised, without time it is SSLWantReadError. EDEADLK for a signal
    handler that comes into the middle of a call of its own thread.
    """

    def __new__(
        cls, ssl: object, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, send: SendStream, *,
        server_side: bool) -> OpenSSLSide: ...
    def follow(self, log: KeyLog) -> None:
        """Look for the secrets of the handshake in this log, too."""
    def release_logs(self) -> None:
        """Look in no log any more, and follow the handshake no further."""
    def call_back(self, callback: Callable[..., _T], *arguments: Any) -> _T:
        """Call one of the context's; what it calls of the connection is EDEADLK."""
    def do_handshake(self) -> None: ...
    def find(self, cipher_name: str | None) -> Handover | None:
        """The keys of the finished handshake; None: another thread has switched over.

        HandoverDeclined says why OpenSSL keeps it.
        """
    def switch(
        self, handover: Handover, params: RecordParams, session: object,
        reading: Reading | None = None) -> bool:
        """Have the stream seal from here on; False when it does so already.

        What is received is opened as `reading` says, unless more than one key may be the peer's;
        without it OpenSSL goes on with that. OSError as `SendStream.install`: OpenSSL goes on.
        HandoverError: the keys are not OpenSSL's, and the connection was reset.
        """
    def decline(self) -> None:
        """Leave the connection to OpenSSL, unless another thread has switched it over."""
    def let_go(self) -> None:
        """Make an end with OpenSSL; whatever it writes from now on is dropped."""
    @overload
    def read(self, size: int, buffer: None = None) -> bytes: ...
    @overload
    def read(self, size: int, buffer: WriteableBuffer) -> int: ...
    def write(self, data: ReadableBuffer, *, all: bool, before: int | None = None) -> int:
        """Seal by OpenSSL, one record or `all`; returns how many bytes were accepted."""
    def async_write(self, data: ReadableBuffer, future: object) -> AsyncWrite | None:
        """As `SendStream.async_write`, sealed by OpenSSL now; it cannot be cancelled."""
    def unwrap(self) -> None:
        """Say close_notify, at once, and wait for the peer's."""
    def verify_client_post_handshake(self) -> None: ...
    def has_more(self) -> bool:
        """Whether a read may have something without the socket."""

# -- the process -----------------------------------------------------------------------------------

def adopt(sock: socket.socket) -> socket.socket:
    """A `socket.socket` in the place of this one, which is closed: no handler comes between."""
def takes_byte(fd: int) -> bool:
    """Receive one byte without waiting, whatever the time-out; whether there was one."""
def start_workers(count: int, bind: int = 0) -> None:
    """Start the threads KTLS-0 ... once; OSError when one cannot start.

    `bind` each to 1: a CPU, 2: the CPUs of a NUMA node, 0: nothing.
    """
def workers_started() -> bool: ...
def worker_count() -> int:
    """Threads KTLS-0 ...; 0 before they start."""
def stop_workers(timeout: float) -> tuple[int, int]:
    """Drain for `timeout` seconds and end the threads: bytes not sent, of so many connections."""
def fork_count() -> int:
    """How many forks lie between this process and the one that loaded the module."""
def wait_completions() -> list[tuple[Any, int | OSError | None]]:
    """Wait until asynchronous writes end: their futures, with the count or the error.

    None: it was cancelled. Empty after `stop_completions`, once all was told.
    """
def stop_completions() -> None: ...
def tunables() -> dict[str, tuple[int, int, int]]:
    """Default, least and greatest value of each, by name without ``kern.ipc.tls.``."""
def set_tunable(name: str, value: int) -> None:
    """`name` is without ``kern.ipc.tls.``. KeyError when unknown, ValueError outside its range."""
def set_wait_callback(callback: Callable[[Any, int, float | None], object] | None) -> None:
    """Have this called with the object of `set_face`, POLLIN or POLLOUT, and seconds, to wait."""
def get_wait_callback() -> Callable[[Any, int, float | None], object] | None: ...
def histograms() -> list[tuple[str, str, list[tuple[float, int]], float]]:
    """Durations since the process began, of each provider that a key was made for.

    What was measured, "seal" a unit or "wait" for a turn at a worker; the provider; how many took
    at most so many seconds and more than the bound before, the last of which is infinite; the sum
    of all in seconds.
    """
def counters() -> dict[str, int]:
    """The engine's counters and gauges now, by name without ``kern.ipc.tls.``."""
