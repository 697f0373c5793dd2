"""The boundary between the policy in Python and the mechanism in Rust.

Bytes-like objects, integers and opaque key objects cross it, never callbacks.  ``bytes`` are
referenced,
every other buffer is copied before the call returns.  Nothing here reads a threshold of its own:
numbers
come in through :func:`set_tunable`, whose names are those of ``ktls.sysctl``.
"""

from collections.abc import Sequence
from typing import Final, Protocol, final

from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "BUILD_PROFILE",
    "MSG_MORE",
    "AioWrite",
    "ClientHello",
    "KeyLog",
    "Keys",
    "Opener",
    "Sealer",
    "Secret",
    "ServerHello",
    "Stream",
    "after_fork_in_child",
    "after_fork_in_parent",
    "aio_completions",
    "before_fork",
    "counters",
    "providers",
    "read_records",
    "set_tunable",
    "start_workers",
    "stop_aio",
    "stop_workers",
]

class _Seekable(Protocol):
    def seek(self, offset: int, /) -> object: ...

BUILD_PROFILE: Final[str]
"""``"release"`` or ``"debug"``; a debug build must not be measured."""

def providers() -> list[str]:
    """Names of the cipher providers compiled in, ``"ring"`` always among them."""

# -- keys ------------------------------------------------------------------------------------------

@final
class Keys:
    """The keying material of one direction: suite, key, implicit IV, MAC key.  Zeroized on free.

    ``tls_vminor`` is 1..4 for TLS 1.0..1.3; ``cipher_algorithm`` and ``auth_algorithm`` are the
    ``CRYPTO_*``
    numbers of FreeBSD.  Raises ValueError naming the value for any combination outside the suite
    table.
    """

    def __new__(
        cls,
        tls_vminor: int,
        cipher_algorithm: int,
        cipher_key: ReadableBuffer,
        iv: ReadableBuffer,
        auth_algorithm: int = 0,
        auth_key: ReadableBuffer | None = None,
        *,
        encrypt_then_mac: bool = False,
    ) -> Keys: ...
    @property
    def tls_vminor(self) -> int: ...
    @property
    def cipher_algorithm(self) -> int: ...
    def with_iv(self, iv: ReadableBuffer) -> Keys:
        """The same keys with another implicit IV.

        So TLS 1.0 AES-CBC goes on after a record that was sealed elsewhere.
        """
    @property
    def auth_algorithm(self) -> int: ...
    @property
    def encrypt_then_mac(self) -> bool: ...
    @property
    def key_len(self) -> int: ...
    @property
    def header_size(self) -> int:
        """Bytes before the payload of a record: 5 and the explicit nonce or IV."""
    @property
    def trailer_size(self) -> int:
        """Largest number of bytes after the payload: inner type, tag, MAC and padding."""

@final
class Secret:
    """A TLS 1.3 traffic secret (RFC 8446 7.1) or a TLS 1.0-1.2 master secret.

    Zeroized on free, never shown.
    """

    def __new__(cls, label: str, value: ReadableBuffer) -> Secret: ...
    @property
    def label(self) -> str:
        """The label of the key log line it came from, e.g. ``"SERVER_TRAFFIC_SECRET_0"``."""
    def __len__(self) -> int: ...
    def keys(self, cipher_algorithm: int, key_len: int) -> Keys:
        """Return the traffic keys of this secret (TLS 1.3).

        The hash is SHA-256 or SHA-384 by the length of the secret.
        """
    def next(self) -> Secret:
        """TLS 1.3: the secret of the next generation (``traffic upd``, RFC 8446 7.2)."""
    def key_block(
        self,
        tls_vminor: int,
        prf_hash: str,
        client_random: ReadableBuffer,
        server_random: ReadableBuffer,
        cipher_algorithm: int,
        key_len: int,
        auth_algorithm: int = 0,
        *,
        encrypt_then_mac: bool = False,
    ) -> tuple[Keys, Keys]:
        """Return ``(client_write, server_write)`` (TLS 1.0-1.2, RFC 5246 6.3).

        ``prf_hash`` is "sha256" or "sha384"; 1.0 and 1.1 ignore it.
        """

@final
class Opener:
    """Opens records one after another, without I/O.

    The read state of RFC 8446 5.2 and RFC 5246 6.1.
    """

    def __new__(cls, keys: Keys, sequence: int = 0) -> Opener: ...
    def open(self, record: ReadableBuffer) -> tuple[int, bytes]:
        """Return content type (1.3: the inner type) and payload of one whole record.

        The sequence number advances on success only.


        Raises ktls.errors.BadRecord, without detail when the tag does not verify.
        """
    def clone(self) -> Opener: ...
    @property
    def sequence(self) -> int: ...
    @property
    def chained_iv(self) -> bytes | None:
        """IV of the next record: the end of the last one opened (TLS 1.0 AES-CBC), else None."""
    @property
    def explicit_nonce(self) -> int | None:
        """The explicit part of the nonce of the last record opened (TLS 1.2 AES-GCM), else None."""

