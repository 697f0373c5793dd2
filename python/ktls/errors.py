"""Errors that have no errno upstream.

What FreeBSD reports with an errno is an ``OSError`` with that errno; these are for the rest:
hand-over, protocol and records.
"""


class KTLSError(Exception):
    """Something about TLS itself went wrong: the message says what, and what to do."""


class HandoverError(KTLSError):
    """The keys of a connection could not be taken over, and going on would not be safe."""


class HandoverDeclined(KTLSError):
    """OpenSSL keeps the connection, for the reason in the message.  Never leaves this library."""


class BadRecord(KTLSError):
    """A record that does not open.  A tag that fails to verify says nothing more."""
