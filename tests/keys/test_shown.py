"""Keys are in no repr, no error, no log, no pickle and no copy."""

import copy
import logging
import os
import pickle
import socket
import traceback
from collections.abc import Callable

import pytest

import ktls
from keyed_link import parameters
from ktls import _core
from record_reader import SUITES, Secrets

KEY = bytes(range(0x91, 0xA1))
IV = bytes(range(0x61, 0x6D))
SECRET = bytes(range(0xC0, 0xE0))


def keys() -> _core.Keys:
    return _core.Keys(4, ktls.CRYPTO_AES_NIST_GCM_16, KEY, IV)


def secret() -> _core.Secret:
    return _core.Secret("SERVER_TRAFFIC_SECRET_0", SECRET)


def enable() -> ktls.TLSEnable:
    return ktls.TLSEnable(
        cipher_algorithm=ktls.CRYPTO_AES_NIST_GCM_16, cipher_key=KEY, iv=IV, tls_vminor=4
    )


HOLDERS: list[Callable[[], object]] = [
    enable,
    keys,
    secret,
    lambda: _core.Sealer(keys()),
    lambda: _core.Opener(keys()),
    lambda: _core.DirectionKeys(keys(), secret=secret()),
    lambda: _core.RecordParams("ring"),
]


def shows_no_key(shown: str | bytes) -> None:
    """In none of the forms in which Python, C or a log would write it."""
    data = shown.encode() if isinstance(shown, str) else shown
    for value in (KEY, IV, SECRET):
        for part in (value[:8], value[-8:]):
            text = part.hex()
            forms = [part, text.encode(), text.upper().encode(), repr(part)[2:-1].encode()]
            forms += [part.hex(separator).encode() for separator in ":- "]
            forms += [", ".join(map(str, part)).encode()]
            assert not any(form in data for form in forms)


@pytest.mark.parametrize("make", HOLDERS)
def test_no_repr_shows_a_key(make: Callable[[], object]) -> None:
    holder = make()
    for shown in (repr(holder), str(holder), f"{holder}", ascii(holder), repr([holder])):
        shows_no_key(shown)


@pytest.mark.parametrize("make", HOLDERS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_holds_a_key(make: Callable[[], object], protocol: int) -> None:
    try:
        pickled = pickle.dumps(make(), protocol)
    except (TypeError, pickle.PicklingError) as error:
        shows_no_key(str(error))
    else:
        shows_no_key(pickled)


@pytest.mark.parametrize("make", [enable, keys, secret])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_what_holds_keys_is_not_copied(
    make: Callable[[], object], duplicate: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        duplicate(make())


REFUSED: list[Callable[[], object]] = [
    lambda: _core.Keys(4, ktls.CRYPTO_AES_NIST_GCM_16, KEY + b"x", IV),
    lambda: _core.Keys(4, ktls.CRYPTO_AES_NIST_GCM_16, KEY, IV[:5]),
    lambda: _core.Keys(4, ktls.CRYPTO_AES_NIST_GCM_16, KEY, IV, 0, KEY),
    lambda: _core.Keys(9, ktls.CRYPTO_AES_NIST_GCM_16, KEY, IV),
    lambda: _core.Keys(4, 99, KEY, IV),
    lambda: _core.Secret("CLIENT_RANDOM", SECRET[:7]).keys(25, 16),
    lambda: _core.Secret("CLIENT_RANDOM", SECRET[:7]).next(),
    lambda: secret().key_block(3, "md5", bytes(32), bytes(32), 25, 16),
    lambda: secret().key_block(3, "sha256", SECRET, KEY, 25, 16),
    lambda: _core.Opener(keys()).open(bytes(40)),
    lambda: _core.Opener(keys()).open(_core.Sealer(keys(), 5).seal(b"another number")),
]


@pytest.mark.parametrize("make", REFUSED)
def test_no_error_shows_a_key(make: Callable[[], object]) -> None:
    with pytest.raises((ValueError, ktls.KTLSError)) as caught:
        make()
    shows_no_key("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize(
    "changes",
    [
        {"cipher_key": KEY + b"x"},
        {"iv": IV[:3]},
        {"auth_key": KEY},
        {"rec_seq": KEY},
        {"tls_vminor": 9},
        {"cipher_key": KEY * 100},
    ],
)
def test_no_refused_option_shows_a_key(
    enabled: None, tcp_pair: tuple[socket.socket, socket.socket], changes: dict[str, object]
) -> None:
    with ktls.Socket(tcp_pair[0]) as sock:
        secrets = Secrets(SUITES[3])
        secrets.key, secrets.iv = KEY, IV
        with pytest.raises(OSError, match=r" (is|has) ") as caught:
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets, **changes))
        shows_no_key("".join(traceback.format_exception(caught.value)))


def test_a_session_writes_no_key_anywhere(
    enabled: None,
    tcp_pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.NOTSET)
    with ktls.Socket(tcp_pair[0]) as sock:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, enable())
        sock.sendall(os.urandom(100_000))
        shows_no_key(repr(sock) + repr(sock._stream) + repr(sock._slot.session))
        shows_no_key(repr(dict(ktls.sysctl)))
        with pytest.raises(OSError, match="already") as caught:
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, enable())
        shows_no_key(str(caught.value))
    shows_no_key(caplog.text)
    shows_no_key("".join(capfd.readouterr()))


def test_what_is_freed_is_overwritten() -> None:
    """A view of a key that outlives its TLSEnable shows zeros; the caller's own bytes stay."""
    given = bytearray(KEY)
    en = ktls.TLSEnable(cipher_algorithm=25, cipher_key=given, iv=IV, tls_vminor=4)
    key, iv = en.cipher_key, en.iv
    assert (key, iv) == (KEY, IV)
    assert isinstance(key, memoryview)
    assert key.readonly
    del en
    assert (key, iv) == (bytes(16), bytes(12))
    assert given == KEY


def test_what_was_refused_stays_the_callers() -> None:
    given = bytearray(KEY)
    with pytest.raises(TypeError):
        ktls.TLSEnable(
            cipher_algorithm=25,
            cipher_key=memoryview(given).toreadonly(),
            iv="text",  # type: ignore[arg-type]
            tls_vminor=4,
        )
    assert given == KEY
