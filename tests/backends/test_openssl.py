"""The backend openssl: agrees with ring and with vectors, and its errors are not those of ssl."""

import os
import socket
import ssl
import subprocess
import sys

import pytest

import ktls
from both_ends import SUITES, both_ends, carried, enable_for
from ktls import _core, backends

Pair = tuple[socket.socket, socket.socket]
NAMES = ["ring", "openssl"]


@pytest.fixture
def provider() -> _core.Provider:
    (backend,) = (each for each in backends.registered() if each.name == "openssl")
    assert backends.probe(backend), backends.probe(backend).reason
    found = backends.provider(backend)
    assert found is not None
    return found


def keys(kind: str) -> _core.Keys:
    en = enable_for(kind)
    return _core.Keys(en.tls_vminor, en.cipher_algorithm, en.cipher_key, en.iv)


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000, 16384, 40_000])
def test_it_agrees_with_ring(provider: _core.Provider, kind: str, size: int) -> None:
    key, data = keys(kind), os.urandom(size)
    ours = _core.Sealer(key, 7, explicit_nonce=9, provider=provider)
    ring = _core.Sealer(key, 7, explicit_nonce=9)
    sealed = ours.seal(data)
    assert sealed == ring.seal(data)
    opener = _core.Opener(key, 7, provider=provider)
    records = []
    while sealed:
        length = 5 + int.from_bytes(sealed[3:5], "big")
        records.append(opener.open(sealed[:length]))
        sealed = sealed[length:]
    assert b"".join(payload for _, payload in records) == data


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("place", [-1, 5, 20])
def test_a_false_record_is_none_and_no_error_of_ssl(
    provider: _core.Provider, kind: str, place: int
) -> None:
    key = keys(kind)
    record = bytearray(_core.Sealer(key).seal(b"some text of a record"))
    record[place] ^= 1
    opener = _core.Opener(key, provider=provider)
    with pytest.raises(ktls.BadRecord):
        opener.open(record)
    # Errors left behind would be raised by the next call of OpenSSL.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    record[place] ^= 1
    assert opener.open(record) == (23, b"some text of a record")


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("sealer", NAMES)
@pytest.mark.parametrize("opener", NAMES)
def test_both_directions(tcp_pair: Pair, kind: str, sealer: str, opener: str) -> None:
    data = os.urandom(2_000_000)
    with both_ends(tcp_pair, kind, sealer=sealer, opener=opener) as (near, far):
        assert carried(near, far, data) == data


def test_cbc_is_left_to_others() -> None:
    ktls.sysctl["kern.ipc.tls.backend"] = "openssl"
    with pytest.raises(OSError, match="no backend seals"):
        backends.choose(3, ktls.CRYPTO_AES_CBC, 16)


def test_rfc_8439_2_8_2(provider: _core.Provider) -> None:
    """Its key and nonce: the tag is another, for TLS has its own additional data."""
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    record = _core.Sealer(_core.Keys(4, 41, key, nonce), provider=provider).seal(
        b"Ladies and Gentlemen of the class of '99: If I could offer you o"
    )
    assert record[5:21].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"


def test_a_provider_of_openssl_cnf_is_used(tmp_path: object) -> None:
    """With the null provider alone there is nothing to fetch, and the backend says so."""
    configuration = f"{tmp_path}/openssl.cnf"
    with open(configuration, "w") as file:
        file.write(
            "openssl_conf = init\n[init]\nproviders = sect\n[sect]\nnull = on\n[on]\nactivate = 1\n"
        )
    program = (
        "from ktls import backends\n"
        "print(*(backends.probe(b).reason for b in backends.registered() if b.name == 'openssl'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OPENSSL_CONF": configuration},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "no provider of this libcrypto has an AEAD of TLS"
