"""The writer of records that the receive tests use, held against OpenSSL and our two openers."""

import hashlib
import hmac
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from conformance.catalogue import SUITES
from ktls import _core
from record_reader import (
    AES_CBC,
    AES_GCM,
    CHACHA20_POLY1305,
    SHA1,
    SHA256,
    SHA384,
    RecordReader,
    Secrets,
    Suite,
)
from record_writer import RecordWriter, header_size, least_length, records_in
from traffic_secrets import TrafficSecret

# TLS 1.0 and 1.1 are deprecated names of ssl, and wanted here.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

every_suite = pytest.mark.parametrize("suite", SUITES, ids=str)
OP_NO_ENCRYPT_THEN_MAC = 0x80000
VERSIONS = {1: "TLSv1", 2: "TLSv1_1", 3: "TLSv1_2", 4: "TLSv1_3"}
SIZES = (1, 15, 16, 17, 300, 16384)
CIPHERS = {
    (AES_CBC, 16, SHA1): "ECDHE-RSA-AES128-SHA",
    (AES_CBC, 32, SHA1): "ECDHE-RSA-AES256-SHA",
    (AES_CBC, 16, SHA256): "ECDHE-RSA-AES128-SHA256",
    (AES_CBC, 32, SHA256): "AES256-SHA256",
    (AES_CBC, 32, SHA384): "ECDHE-RSA-AES256-SHA384",
    (AES_GCM, 16, 0): "ECDHE-RSA-AES128-GCM-SHA256",
    (AES_GCM, 32, 0): "ECDHE-RSA-AES256-GCM-SHA384",
    (CHACHA20_POLY1305, 32, 0): "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Of TLS 1.2 and before, by cipher, key and MAC; TLS 1.3's are named by their key secrets."""


@every_suite
def test_our_readers_open_what_the_record_writer_seals(suite: Suite) -> None:
    secrets = Secrets(suite)
    writer, reader = RecordWriter(secrets), RecordReader(secrets, padded=True)
    keys = _core.Keys(
        suite.tls_vminor,
        suite.cipher_algorithm,
        secrets.key,
        secrets.iv,
        suite.auth_algorithm,
        secrets.mac_key or None,
    )
    opener = _core.Opener(keys, secrets.sequence)
    for size in (0, *SIZES):
        for content_type in (21, 22, 23):
            payload = os.urandom(size)
            record = writer.seal(payload, content_type)
            assert opener.open(record) == (content_type, payload)
            assert reader.open(record) == (content_type, payload)
    assert writer.sequence == reader.sequence == opener.sequence


@every_suite
def test_record_writer_knows_the_least_lengths(suite: Suite) -> None:
    """No record is shorter than an empty one, and the payload begins where it is said to."""
    record = RecordWriter(Secrets(suite)).seal(b"")
    assert int.from_bytes(record[3:5], "big") == len(record) - 5 == least_length(suite)
    assert header_size(suite) == 5 + {
        (AES_CBC, 1): 0,
        (AES_CBC, 2): 16,
        (AES_CBC, 3): 16,
        (AES_GCM, 3): 8,
    }.get((suite.cipher_algorithm, suite.tls_vminor), 0)


# -- OpenSSL ---------------------------------------------------------------------------------------


@dataclass
class Handshake:
    """A finished one in memory: a server that reads, and all that the client has sent."""

    server: ssl.SSLObject
    incoming: ssl.MemoryBIO
    client_sent: bytes
    server_sent: bytes
    key_log: dict[str, bytes]


@pytest.fixture(scope="module")
def rsa() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


def shake_hands(suite: Suite, authority: trustme.CA, folder: Path) -> Handshake:
    client_context = ssl.create_default_context()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client_context)
    certificate = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    certificate.configure_cert(server_context)
    client_context.keylog_filename = str(folder / "keys")
    for context in (client_context, server_context):
        version = getattr(ssl.TLSVersion, VERSIONS[suite.tls_vminor])
        context.minimum_version = context.maximum_version = version
        context.options |= OP_NO_ENCRYPT_THEN_MAC
        if suite.tls_vminor < 4:
            name = CIPHERS.get((suite.cipher_algorithm, suite.key_len, suite.auth_algorithm))
            context.set_ciphers(f"{name}:@SECLEVEL=0")
    bios = {role: (ssl.MemoryBIO(), ssl.MemoryBIO()) for role in ("client", "server")}
    client = client_context.wrap_bio(*bios["client"], server_hostname="localhost")
    server = server_context.wrap_bio(*bios["server"], server_side=True)
    sent = {"client": b"", "server": b""}
    for _ in range(3):
        for role, end, other in (("client", client, "server"), ("server", server, "client")):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            data = bios[role][1].read()
            sent[role] += data
            bios[other][0].write(data)
    logged = (folder / "keys").read_text().splitlines()
    lines = [line.split() for line in logged if not line.startswith("#")]
    return Handshake(
        server,
        bios["server"][0],
        sent["client"],
        sent["server"],
        {line[0]: bytes.fromhex(line[2]) for line in lines},
    )


