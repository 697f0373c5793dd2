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

    def read(self, records: bytes, size: int, buffer: "WriteableBuffer | None") -> bytes | int:
        """Feed whole records, if any, and read plaintext, as `SSLObject.read`.

        Like `feed` and `call`, and the one that is called often.
        """
        with self.lock:
            if records:
                self._incoming.write(records)
            try:
                if buffer is None:
                    return self.ssl_object.read(size)
                # The stub of SSLObject.read leaves the buffer out of its result.
                return cast("int", self.ssl_object.read(size, buffer))
            finally:
                if self._outgoing.pending:
                    self.outbox.extend(self.interpret(self._outgoing.read()))

    def has_more(self) -> bool:
        """Whether something that was fed is still to be read or looked at."""
        return self._incoming.pending > 0 or self.ssl_object.pending() > 0

    def feed(self, record: bytes) -> None:
        """Give OpenSSL bytes of the peer; an empty string is the end of the stream."""
        with self.lock:
            if record:
                self._incoming.write(record)
            else:
                self._incoming.write_eof()

    def write_aside(self, data: bytes) -> bytes:
        """Let OpenSSL write `data`, and return its records instead of sending them."""
        with self.lock:
            self.ssl_object.write(data)
            return self._outgoing.read()


def as_it_is(data: bytes) -> Iterable[Item]:
    """Pass-through: OpenSSL's records leave unchanged."""
    return (data,)
