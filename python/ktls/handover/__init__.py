"""The hand-over: from a stock `ssl` handshake to records of our own.

`prepare` comes once per context; the rest is for `TLSSocket`. Nothing here depends on how OpenSSL
was built: secrets come from the key log, the sequence number from opening our own records.
"""

from ktls.handover.context import prepare

__all__ = ["prepare"]
