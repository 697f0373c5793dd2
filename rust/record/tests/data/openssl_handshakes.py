"""Makes openssl_handshakes.txt: whole connections of stock `ssl`, with their secrets.

Run `python openssl_handshakes.py > openssl_handshakes.txt` in this directory.  Two SSLObjects
talk in memory, one record at a time.  Nothing of this project is used, and every run makes other
secrets.
"""

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
OP_NO_ENCRYPT_THEN_MAC = 0x80000
CHACHA = "TLS_CHACHA20_POLY1305_SHA256"
CONFIG = """openssl_conf = main
[main]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
Ciphersuites = {}
"""
REQUEST, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Kind:
    """What a connection is to be like."""

    version: str
    cipher: str
    order: str = "MtE"
    tickets: int = 2
    no_ticket: bool = False
    client_cert: bool = False
    retry: bool = False
    key_type: trustme.KeyType = trustme.KeyType.ECDSA
    resume: bool = True

    def __str__(self) -> str:
        words = [self.version, self.cipher]
        if "-SHA" in self.cipher and "GCM" not in self.cipher and self.version != "1.3":
            words.append(self.order)
        words += [f"{self.tickets} tickets"] if self.version == "1.3" else []
        words += ["session ID"] if self.no_ticket else []
        words += ["client certificate"] if self.client_cert else []
        words += ["retry"] if self.retry else []
        return ", ".join(words)


