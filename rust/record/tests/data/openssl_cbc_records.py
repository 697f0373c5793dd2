"""Makes openssl_cbc_records.txt: what stock `ssl` sends with AES-CBC suites, with its secrets.

Run `python openssl_cbc_records.py > openssl_cbc_records.txt` in this directory.  Two SSLObjects
shake hands in memory; every record after ChangeCipherSpec is kept, in order.  Nothing of this
project is used, and every run makes other secrets.
"""

import ssl
import sys
import tempfile
from pathlib import Path

import trustme

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
}
OP_NO_ENCRYPT_THEN_MAC = 0x80000
OP_DONT_INSERT_EMPTY_FRAGMENTS = 0x800
CIPHERS = [
    ("1.0", "ECDHE-RSA-AES128-SHA"),
    ("1.0", "ECDHE-RSA-AES256-SHA"),
    ("1.1", "ECDHE-RSA-AES128-SHA"),
    ("1.1", "ECDHE-RSA-AES256-SHA"),
    ("1.2", "ECDHE-RSA-AES128-SHA"),
    ("1.2", "ECDHE-RSA-AES256-SHA"),
    ("1.2", "ECDHE-RSA-AES128-SHA256"),
    ("1.2", "ECDHE-RSA-AES256-SHA384"),
]
REQUESTS = [b"GET / HTTP/1.1\r\n\r\n", b"x"]
ANSWERS = [b"HTTP/1.1 204 No Content\r\n\r\n", b"y" * 17]


class Side:
    """One end of a connection in memory, and the records it sent."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=name
        )
        self.sent = b""

    def flush_to(self, other: "Side") -> None:
        """Carry what was written to the other end."""
        data = self.outgoing.read()
        self.sent += data
        other.incoming.write(data)

    def shake_hands(self) -> None:
        """Go on with the handshake as far as possible."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return

    def records(self) -> list[bytes]:
        """Return every record that was sent."""
        rest, found = self.sent, []
        while rest:
            size = 5 + int.from_bytes(rest[3:5], "big")
            found.append(rest[:size])
            rest = rest[size:]
        return found


def contexts(
    version: str, cipher: str, order: str, empty_fragments: bool
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of client and server."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(server)
    for context in (client, server):
        context.minimum_version = context.maximum_version = VERSIONS[version]
        context.set_ciphers(f"{cipher}:@SECLEVEL=0")
        if order == "MtE":
            context.options |= OP_NO_ENCRYPT_THEN_MAC
        if not empty_fragments:
            context.options |= OP_DONT_INSERT_EMPTY_FRAGMENTS
    return client, server


def connection(version: str, cipher: str, order: str, empty_fragments: bool) -> None:
    """Print the cases of one connection."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "keys")
        client_context, server_context = contexts(version, cipher, order, empty_fragments)
        client_context.keylog_filename = str(log)
        client, server = Side(client_context, False), Side(server_context, True)
        for _ in range(4):
            client.shake_hands()
            client.flush_to(server)
            server.shake_hands()
            server.flush_to(client)
        [master] = [
            line.split()[2]
            for line in log.read_text().splitlines()
            if line.startswith("CLIENT_RANDOM")
        ]
    for side, other, messages in ((client, server, REQUESTS), (server, client, ANSWERS)):
        for message in messages:
            side.tls.write(message)
            side.flush_to(other)
            if other.tls.read(len(message)) != message:
                raise RuntimeError(f"{cipher} did not arrive")
    for side, messages in ((client, REQUESTS), (server, ANSWERS)):
        records = side.records()
        begin = next(index for index, record in enumerate(records) if record[0] == 20) + 1
        print(f"\n[{version} {cipher} {order}]")
        expected = [message.hex() for message in messages]
        for sequence, record in enumerate(records[begin:]):
            print(f"\nSide = {'Client' if side is client else 'Server'}\nMaster = {master}")
            print(f"ClientRandom = {client.sent[11:43].hex()}")
            print(f"ServerRandom = {server.sent[11:43].hex()}")
            print(f"Sequence = {sequence}\nType = {record[0]}")
            if record[0] == 23:
                fragment = empty_fragments and sequence % 2 == 1
                print(f"Payload = {'' if fragment else expected.pop(0)}")
            print(f"Record = {record.hex()}")
        if expected:
            raise RuntimeError(f"{cipher} sent too few records")


def main() -> None:
    """Print the file."""
    python = ".".join(map(str, sys.version_info[:2]))
    print(f"# AES-CBC records of {ssl.OPENSSL_VERSION}, from Finished on, with the master")
    print("# secret and both randoms. Finished has no payload here: it is a handshake message of")
    print(
        "# type 20 with 12 bytes. In TLS 1.0 an empty fragment comes before each write, but for the"
    )
    print("# last connection.")
    print("#")
    print("# Origin: recorded for this project by openssl_cbc_records.py beside this file, with")
    print(f"# CPython {python}.")
    for version, cipher in CIPHERS:
        for order in ("MtE", "EtM"):
            connection(version, cipher, order, empty_fragments=version == "1.0")
    connection("1.0", "ECDHE-RSA-AES128-SHA", "MtE", empty_fragments=False)


if __name__ == "__main__":
    main()
