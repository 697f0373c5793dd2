"""AES-CBC through ``ktls._core``, with stock ``ssl`` in memory at the other end."""

import ssl
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ktls import _core
from ktls.constants import (
    CRYPTO_AES_CBC,
    CRYPTO_AES_NIST_GCM_16,
    CRYPTO_SHA1_HMAC,
    CRYPTO_SHA2_256_HMAC,
    CRYPTO_SHA2_384_HMAC,
)
from ktls.errors import BadRecord
from tls_records import ENCRYPT_THEN_MAC, hello_random, server_hello_extensions, split_records

# TLS 1.0 and 1.1 are deprecated names of ssl, and wanted here.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

OP_NO_ENCRYPT_THEN_MAC = 0x80000
OP_DONT_INSERT_EMPTY_FRAGMENTS = 0x800
TLS10, TLS11, TLS12 = 1, 2, 3
VERSIONS = {TLS10: "TLSv1", TLS11: "TLSv1_1", TLS12: "TLSv1_2"}
MAC_LEN = {CRYPTO_SHA1_HMAC: 20, CRYPTO_SHA2_256_HMAC: 32, CRYPTO_SHA2_384_HMAC: 48}
HASHES = {
    CRYPTO_SHA1_HMAC: hashes.SHA1(),  # noqa: S303
    CRYPTO_SHA2_256_HMAC: hashes.SHA256(),
    CRYPTO_SHA2_384_HMAC: hashes.SHA384(),
}
SUITES = [
    (TLS10, CRYPTO_SHA1_HMAC),
    (TLS11, CRYPTO_SHA1_HMAC),
    (TLS12, CRYPTO_SHA1_HMAC),
    (TLS12, CRYPTO_SHA2_256_HMAC),
    (TLS12, CRYPTO_SHA2_384_HMAC),
]


@dataclass(frozen=True)
class Case:
    """A connection to make."""

    minor: int
    cipher: str
    key_len: int
    auth_algorithm: int
    prf_hash: str
    encrypt_then_mac: bool

    def __str__(self) -> str:
        order = "EtM" if self.encrypt_then_mac else "MtE"
        return f"1.{self.minor - 1}-{self.cipher}-{order}"


CIPHERS = [
    ("ECDHE-RSA-AES128-SHA", 16, CRYPTO_SHA1_HMAC, "sha256"),
    ("ECDHE-RSA-AES256-SHA", 32, CRYPTO_SHA1_HMAC, "sha256"),
    ("ECDHE-RSA-AES128-SHA256", 16, CRYPTO_SHA2_256_HMAC, "sha256"),
    ("ECDHE-RSA-AES256-SHA384", 32, CRYPTO_SHA2_384_HMAC, "sha384"),
    ("AES128-SHA", 16, CRYPTO_SHA1_HMAC, "sha256"),
    ("AES256-SHA256", 32, CRYPTO_SHA2_256_HMAC, "sha256"),
]
CASES = [
    Case(minor, *cipher, encrypt_then_mac)
    for minor, cipher, encrypt_then_mac in product(VERSIONS, CIPHERS, (False, True))
    if minor == TLS12 or cipher[2] == CRYPTO_SHA1_HMAC
]