@final
class Sealer:
    """Seals records one after another, without I/O.

    The sequence number is readable, never settable.
    """

    def __new__(
        cls,
        keys: Keys,
        sequence: int = 0,
        explicit_nonce: int | None = None,
        provider: str | None = None,
    ) -> Sealer:
        """Begin at this number; no provider means ring.

        ``explicit_nonce`` is that of the *first* record to seal (TLS 1.2 AES-GCM); None: random.
        """
    def seal(self, data: ReadableBuffer, content_type: int = 23) -> bytes:
        """Records of at most 16384 payload bytes each, back to back."""
    def seal_into(self, data: ReadableBuffer, out: WriteableBuffer, content_type: int = 23) -> int:
        """The same into `out`, from its start.  Returns the size used.

        ValueError when `out` is too small; then nothing was sealed.
        """
    @property
    def sequence(self) -> int: ...

# -- handshake observation -------------------------------------------------------------------------

@final
class KeyLog:
    """Reads NSS key log lines that something else appends to a file.

    Lines of an unregistered client random are dropped.  With `wipe` what was read is overwritten
    with zeros and its pages are given back, so that the file holds no secret of a finished
    handshake.
    The file descriptor stays the caller's; reading begins at the present end of the file.
    """

    def __new__(cls, fd: int, *, wipe: bool) -> KeyLog: ...
    def register(self, client_random: bytes) -> None:
        """Counted: two connections may carry the same random."""
    def release(self, client_random: bytes) -> None: ...
    def secrets(self, client_random: bytes) -> list[Secret]:
        """Return every secret logged so far under this random, oldest first.

        A forged random can yield several.
        """
    def __len__(self) -> int:
        """Registered randoms."""

@final
class ClientHello:
    """What the record layer needs of a ClientHello message (4-byte handshake header included)."""

    def __new__(cls, message: ReadableBuffer) -> ClientHello: ...
    @property
    def random(self) -> bytes: ...
    @property
    def max_fragment_len(self) -> int | None:
        """RFC 6066 4, in bytes."""
    @property
    def record_size_limit(self) -> int | None:
        """RFC 8449."""

@final
class ServerHello:
    """What the record layer needs of a ServerHello message."""

    def __new__(cls, message: ReadableBuffer) -> ServerHello: ...
    @property
    def random(self) -> bytes: ...
    @property
    def is_hello_retry_request(self) -> bool: ...
    @property
    def cipher_suite(self) -> int: ...
    @property
    def compression_method(self) -> int: ...
    @property
    def tls_vminor(self) -> int:
        """The negotiated version, from supported_versions where present."""
    @property
    def encrypt_then_mac(self) -> bool: ...
    @property
    def max_fragment_len(self) -> int | None: ...

def read_records(fd: int, timeout: float | None) -> bytes:
    """Take the whole records of application data that lie in a socket; waits for the first bytes.

    Nothing is taken before it is known to be such a record, because what follows a close_notify may
    be another protocol's.  Empty when what comes next is something else, is not whole yet, or is
    the end of the stream.  `timeout` is that of the socket.  BlockingIOError, TimeoutError,
    OSError.
    """

# -- the send path ---------------------------------------------------------------------------------

MSG_MORE: Final[int]

