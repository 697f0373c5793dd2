"""OpenSSL's side of a connection: an SSLObject between two private memory BIOs.

After the switch OpenSSL still believes that it writes; what it writes then is opened by the
follower and never reaches the wire as it is. No I/O here. The lock is held around calls into
OpenSSL and never while waiting.
"""

import ssl
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from .follower import Message

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Item", "Shadow"]

P = ParamSpec("P")
T = TypeVar("T")

Item = bytes | Message
"""Something to send: OpenSSL's records before the switch, a message to be sealed after it."""


class Shadow:
    """An SSLObject, what is fed to it, and what it wants to have sent (`outbox`, oldest first).

    `interpret` turns what OpenSSL wrote into items.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None,
        session: ssl.SSLSession | None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.lock = threading.Lock()
        self.outbox: list[Item] = []
        self.interpret: Callable[[bytes], Iterable[Item]] = as_it_is
        self.ssl_object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session,
        )

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the SSLObject; what it wrote is in the outbox, also when it raises."""
        with self.lock:
            try:
                return function(*args, **kwargs)
            finally:
                if self._outgoing.pending:
                    self.outbox.extend(self.interpret(self._outgoing.read()))

    def read(self, size: int, buffer: "WriteableBuffer | None") -> tuple[bytes | int, bool]:
        """Read plaintext, as `SSLObject.read`, and say whether more lies here.

        Like `call`, and the one that is called often.
        """
        ssl_object = self.ssl_object
        with self.lock:
            try:
                if buffer is None:
                    data = ssl_object.read(size)
                    count = len(data)
                    return data, self._has_more(count == size)
                # The stub of SSLObject.read leaves the buffer out of its result.
                count = cast("int", ssl_object.read(size, buffer))
                return count, self._has_more(count == size)
            finally:
                if self._outgoing.pending:
                    self.outbox.extend(self.interpret(self._outgoing.read()))

    def _has_more(self, filled: bool) -> bool:
        # A record that did not fill what there was room for has no more to give.
        return self._incoming.pending > 0 or (filled and self.ssl_object.pending() > 0)

    def feed(self, record: bytes) -> None:
        """Give OpenSSL bytes of the peer; an empty string is the end of the stream."""
        with self.lock:
            if record:
                self._incoming.write(record)
            else:
                self._incoming.write_eof()

    @property
    def unread(self) -> int:
        """Bytes that were fed and that OpenSSL did not look at yet."""
        return self._incoming.pending

    def write_aside(self, data: bytes) -> bytes:
        """Let OpenSSL write `data`, and return its records instead of sending them."""
        with self.lock:
            self.ssl_object.write(data)
            return self._outgoing.read()


def as_it_is(data: bytes) -> Iterable[Item]:
    """Pass-through: OpenSSL's records leave unchanged."""
    return (data,)
