"""Errors that have no errno upstream, and those that `ssl` and `socket` name differently.

What FreeBSD reports with an errno is an ``OSError`` with that errno; these are for the rest:
hand-over, protocol and records.
"""

import ssl


class KTLSError(Exception):
    """Something about TLS itself went wrong: the message says what, and what to do."""


class HandoverError(KTLSError, OSError):
    """The keys of a connection could not be taken over, and going on would not be safe.

    An OSError, so that the loop of a server that accepts goes on to the next connection.
    """


class HandoverDeclined(KTLSError):
    """OpenSSL keeps the connection, for the reason in the message.  Never leaves this library."""


class BadRecord(KTLSError):
    """A record that does not open.  A tag that fails to verify says nothing more."""


class WantReadError(ssl.SSLWantReadError, BlockingIOError):
    """Nothing to read on a non-blocking socket: what `ssl` and what `socket` raise, in one."""


class WantWriteError(ssl.SSLWantWriteError, BlockingIOError):
    """No room on a non-blocking socket: what `ssl` and what `socket` raise, in one."""

    def __init__(self) -> None:
        super().__init__(int(ssl.SSL_ERROR_WANT_WRITE), "The operation did not complete (write)")
        self.library = self.reason = None  # type: ignore[assignment]  # as in `ssl` itself