@final
class Stream:
    """The send side of one TCP connection: a send buffer of frames and its way to the socket.

    Duplicates the file descriptor; every write to it is non-blocking whatever the state of the
    caller's socket.
    Errors are OSError; an error found by a worker is raised once by the next call, later ones raise
    EPIPE.
    All methods may be called from any thread; a record is never torn by another thread's.
    """

    def __new__(cls, fd: int) -> Stream: ...
    def install(
        self,
        keys: Keys,
        sequence: int,
        *,
        explicit_nonce: int | None = None,
        provider: str | None = None,
        max_frame_len: int = 16384,
        pad_to: int = 0,
        record_limit: int | None = None,
        secret: Secret | None = None,
    ) -> None:
        """From the next byte on, write records sealed with `keys`.

        Before it, bytes go out as they are. A record carries at most `max_frame_len` bytes; in TLS
        1.3 zeros bring it to a multiple of `pad_to`, as far as that allows. The key seals at most
        `record_limit` records of application data; then the next one is made from `secret`, its TLS
        1.3 traffic secret, or writes are EKEYEXPIRED. EINVAL for keys that were used here before.
        """
    def rekey(
        self,
        keys: Keys,
        sequence: int = 0,
        *,
        message: bytes | None = None,
        provider: str | None = None,
        max_frame_len: int = 16384,
        pad_to: int = 0,
        record_limit: int | None = None,
        secret: Secret | None = None,
    ) -> None:
        """Frame a handshake message, if any, with the keys in use, and all that follows with these.

        One step: no other write comes between. Never waits.
        """
    def update_key(self, message: bytes) -> None:
        """The same with the keys after those in use. EINVAL when their secret is not known."""
    def set_max_frame_len(self, max_frame_len: int) -> None:
        """Cut what is framed from now on so.  ENOTCONN without keys, EBUSY while one is open."""
    @property
    def installed(self) -> bool: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def sequence(self) -> int:
        """Number of the next record to be framed."""
    @property
    def pending(self) -> int:
        """Plaintext bytes accepted and not yet taken by TCP."""
    def settimeout(self, timeout: float | None) -> None:
        """None blocks, 0.0 never blocks (BlockingIOError), otherwise seconds (TimeoutError)."""
    def send(self, data: ReadableBuffer, content_type: int = 23, flags: int = 0) -> int:
        """Accept as much as there is room for, all of it when blocking.

        Returns the bytes accepted, for good. MSG_MORE leaves the last record of application data
        open.
        """
    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None: ...
    def sendmsg(
        self,
        buffers: Sequence[ReadableBuffer],
        content_type: int = 23,
        flags: int = 0,
        *,
        atomic: bool = False,
    ) -> int:
        """The concatenation of `buffers`, framed as one write.

        `atomic`: all or nothing (EMSGSIZE, EWOULDBLOCK), in records of its own.
        """
    def aio_write(self, id: int, data: ReadableBuffer, lead: int | None = None) -> AioWrite | None:
        """Accept all of a write without waiting; None when TCP has taken it already.

        Else `aio_completions` says when, under this `id`, which must be the process's only one.
        `lead`: so many of the first bytes, perhaps none, go in a record of their own. Later writes
        come after it.
        """
    def cork(self) -> None:
        """Every write of application data leaves its last record open, until `uncork`.  Counted."""
    def uncork(self) -> None:
        """Close the open record and send it; never waits, never raises."""
    @property
    def has_open_record(self) -> bool: ...
    def send_counted(self, data: ReadableBuffer, accepted: list[int]) -> int:
        """As `send`; the result is appended to `accepted` also when a signal handler raises."""
    def sendfile(self, fd: int, offset: int, count: int, file: _Seekable | None = None) -> int:
        """Send `count` bytes of a regular file from `offset`.

        Returns what was accepted, short at the end of the file. That is the position of `file`
        afterwards, also when a signal handler raises.

        A file that shrinks while it is being sent is EIO, and the connection is reset.
        """
    def fileno(self) -> int:
        """Return a descriptor for select, poll and epoll only.

        It is readable when the socket is and writable when `send` has room.


        It is not the socket: what is written to it goes nowhere.  Made at the first call, the same
        until close.
        """
    def consumed(self, more: bool) -> None:
        """Tell `fileno`'s descriptor that the socket was read.

        `more`: plaintext is still buffered above.
        """
    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything accepted so far.  TimeoutError."""
    def shutdown_write(self) -> None:
        """FIN after everything accepted; later sends raise EPIPE."""
    def close(self) -> None:
        """Accepted data drains in the background, then the descriptor is closed.  Never blocks."""
    def release(self) -> None:
        """Let go of the socket without ending the connection.

        EBUSY unless everything was flushed.
        """
    def abort(self) -> None:
        """Drop what is queued and reset the connection."""

@final
class AioWrite:
    """An asynchronous write that had not ended when the call returned."""

    def cancel(self) -> bool:
        """Take it back if nothing of it was framed, also after `close`.  False: too late."""

# -- the pool --------------------------------------------------------------------------------------

def start_workers(count: int, bind: int = 0) -> None:
    """Start the threads KTLS-0 ... once; OSError when a thread cannot be started."""

def stop_workers(timeout: float) -> bool:
    """Drain every stream for at most `timeout` seconds, then end the threads.

    False when data was left.
    """

def aio_completions() -> list[tuple[int, int | OSError]]:
    """Wait until asynchronous writes end; return the ids of all that have, with count or error.

    Empty after `stop_aio`, when all was told.
    """

def stop_aio() -> None: ...
def before_fork() -> None:
    """Let every worker come to rest; os.register_at_fork(before=)."""

def after_fork_in_parent() -> None: ...
def after_fork_in_child() -> None:
    """Kill the inherited streams (their next use is an error) and forget the pool."""

def set_tunable(name: str, value: int) -> None:
    """KeyError for a name the engine does not know, ValueError outside its range."""

def counters() -> dict[str, int]:
    """A snapshot of the engine's counters and gauges, by sysctl name without ``kern.ipc.tls.``."""
