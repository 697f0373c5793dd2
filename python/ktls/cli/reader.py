"""Reading requests from a connection within a time and a size, whatever the pace of the client.

Not a parser: request.py reads lines through this.
"""

import io
import time
from typing import TYPE_CHECKING

from ktls import TLSSocket

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEADER_LIMIT = 128 * 1024
"""Bytes of one request's line and fields, whatever their number."""


class HeaderTooLargeError(Exception):
    """The header of a request passed HEADER_LIMIT."""


class RequestReader(io.RawIOBase):
    """The read side of a connection, one allowance of time and bytes per request.

    A byte now and then does not stretch the time: the limit is for the whole header.
    """

    def __init__(self, connection: TLSSocket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._deadline = 0.0
        self._allowance = 0

    def begin_request(self) -> None:
        """Start the clock and the count for the next request."""
        self._deadline = time.monotonic() + self._timeout_s
        self._allowance = HEADER_LIMIT

    def readable(self) -> bool:
        """Report that this stream reads."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what is there.  TimeoutError after the time, HeaderTooLargeError after the size."""
        if self._allowance <= 0:
            raise HeaderTooLargeError
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("no whole request in time")
        self._connection.settimeout(remaining_s)
        try:
            received_len = self._connection.recv_into(buffer)
        finally:
            # Sending has no limit here: TCP_USER_TIMEOUT ends it when the peer takes nothing.
            self._connection.settimeout(None)
        self._allowance -= received_len
        return received_len