def expanded(suite: Suite, secret: bytes, seed: bytes, size: int) -> bytes:
    """The PRF of TLS 1.0 to 1.2 (RFC 2246 §5, RFC 5246 §5)."""

    def p_hash(name: str, key: bytes) -> bytes:
        out, step = b"", seed
        while len(out) < size:
            step = hmac.digest(key, step, name)
            out += hmac.digest(key, step + seed, name)
        return out[:size]

    if suite.tls_vminor < 3:
        half = (len(secret) + 1) // 2
        mixed = zip(p_hash("md5", secret[:half]), p_hash("sha1", secret[-half:]), strict=True)
        return bytes(one ^ other for one, other in mixed)
    large = (suite.cipher_algorithm, suite.key_len) == (AES_GCM, 32)
    return p_hash("sha384" if large or suite.auth_algorithm == SHA384 else "sha256", secret)


def client_secrets(suite: Suite, made: Handshake) -> Secrets:
    """The client's keys, and the number of its first record of data."""
    if suite.tls_vminor == 4:
        value = made.key_log["CLIENT_TRAFFIC_SECRET_0"]
        return TrafficSecret(suite, value).secrets()
    # Behind the headers of record and message, and the version: 32 bytes (RFC 5246 §7.4.1).
    seed = b"key expansion" + made.server_sent[11:43] + made.client_sent[11:43]
    secrets = Secrets(suite)
    mac_len = len(secrets.mac_key)
    iv_len = 16 if suite.tls_vminor == 1 else suite.iv_len
    size = 2 * (mac_len + suite.key_len + iv_len)
    block = expanded(suite, made.key_log["CLIENT_RANDOM"], seed, size)
    secrets.mac_key = block[:mac_len]
    at = 2 * mac_len
    secrets.key = block[at : at + suite.key_len]
    at += 2 * suite.key_len
    secrets.iv = block[at : at + iv_len]
    if suite.tls_vminor == 1:
        # The client's Finished is the record before.
        secrets.iv = records_in(made.client_sent)[-1][-16:]
    secrets.sequence = 1
    return secrets


BY_OPENSSL = [
    suite
    for suite in SUITES
    # The only one that no registered cipher suite has.
    if (suite.key_len, suite.auth_algorithm) != (16, SHA384) and suite.tls_vminor < 4
]


@pytest.mark.parametrize("suite", BY_OPENSSL, ids=str)
def test_openssl_opens_what_the_record_writer_seals(
    suite: Suite, rsa: trustme.CA, tmp_path: Path
) -> None:
    made = shake_hands(suite, rsa, tmp_path)
    assert_opened(RecordWriter(client_secrets(suite, made)), made)


def test_openssl_opens_what_the_record_writer_seals_in_tls13(
    rsa: trustme.CA, tmp_path: Path
) -> None:
    """With the suite that OpenSSL chooses; the others differ in the cipher alone."""
    suite = next(suite for suite in SUITES if suite.name == "aes256_gcm_1_3")
    made = shake_hands(suite, rsa, tmp_path)
    assert made.server.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
    writer = RecordWriter(client_secrets(suite, made))
    assert_opened(writer, made)
    made.incoming.write(writer.seal(b"padded", padding_len=100))
    assert made.server.read(100) == b"padded"
    made.incoming.write(writer.seal_without_type(20))
    with pytest.raises(ssl.SSLError, match=r"(?i)record"):
        made.server.read(100)


def assert_opened(writer: RecordWriter, made: Handshake) -> None:
    for size in SIZES:
        data = os.urandom(size)
        made.incoming.write(writer.seal(data))
        assert made.server.read(size) == data
    if writer.suite.cipher_algorithm == AES_CBC:
        made.incoming.write(writer.seal(b"padded", padding_len=32))
        assert made.server.read(100) == b"padded"
    digest = hashlib.sha256()
    for record in writer.seal_all(bytes(100_000)):
        made.incoming.write(record)
        digest.update(made.server.read(16384))
    assert digest.digest() == hashlib.sha256(bytes(100_000)).digest()