class Side:
    """One end in memory; keeps what it sent."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else "localhost",
        )
        self.sent = b""

    def flush_to(self, other: "Side") -> bytes:
        data = self.outgoing.read()
        self.sent += data
        other.incoming.write(data)
        return data

    def shake_hands(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return

    def read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            parts += self.tls.read(size - len(parts))
        return bytes(parts)


def encrypted(data: bytes) -> list[bytes]:
    records = list(split_records(data))
    return records[[record[0] for record in records].index(20) + 1 :]


@dataclass
class Pair:
    """A finished handshake, and the keys of both directions as derived here."""

    case: Case
    ends: dict[str, Side]
    keys: dict[str, _core.Keys]

    def opener(self, role: str) -> _core.Opener:
        """Stand after everything that `role` has sent."""
        opener = _core.Opener(self.keys[role])
        for record in encrypted(self.ends[role].sent):
            opener.open(record)
        return opener

    def sealer(self, role: str) -> _core.Sealer:
        """Go on where OpenSSL stopped."""
        opener, keys = self.opener(role), self.keys[role]
        if opener.chained_iv is not None:
            keys = keys.with_iv(opener.chained_iv)
        return _core.Sealer(keys, opener.sequence)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)


@pytest.fixture(params=CASES, ids=str)
def pair(
    request: pytest.FixtureRequest,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    tmp_path: Path,
) -> Pair:
    return connect(request.param, authority, certificate, tmp_path)


def connect(
    case: Case,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    folder: Path,
    options: int = 0,
) -> Pair:
    client_context, server_context = (
        ssl.create_default_context(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.configure_trust(client_context)
    certificate.configure_cert(server_context)
    client_context.keylog_filename = str(folder / "keys")
    for context in (client_context, server_context):
        version = getattr(ssl.TLSVersion, VERSIONS[case.minor])
        context.minimum_version = context.maximum_version = version
        context.set_ciphers(f"{case.cipher}:@SECLEVEL=0")
        context.options |= options | (0 if case.encrypt_then_mac else OP_NO_ENCRYPT_THEN_MAC)
    client, server = Side(client_context, False), Side(server_context, True)
    for _ in range(4):
        client.shake_hands()
        client.flush_to(server)
        server.shake_hands()
        server.flush_to(client)
    cipher = client.tls.cipher()
    assert cipher is not None
    assert cipher[0] == case.cipher
    hello = server.sent[5 : 9 + int.from_bytes(server.sent[6:9], "big")]
    assert (ENCRYPT_THEN_MAC in server_hello_extensions(hello)) == case.encrypt_then_mac
    [master] = [
        bytes.fromhex(line.split()[2])
        for line in (folder / "keys").read_text().splitlines()
        if line.startswith("CLIENT_RANDOM")
    ]
    client_keys, server_keys = _core.Secret("CLIENT_RANDOM", master).key_block(
        case.minor,
        case.prf_hash,
        hello_random(client.sent[5:]),
        hello_random(hello),
        CRYPTO_AES_CBC,
        case.key_len,
        case.auth_algorithm,
        encrypt_then_mac=case.encrypt_then_mac,
    )
    return Pair(
        case,
        {"client": client, "server": server},
        {"client": client_keys, "server": server_keys},
    )


ROLES = pytest.mark.parametrize(("role", "peer"), [("client", "server"), ("server", "client")])
PAYLOADS = [
    b"x",
    *(bytes([n]) * n for n in range(11, 29)),
    bytes(range(256)) * 64,
    bytes(range(251)) * 200,
]


@ROLES
def test_cbc_records_of_openssl_open(pair: Pair, role: str, peer: str) -> None:
    opener = pair.opener(role)
    sender = pair.ends[role]
    for payload in PAYLOADS:
        sender.tls.write(payload)
        records = split_records(sender.flush_to(pair.ends[peer]))
        opened = [opener.open(record) for record in records]
        assert {content_type for content_type, _ in opened} == {23}
        assert b"".join(part for _, part in opened) == payload
    with pytest.raises(ssl.SSLWantReadError):
        sender.tls.unwrap()  # sends close_notify and waits for the peer's
    [alert] = split_records(sender.flush_to(pair.ends[peer]))
    assert opener.open(alert) == (21, b"\x01\x00")


@ROLES
def test_openssl_reads_what_we_seal(pair: Pair, role: str, peer: str) -> None:
    sealer, reader = pair.sealer(role), pair.ends[peer]
    for payload in PAYLOADS:
        reader.incoming.write(sealer.seal(b"") + sealer.seal(payload))
        assert reader.read(len(payload)) == payload
    out = bytearray(200)
    size = sealer.seal_into(b"into a buffer", out)
    reader.incoming.write(bytes(out[:size]))
    assert reader.read(13) == b"into a buffer"
    reader.incoming.write(sealer.seal(b"\x01\x00", content_type=21))
    assert reader.tls.read(1) == b""  # a proper end, not an error


def test_empty_fragments_of_openssl_open(
    authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    counts = []
    for number, options in enumerate((0, OP_DONT_INSERT_EMPTY_FRAGMENTS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = connect(CASES[0], authority, certificate, folder, options)
        opener, client = pair.opener("client"), pair.ends["client"]
        client.tls.write(b"fragments")
        opened = [opener.open(r) for r in split_records(client.flush_to(pair.ends["server"]))]
        assert b"".join(payload for _, payload in opened) == b"fragments"
        counts.append(len(opened))
    assert counts == [2, 1]


@ROLES
def test_clone_of_a_cbc_opener_goes_on_by_itself(pair: Pair, role: str, peer: str) -> None:
    opener, sender = pair.opener(role), pair.ends[role]
    clone = opener.clone()
    records = []
    for payload in (b"first", b"second"):
        sender.tls.write(payload)
        records += split_records(sender.flush_to(pair.ends[peer]))
    before = (opener.sequence, opener.chained_iv)
    by_clone = b"".join(clone.open(record)[1] for record in records)
    assert (opener.sequence, opener.chained_iv) == before
    assert clone.sequence == opener.sequence + len(records)
    assert by_clone == b"".join(opener.open(record)[1] for record in records) == b"firstsecond"
    assert (opener.chained_iv is not None) == (pair.case.minor == TLS10)
    assert opener.chained_iv == clone.chained_iv


def keys_of(
    minor: int, auth_algorithm: int, key_len: int = 16, *, encrypt_then_mac: bool = False
) -> _core.Keys:
    return _core.Keys(
        minor,
        CRYPTO_AES_CBC,
        b"k" * key_len,
        b"i" * 16,
        auth_algorithm,
        b"m" * MAC_LEN[auth_algorithm],
        encrypt_then_mac=encrypt_then_mac,
    )


@pytest.mark.parametrize(("minor", "auth_algorithm"), SUITES)
@pytest.mark.parametrize("key_len", [16, 32])
@pytest.mark.parametrize("encrypt_then_mac", [False, True])
def test_every_cbc_suite_against_cryptography(
    minor: int, auth_algorithm: int, key_len: int, encrypt_then_mac: bool
) -> None:
    keys = keys_of(minor, auth_algorithm, key_len, encrypt_then_mac=encrypt_then_mac)
    mac_len = MAC_LEN[auth_algorithm]
    assert keys.tls_vminor == minor
    assert keys.cipher_algorithm == CRYPTO_AES_CBC
    assert keys.auth_algorithm == auth_algorithm
    assert keys.encrypt_then_mac == encrypt_then_mac
    assert keys.key_len == key_len
    assert keys.header_size == (5 if minor == TLS10 else 21)
    assert keys.trailer_size == mac_len + 16
    record = _core.Sealer(keys, 9).seal(b"a payload of 24 bytes...", content_type=23)
    assert record[:3] == bytes([23, 3, minor])
    iv = b"i" * 16 if minor == TLS10 else record[5:21]
    body = record[keys.header_size :]
    numbered = (9).to_bytes(8, "big") + record[:3]
    text, tag = (body[:-mac_len], body[-mac_len:]) if encrypt_then_mac else (body, b"")
    decryptor = Cipher(algorithms.AES(b"k" * key_len), modes.CBC(iv)).decryptor()
    plain = decryptor.update(text) + decryptor.finalize()
    if encrypt_then_mac:
        covered = record[5:-mac_len]
    else:
        covered, tag = plain[:24], plain[24 : 24 + mac_len]
    context = hmac.HMAC(b"m" * mac_len, HASHES[auth_algorithm])
    context.update(numbered + len(covered).to_bytes(2, "big") + covered)
    context.verify(tag)
    assert plain[:24] == b"a payload of 24 bytes..."
    padding = plain[24:] if encrypt_then_mac else plain[24 + mac_len :]
    assert padding == bytes([len(padding) - 1]) * len(padding)
    assert 1 <= len(padding) <= 16
    assert _core.Opener(keys, 9).open(record) == (23, b"a payload of 24 bytes...")


@pytest.mark.rule("RFC 5246 7.2.2", "RFC 7457 2.4")
@pytest.mark.parametrize(("minor", "auth_algorithm"), SUITES)
@pytest.mark.parametrize("encrypt_then_mac", [False, True])
def test_changed_cbc_records_say_nothing_more(
    minor: int, auth_algorithm: int, encrypt_then_mac: bool
) -> None:
    keys = keys_of(minor, auth_algorithm, encrypt_then_mac=encrypt_then_mac)
    record = _core.Sealer(keys).seal(b"data")
    opener = _core.Opener(keys)
    messages = set()
    for at in (0, *range(5, len(record))):
        changed = bytearray(record)
        changed[at] ^= 0x80
        with pytest.raises(BadRecord) as caught:
            opener.open(changed)
        messages.add(str(caught.value))
    assert messages == {"the record could not be opened"}
    assert opener.sequence == 0
    assert opener.open(record) == (23, b"data")


@pytest.mark.parametrize("minor", [TLS11, TLS12])
def test_an_iv_that_travels_needs_none_from_the_caller(minor: int) -> None:
    for iv in (b"", b"i" * 16, b"i" * 4):
        keys = _core.Keys(minor, CRYPTO_AES_CBC, b"k" * 16, iv, CRYPTO_SHA1_HMAC, b"m" * 20)
        record = _core.Sealer(keys).seal(b"data")
        assert _core.Opener(keys_of(minor, CRYPTO_SHA1_HMAC)).open(record) == (23, b"data")
    assert _core.Opener(keys).chained_iv is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TLS10, 11, b"k" * 16, b"", 7, b"m" * 20), "IV of 16 bytes, not 0"),
        ((TLS10, 11, b"k" * 16, b"i" * 16, 18, b"m" * 32), "HMAC-SHA256 .* TLS 1.0"),
        ((TLS11, 11, b"k" * 16, b"", 19, b"m" * 48), "HMAC-SHA384 .* TLS 1.1"),
        ((4, 11, b"k" * 16, b"", 7, b"m" * 20), "AES-128-CBC is not defined for TLS 1.3"),
        ((TLS12, 11, b"k" * 24, b"", 7, b"m" * 20), "a key of 24 bytes"),
        ((TLS12, 11, b"k" * 16, b"", 0, b""), "auth_algorithm 0"),
        ((TLS12, 11, b"k" * 16, b"", 8, b"m" * 20), "auth_algorithm 8"),
        ((TLS12, 11, b"k" * 16, b"", 7, b""), "key of 20 bytes, not 0"),
        ((TLS12, 11, b"k" * 16, b"", 18, b"m" * 20), "key of 32 bytes, not 20"),
        ((TLS12, CRYPTO_AES_NIST_GCM_16, b"k" * 16, b"salt", 7, b"m" * 20), "auth_algorithm 7"),
        ((TLS12, CRYPTO_AES_NIST_GCM_16, b"k" * 16, b"salt", 0, b"m"), "0 bytes, not 1"),
    ],
)
def test_keys_that_do_not_fit_are_named(
    arguments: tuple[int, int, bytes, bytes, int, bytes], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        _core.Keys(*arguments)
    assert "kkkk" not in str(caught.value)
    assert "mmmm" not in str(caught.value)


def test_an_aead_has_no_mac_order() -> None:
    arguments = (TLS12, CRYPTO_AES_NIST_GCM_16, b"k" * 16, b"salt")
    with pytest.raises(ValueError, match="encrypt_then_mac true"):
        _core.Keys(*arguments, encrypt_then_mac=True)
    assert not _core.Keys(*arguments).encrypt_then_mac
    assert _core.Keys(*arguments).auth_algorithm == 0


def test_key_blocks_refuse_the_same() -> None:
    secret = _core.Secret("CLIENT_RANDOM", bytes(48))
    for auth_algorithm in (0, 8):
        with pytest.raises(ValueError, match=f"auth_algorithm {auth_algorithm}"):
            secret.key_block(
                TLS12, "sha256", bytes(32), bytes(32), CRYPTO_AES_CBC, 16, auth_algorithm
            )


def test_repr_shows_the_suite_and_no_key() -> None:
    shown = repr(keys_of(TLS12, CRYPTO_SHA2_384_HMAC, 32, encrypt_then_mac=True))
    assert shown == "<ktls._core.Keys TLS 1.2 AES-256-CBC HMAC-SHA384, encrypt-then-MAC>"


def test_keys_go_on_with_another_iv() -> None:
    keys = keys_of(TLS10, CRYPTO_SHA1_HMAC)
    sealer, opener = _core.Sealer(keys, 3), _core.Opener(keys, 3)
    assert opener.chained_iv == b"i" * 16
    record = sealer.seal(b"one")
    opener.open(record)
    assert opener.chained_iv == record[-16:]
    resumed = _core.Sealer(keys.with_iv(record[-16:]), 4)
    assert resumed.seal(b"two") == sealer.seal(b"two")
    for iv in (b"", b"i" * 15):
        with pytest.raises(ValueError, match=f"16 bytes, not {len(iv)}"):
            keys.with_iv(iv)