ECDSA_KINDS = [
    *(
        Kind(version, f"ECDHE-ECDSA-AES{bits}-SHA", order)
        for version in ("1.0", "1.1", "1.2")
        for bits in (128, 256)
        for order in ("MtE", "EtM")
    ),
    *(Kind("1.2", "ECDHE-ECDSA-AES128-SHA256", order) for order in ("MtE", "EtM")),
    *(Kind("1.2", "ECDHE-ECDSA-AES256-SHA384", order) for order in ("MtE", "EtM")),
    Kind("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    Kind("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    Kind("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    Kind("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", no_ticket=True),
    Kind("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", client_cert=True),
    Kind("1.0", "ECDHE-ECDSA-AES128-SHA", client_cert=True),
    Kind("1.2", "ECDHE-ECDSA-AES128-CCM", resume=False),
]
RSA = trustme.KeyType.RSA
RSA_KINDS = [
    Kind("1.2", "AES128-GCM-SHA256", key_type=RSA, resume=False),
    Kind("1.2", "AES256-GCM-SHA384", key_type=RSA, resume=False),
    Kind("1.2", "ECDHE-RSA-CHACHA20-POLY1305", key_type=RSA, resume=False),
    Kind("1.2", "AES128-SHA256", "EtM", key_type=RSA, resume=False),
    Kind("1.2", "AES256-SHA256", "MtE", key_type=RSA, resume=False),
    Kind("1.1", "AES256-SHA", "MtE", key_type=RSA, resume=False),
    Kind("1.0", "AES128-SHA", "EtM", key_type=RSA, resume=False),
]
TLS13_KINDS = {
    "TLS_AES_128_GCM_SHA256": [
        Kind("1.3", "TLS_AES_128_GCM_SHA256", tickets=tickets, resume=tickets > 0)
        for tickets in (0, 1, 5)
    ],
    "TLS_AES_256_GCM_SHA384": [
        Kind("1.3", "TLS_AES_256_GCM_SHA384"),
        Kind("1.3", "TLS_AES_256_GCM_SHA384", retry=True),
        Kind("1.3", "TLS_AES_256_GCM_SHA384", client_cert=True),
    ],
    CHACHA: [Kind("1.3", CHACHA), Kind("1.3", CHACHA, client_cert=True, retry=True, tickets=1)],
}


class Side:
    """One end of a connection in memory."""

    def __init__(
        self, context: ssl.SSLContext, server_side: bool, session: ssl.SSLSession | None = None
    ) -> None:
        self.letter = "S" if server_side else "C"
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=name,
            session=session,
        )
        self.waiting: list[bytes] = []
        self.done = False

    def shake_hands(self) -> None:
        """Go on with the handshake as far as possible."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.done = True

    def records(self) -> Iterator[bytes]:
        """Take every record that OpenSSL has written."""
        rest = self.outgoing.read()
        while rest:
            size = 5 + int.from_bytes(rest[3:5], "big")
            yield rest[:size]
            rest = rest[size:]


class Connection:
    """Both ends, and what was sent in the order in which it was sent."""

    def __init__(self, client: Side, server: Side) -> None:
        self.ends = {client: server, server: client}
        self.log: list[str] = []

    def shake_hands(self) -> None:
        """Make the handshake, feeding each side one record at a time."""
        client, server = self.ends
        self._step(client)
        while any(not side.done and side.waiting for side in (client, server)):
            for side in (server, client):
                while side.waiting and not side.done:
                    side.incoming.write(side.waiting.pop(0))
                    self._step(side)
        if not client.done or not server.done:
            raise RuntimeError("the handshake did not end")

    def _step(self, side: Side) -> None:
        side.shake_hands()
        for record in side.records():
            self.log.append(f"{side.letter}:{record.hex()}")
            self.ends[side].waiting.append(record)
        if side.done:
            self.log.append(f"{side.letter}:done")

    def say(self, side: Side, data: bytes) -> str:
        """Let one side write, and the other read it."""
        other = self.ends[side]
        side.tls.write(data)
        written = b"".join(side.records())
        for record in [*other.waiting, written]:
            other.incoming.write(record)
        other.waiting.clear()
        if other.tls.read(len(data)) != data:
            raise RuntimeError("the data did not arrive")
        return written.hex()


def contexts(kind: Kind, authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of client and server."""
    client = ssl.create_default_context()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert("localhost", key_type=kind.key_type).configure_cert(server)
    if kind.client_cert:
        authority.configure_trust(server)
        server.verify_mode = ssl.CERT_REQUIRED
        authority.issue_cert("client@localhost", key_type=kind.key_type).configure_cert(client)
    for context in (client, server):
        context.minimum_version = context.maximum_version = VERSIONS[kind.version]
        if kind.version != "1.3":
            context.set_ciphers(f"{kind.cipher}:@SECLEVEL=0")
        if kind.order == "MtE":
            context.options |= OP_NO_ENCRYPT_THEN_MAC
        if kind.no_ticket:
            context.options |= ssl.OP_NO_TICKET
    if kind.version == "1.3":
        server.num_tickets = kind.tickets
    if kind.retry:
        # The client's first share is for another curve.
        server.set_ecdh_curve("secp384r1")
    return client, server


def record(kind: Kind, authority: trustme.CA) -> None:
    """Print a full handshake and, if wanted, one that resumes its session."""
    client_context, server_context = contexts(kind, authority)
    session = None
    for resumed in (False, True) if kind.resume else (False,):
        with tempfile.NamedTemporaryFile() as log:
            server_context.keylog_filename = log.name
            client = Side(client_context, False, session)
            connection = Connection(client, server := Side(server_context, True))
            connection.shake_hands()
            server_context.keylog_filename = None
            lines = Path(log.name).read_text().splitlines()
        if client.tls.session_reused != resumed:
            raise RuntimeError(f"{kind} was not resumed")
        name, _, _ = client.tls.cipher() or ("", "", 0)
        print(f"\nName = {kind}, {'resumed' if resumed else 'full'}\nCipher = {name}")
        print("Sent =", " ".join(connection.log))
        labels = [line.split()[::2] for line in lines if not line.startswith("#")]
        print("Secrets =", " ".join(f"{label}:{secret}" for label, secret in labels))
        for side, data in ((client, REQUEST), (server, ANSWER)):
            print(f"{side.letter}Probe = {connection.say(side, bytes(1))}")
            print(f"{side.letter}Data = {connection.say(side, data)}")
        session = client.tls.session
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.tls.unwrap()
            closing = b"".join(side.records())
            connection.ends[side].incoming.write(closing)
            print(f"{side.letter}Close = {closing.hex()}")


def header() -> None:
    """Print what the file is."""
    print(f"# Connections of {ssl.OPENSSL_VERSION} with itself, client and server.")
    print("#")
    print("# Sent is the handshake in the order in which it was sent: C: or S: and a record of")
    print("# client or server, and C:done or S:done when the handshake call of that side returned;")
    print("# each side was fed one record at a time, up to there. Secrets is the key log of the")
    print("# server. Then each side writes one zero byte (Probe), a message (Data) and")
    print("# close_notify (Close). Before the connections, the suites that OpenSSL knows.")
    print("#")
    print("# Origin: recorded for this project by openssl_handshakes.py beside this file, with")
    print(f"# CPython {'.'.join(map(str, sys.version_info[:2]))}.")
    print("\n[suite]")
    context = ssl.create_default_context()
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    for suite in context.get_ciphers():
        print(f"\nNumber = {suite['id'] & 0xFFFF:04x}\nName = {suite['name']}")
    print("\n[connection]")


def main() -> None:
    """Print the file; OpenSSL reads the suite of TLS 1.3 from its configuration file."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    if len(sys.argv) > 1:
        for kind in TLS13_KINDS[sys.argv[1]]:
            record(kind, authority)
        return
    header()
    for kind in [*ECDSA_KINDS, *RSA_KINDS]:
        record(kind, authority)
    sys.stdout.flush()
    for suite in TLS13_KINDS:
        with tempfile.NamedTemporaryFile("w") as config:
            config.write(CONFIG.format(suite))
            config.flush()
            subprocess.run(  # noqa: S603 - this script
                [sys.executable, __file__, suite],
                check=True,
                env={**os.environ, "OPENSSL_CONF": config.name},
            )


if __name__ == "__main__":
    main()
