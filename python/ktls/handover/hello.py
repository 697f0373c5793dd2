"""The hello tap: watches a handshake go by, in both directions, without changing it.

It remembers what the hand-over needs: the two hellos and our own encrypted records. It never raises
on what the peer sent: OpenSSL judges that; what the tap cannot follow only means that the
connection is not taken over (`HelloTap.refusal`).
"""

from collections.abc import Callable
from typing import Final

from ktls._core import ClientHello, ServerHello

from .records import HEADER_SIZE, MessageReader

__all__ = ["HelloTap"]

CHANGE_CIPHER_SPEC: Final = 20
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
TLS13: Final = 4


class HelloTap:
    """What a handshake shows on the wire.

    `on_client_random` is called with the 32 bytes as soon as a ClientHello is complete, and that is
    before OpenSSL can log a secret under it.
    """

    def __init__(self, server_side: bool, on_client_random: Callable[[bytes], None]) -> None:
        self._server_side = server_side
        self._on_client_random = on_client_random
        self._incoming = MessageReader()
        self._outgoing = MessageReader()
        self._own_cipher_spec = False
        self.client_hello: ClientHello | None = None
        self.server_hello: ServerHello | None = None
        self.own_records: list[bytes] = []
        """Our records under handshake or application keys, in the order in which they left."""
        self.refusal = ""
        """Why the handshake cannot be followed, or an empty string."""

    def incoming(self, record: bytes) -> None:
        """Look at one record of the peer, before OpenSSL gets it."""
        if record[0] & 0x80 and self.client_hello is None:
            self.refusal = "the peer began with an SSLv2 hello"
        elif record[0] == HANDSHAKE and not self.refusal:
            self._messages(self._incoming, record, from_client=self._server_side)

    def outgoing(self, record: bytes) -> None:
        """Look at one of our own records, before it leaves."""
        if self.refusal:
            return
        if self.server_hello is None:
            if record[0] == HANDSHAKE:
                self._messages(self._outgoing, record, from_client=not self._server_side)
        elif self.server_hello.tls_vminor >= TLS13:
            # A ChangeCipherSpec is only for middleboxes here (RFC 8446 D.4) and is not counted.
            if record[0] == APPLICATION_DATA:
                self.own_records.append(record)
        elif self._own_cipher_spec:
            self.own_records.append(record)
        elif record[0] == CHANGE_CIPHER_SPEC:
            self._own_cipher_spec = True

    def _messages(self, reader: MessageReader, record: bytes, *, from_client: bool) -> None:
        if self.server_hello is not None:
            return
        try:
            for message in reader.feed(record[HEADER_SIZE:]):
                if from_client and message[0] == CLIENT_HELLO:
                    self._client_hello(ClientHello(message))
                elif not from_client and message[0] == SERVER_HELLO:
                    self._server_hello(ServerHello(message))
        except ValueError as error:
            self.refusal = f"a hello could not be read: {error}"

    def _client_hello(self, hello: ClientHello) -> None:
        # After a HelloRetryRequest a second one comes, with the same random (RFC 8446 §4.1.2).
        self.client_hello = hello
        self._on_client_random(hello.random)

    def _server_hello(self, hello: ServerHello) -> None:
        if not hello.is_hello_retry_request:
            self.server_hello = hello
