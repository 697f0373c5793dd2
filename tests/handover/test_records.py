"""The parts that know no socket: records, messages, suites, the follower, the tap."""

import os
import ssl
from types import SimpleNamespace

import pytest

from handover.pairs import assert_ours, exchange, pair
from ktls import HandoverError, _core
from ktls.constants import CRYPTO_AES_NIST_GCM_16
from ktls.handover import prepare, suites
from ktls.handover.follower import ALERT, HANDSHAKE, Follower, Message, WriteKeys
from ktls.handover.hello import HelloTap
from ktls.handover.records import MessageReader, plausible_header, split_records
from ktls.handover.takeover import NotTakenOver, find_candidates, max_frame_len

KEY_UPDATE = bytes([24, 0, 0, 1, 0])
TICKET = bytes([4, 0, 0, 200]) + bytes(200)


def record(content_type: int, payload: bytes) -> bytes:
    return bytes([content_type, 3, 3]) + len(payload).to_bytes(2, "big") + payload


def test_split_records() -> None:
    records = [record(22, os.urandom(n)) for n in (0, 1, 300, 16384)]
    assert list(split_records(b"".join(records))) == records
    assert list(split_records(b"")) == []
    for cut in (1, 3, 6):
        with pytest.raises(ValueError, match=f"{5 + 300 - cut} bytes left|{5 - cut} bytes left"):
            list(split_records(records[0][: 5 - cut] if cut < 5 else records[2][:-cut]))


@pytest.mark.parametrize(
    ("header", "plausible"),
    [
        ("1603010200", True),
        ("1703034900", False),
        ("1703034800", True),
        ("1903030001", False),
        ("1602030001", False),
        ("8040010301", False),
    ],
)
def test_plausible_header(header: str, plausible: bool) -> None:
    assert plausible_header(bytes.fromhex(header)) is plausible


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100, 1000])
def test_messages_are_put_together_wherever_they_were_cut(size: int) -> None:
    messages = [bytes([n, 0, 0, n]) + bytes(n) for n in (1, 2, 0, 20, 200)]
    stream = b"".join(messages)
    reader = MessageReader()
    got = [m for i in range(0, len(stream), size) for m in reader.feed(stream[i : i + size])]
    assert got == messages
    assert reader.at_boundary
    assert list(reader.feed(b"\x01\0\0\x05a")) == []
    assert not reader.at_boundary


def test_suites_are_openssls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    known = {cipher["id"] & 0xFFFF: cipher for cipher in context.get_ciphers()}
    for suite in suites._SUITES:
        cipher = known[suite.number]
        assert suite.name == cipher["name"]
        assert suite.key_len * 8 == cipher["strength_bits"]
        assert cipher["aead"] is (suite.auth_algorithm == 0)
        assert suite.tls13 is (cipher["protocol"] == "TLSv1.3")
        assert suite.prf_hash == ("sha384" if suite.name.endswith("SHA384") else "sha256")
        # What ssl says is the oldest version that it goes with.
        oldest = {"TLSv1.3": 4, "TLSv1.2": 3, "TLSv1.0": 1, "SSLv3": 1}[cipher["protocol"]]
        assert min(suite.tls_vminors) == oldest
        assert max(suite.tls_vminors) == (4 if suite.tls13 else 3)
    assert suites.named(0x1304) is None


def write_keys(number: int) -> tuple[WriteKeys, _core.Sealer]:
    """Keys as OpenSSL would have them, and its way to seal."""
    suite = suites.named(number)
    assert suite is not None
    if suite.tls13:
        secret = _core.Secret("SERVER_TRAFFIC_SECRET_0", os.urandom(32))
        keys = secret.keys(suite.cipher_algorithm, suite.key_len)
        return WriteKeys(suite, keys, secret), _core.Sealer(keys)
    keys = _core.Keys(3, CRYPTO_AES_NIST_GCM_16, os.urandom(16), os.urandom(4))
    return WriteKeys(suite, keys), _core.Sealer(keys)


@pytest.fixture
def tls13() -> tuple[WriteKeys, _core.Sealer, Follower]:
    keys, sealer = write_keys(0x1301)
    return keys, sealer, Follower(keys, _core.Opener(keys.keys))


@pytest.fixture
def tls12() -> tuple[WriteKeys, _core.Sealer, Follower]:
    keys, sealer = write_keys(0xC02F)
    return keys, sealer, Follower(keys, _core.Opener(keys.keys))


