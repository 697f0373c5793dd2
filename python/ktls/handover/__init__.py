"""The hand-over: from a stock `ssl` handshake to records of our own.

`prepare` comes once per context, `wrap_socket` once per connection. Nothing here depends on how
OpenSSL was built: secrets come from the key log, the sequence number from opening our own records.
"""

from .context import prepare
from .tls_socket import TLSSocket, wrap_socket

__all__ = ["TLSSocket", "prepare", "wrap_socket"]