def test_follower_translates(tls13) -> None:
    _, sealer, follower = tls13
    data = sealer.seal(TICKET, HANDSHAKE) + record(20, b"\x01") + sealer.seal(b"\x01\0", ALERT)
    assert follower.translate(data) == [Message(HANDSHAKE, TICKET), Message(ALERT, b"\x01\0")]


def test_follower_counts_generations(tls13) -> None:
    keys, sealer, follower = tls13
    split = sealer.seal(TICKET[:50], HANDSHAKE) + sealer.seal(TICKET[50:] + KEY_UPDATE, HANDSHAKE)
    after = _core.Sealer(keys.next_generation().keys)
    messages = follower.translate(split + after.seal(b"\x01\0", ALERT))
    assert messages == [
        Message(HANDSHAKE, TICKET[:50]),
        Message(HANDSHAKE, TICKET[50:] + KEY_UPDATE, ends_generation=True),
        Message(ALERT, b"\x01\0"),
    ]
    assert [message.ends_writing(True) for message in messages] == [False, False, True]
    assert keys.next_generation().next_generation().generation == 2


def test_key_update_split_over_records(tls13) -> None:
    _, sealer, follower = tls13
    first = follower.translate(sealer.seal(KEY_UPDATE[:2], HANDSHAKE))
    second = follower.translate(sealer.seal(KEY_UPDATE[2:], HANDSHAKE))
    assert [m.ends_generation for m in first + second] == [False, True]


@pytest.mark.parametrize("rest", [TICKET, TICKET[:10], KEY_UPDATE])
def test_nothing_may_follow_a_key_update_in_its_record(tls13, rest: bytes) -> None:
    _, sealer, follower = tls13
    with pytest.raises(HandoverError, match="after a KeyUpdate"):
        follower.translate(sealer.seal(KEY_UPDATE + rest, HANDSHAKE))


def test_follower_of_1_2(tls12) -> None:
    _, sealer, follower = tls12
    warning, fatal, close = (
        follower.translate(sealer.seal(alert, ALERT))[0]
        for alert in (b"\x01\x64", b"\x02\x14", b"\x01\0")
    )
    assert not warning.ends_writing(False)
    assert fatal.ends_writing(False)
    assert close.ends_writing(False)
    with pytest.raises(HandoverError, match="renegotiation"):
        follower.translate(sealer.seal(b"\x01\0\0\0", HANDSHAKE))


def test_alerts_of_1_3() -> None:
    assert not Message(ALERT, b"\x01\x5a").ends_writing(True)
    assert Message(ALERT, b"\x01\x14").ends_writing(True)
    assert not Message(HANDSHAKE, b"\x02\x14").ends_writing(True)


@pytest.mark.parametrize("which", ["tls12", "tls13"])
def test_data_of_openssl_is_never_passed_on(which: str, request: pytest.FixtureRequest) -> None:
    _, sealer, follower = request.getfixturevalue(which)
    with pytest.raises(HandoverError, match="type 23"):
        follower.translate(sealer.seal(b"data"))


@pytest.mark.parametrize("which", ["tls12", "tls13"])
def test_record_that_does_not_open(which: str, request: pytest.FixtureRequest) -> None:
    _, sealer, follower = request.getfixturevalue(which)
    sealed = bytearray(sealer.seal(b"\x01\0", ALERT))
    sealed[-1] ^= 1
    with pytest.raises(HandoverError, match="does not open"):
        follower.translate(bytes(sealed))
    with pytest.raises(HandoverError, match="does not open"):
        follower.translate(bytes(sealed[:-1]))


def test_next_generation_before_1_3(tls12) -> None:
    with pytest.raises(HandoverError, match=r"TLS 1\.3"):
        tls12[0].next_generation()


def watched(**changes: object) -> HelloTap:
    """A tap that has seen two hellos."""
    tap = HelloTap(True, lambda _: None)
    tap.client_hello = SimpleNamespace(
        random=bytes(32), max_fragment_len=None, record_size_limit=None
    )
    hello = {
        "random": bytes(32),
        "cipher_suite": 0xC02F,
        "compression_method": 0,
        "tls_vminor": 3,
        "encrypt_then_mac": False,
        "max_fragment_len": None,
    }
    tap.server_hello = SimpleNamespace(**(hello | changes))
    return tap


CIPHER = ("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2", 128)


@pytest.mark.parametrize(
    ("changes", "cipher", "why"),
    [
        ({}, CIPHER, "no secret was logged"),
        ({"compression_method": 1}, CIPHER, "compression"),
        ({"cipher_suite": 0x1301}, CIPHER, "ECDHE-RSA-AES128-GCM-SHA256 .0x1301. stays"),
        ({"tls_vminor": 4}, CIPHER, r"not in TLS version 3\.4"),
        (
            {"cipher_suite": 0xC027, "tls_vminor": 2},
            ("ECDHE-RSA-AES128-SHA256", "TLSv1.1", 128),
            r"not in TLS version 3\.2",
        ),
        ({"cipher_suite": 0x1304}, ("TLS_AES_128_CCM_SHA256", "TLSv1.3", 128), "CCM"),
        ({"cipher_suite": 0x1304}, None, "unknown"),
    ],
)
def test_what_stays_with_openssl(changes: dict, cipher: tuple | None, why: str) -> None:
    with pytest.raises(NotTakenOver, match=why):
        find_candidates(watched(**changes), [], True, cipher)


def test_hello_that_was_not_seen_or_not_understood() -> None:
    tap = HelloTap(True, lambda _: None)
    with pytest.raises(NotTakenOver, match="no hello was seen"):
        find_candidates(tap, [], True, CIPHER)
    tap.incoming(record(22, b"\x01\0\0\x04abcd"))
    with pytest.raises(NotTakenOver, match="could not be read"):
        find_candidates(tap, [], True, CIPHER)
    tap = HelloTap(True, lambda _: None)
    tap.incoming(bytes.fromhex("802e010303"))
    with pytest.raises(NotTakenOver, match="SSLv2"):
        find_candidates(tap, [], True, CIPHER)


def test_encrypt_then_mac_means_nothing_with_an_aead() -> None:
    """A server should not say it, and OpenSSL does not look (RFC 7366 §3)."""
    tap = watched(encrypt_then_mac=True)
    secret = _core.Secret("CLIENT_RANDOM", os.urandom(48))
    _, server = secret.key_block(
        3, "sha256", tap.client_hello.random, tap.server_hello.random, CRYPTO_AES_NIST_GCM_16, 16
    )
    tap.own_records = [_core.Sealer(server).seal(b"\x14\0\0\x0c" + bytes(12), 22)]
    [candidate] = find_candidates(tap, [secret], True, CIPHER)
    assert candidate.opener.sequence == 1


def test_secrets_that_open_nothing() -> None:
    tap = watched()
    tap.own_records = [record(22, os.urandom(40))]
    secret = _core.Secret("CLIENT_RANDOM", os.urandom(48))
    short = _core.Secret("CLIENT_RANDOM", os.urandom(32))
    with pytest.raises(NotTakenOver, match="none of the secrets"):
        find_candidates(tap, [short, secret], True, CIPHER)


@pytest.mark.parametrize(
    ("client", "server", "size", "server_side", "expected12", "expected13"),
    [
        (None, None, None, True, 16384, 16384),
        (512, 512, None, True, 512, 512),
        (512, None, None, True, 16384, 512),
        (None, None, 1000, True, 1000, 999),
        (None, None, 1000, False, 16384, 16384),
        (None, None, 63, True, 16384, 16384),
        (4096, 4096, 65535, True, 4096, 4096),
    ],
)
def test_longest_record(client, server, size, server_side, expected12, expected13) -> None:
    tap = watched(max_fragment_len=server)
    tap.client_hello.max_fragment_len = client
    tap.client_hello.record_size_limit = size
    assert max_frame_len(tap, server_side, tls13=False) == expected12
    assert max_frame_len(tap, server_side, tls13=True) == expected13


def test_client_hello_in_many_records(make_context, version: str) -> None:
    """OpenSSL does not split it; somebody else may."""
    randoms: list[bytes] = []
    whole: list[bytes] = []
    incoming = HelloTap.incoming

    def cut(tap: HelloTap, hello: bytes) -> None:
        incoming(tap, hello)
        if hello[0] == 22 and not whole:
            whole.append(hello)
            other = HelloTap(True, randoms.append)
            for start in range(5, len(hello), 7):
                other.incoming(record(22, hello[start : start + 7]))
            assert randoms == [tap.client_hello.random]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HelloTap, "incoming", cut)
        server = prepare(make_context(True, version=version))
        with pair(server, make_context(False), server_side=True) as (own, other):
            assert_ours(own)
            exchange(own, other, (10,))
    assert len(randoms) == 1
