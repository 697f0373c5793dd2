"""TLSEnable and the checks of its values."""

import copy
import errno
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import ktls
from ktls import params

GCM = ktls.CRYPTO_AES_NIST_GCM_16
CBC = ktls.CRYPTO_AES_CBC
CHACHA = ktls.CRYPTO_CHACHA20_POLY1305


def make(**changes: Any) -> ktls.TLSEnable:
    values: dict[str, Any] = {
        "cipher_algorithm": GCM,
        "cipher_key": bytes(16),
        "iv": bytes(12),
        "tls_vminor": 4,
    }
    return ktls.TLSEnable(**(values | changes))


def make_cbc(**changes: Any) -> ktls.TLSEnable:
    values: dict[str, Any] = {
        "cipher_algorithm": CBC,
        "auth_algorithm": ktls.CRYPTO_SHA1_HMAC,
        "auth_key": bytes(20),
        "iv": bytes(16),
        "tls_vminor": 3,
    }
    return make(**(values | changes))


def test_defaults_of_tls_enable() -> None:
    en = make()
    assert (en.auth_algorithm, en.auth_key, en.tls_vmajor, en.flags) == (0, b"", 3, 0)
    assert en.sequence == 0
    assert make(rec_seq=(2**63 + 5).to_bytes(8, "big")).sequence == 2**63 + 5


def test_keys_of_tls_enable_are_copied() -> None:
    key = bytearray(b"k" * 16)
    en = make(cipher_key=key, iv=memoryview(bytearray(12)))
    key[:] = bytes(16)
    assert en.cipher_key == b"k" * 16
    assert isinstance(en.cipher_key, memoryview)
    assert en.cipher_key.readonly


def test_tls_enable_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make().flags = 1  # type: ignore[misc]


def test_repr_of_tls_enable_shows_no_key() -> None:
    en = make_cbc(cipher_key=b"SECRET-CIPHERKEY", iv=b"SECRET-IV-BYTES!", auth_key=b"SECRET-MAC")
    assert "SECRET" not in repr(en)
    assert "tls_vminor=3" in repr(en)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_tls_enable_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="holds keys"):
        pickle.dumps(make(), protocol)


def test_tls_enable_cannot_be_copied() -> None:
    with pytest.raises(TypeError, match="holds keys"):
        copy.copy(make())
    with pytest.raises(TypeError, match="holds keys"):
        copy.deepcopy(make())


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("cipher_key", "text", "str"),
        ("iv", None, "NoneType"),
        ("auth_key", 5, "int"),
        ("rec_seq", [0] * 8, "list"),
        ("cipher_algorithm", "25", "str"),
        ("tls_vminor", 4.0, "float"),
        ("tls_vmajor", None, "NoneType"),
        ("flags", b"", "bytes"),
        ("auth_algorithm", "sha1", "str"),
    ],
)
def test_wrong_types_name_field_and_type(field: str, value: object, name: str) -> None:
    with pytest.raises(TypeError, match=rf"TLSEnable\.{field} .*not {name}"):
        make(**{field: value})


@pytest.mark.parametrize(
    "en",
    [
        make(),
        make(cipher_key=bytes(32)),
        make(tls_vminor=3, iv=bytes(4)),
        make(auth_algorithm=ktls.CRYPTO_AES_128_NIST_GMAC),
        make(auth_algorithm=ktls.CRYPTO_AES_256_NIST_GMAC),
        make(cipher_algorithm=CHACHA, cipher_key=bytes(32)),
        make(cipher_algorithm=CHACHA, cipher_key=bytes(32), tls_vminor=3),
        make_cbc(),
        make_cbc(tls_vminor=1),
        make_cbc(tls_vminor=2, iv=b""),
        make_cbc(auth_algorithm=ktls.CRYPTO_SHA2_256_HMAC, auth_key=bytes(32)),
        make_cbc(auth_algorithm=ktls.CRYPTO_SHA2_384_HMAC, auth_key=bytes(48), iv=b""),
        # The length of the key is the back end's affair.
        make(cipher_key=bytes(24)),
    ],
    ids=str,
)
def test_good_values_of_tls_enable_pass(en: ktls.TLSEnable) -> None:
    params.check_lengths(en)
    params.check(en)


@pytest.mark.rule("freebsd.md row 3", "freebsd.md row 11")
@pytest.mark.parametrize(
    ("en", "words"),
    [
        (make(cipher_key=b""), "cipher_key has 0 bytes"),
        (make(cipher_key=bytes(1025)), "cipher_key has 1025 bytes"),
        (make(iv=bytes(17)), "iv has 17 bytes"),
        (make(auth_key=bytes(1025)), "auth_key has 1025 bytes"),
        (make(rec_seq=bytes(4)), "rec_seq has 4 bytes"),
    ],
)
def test_bad_lengths_are_refused_and_named(en: ktls.TLSEnable, words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        params.check_lengths(en)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.rule("freebsd.md row 10", "freebsd.md row 12", "freebsd.md row 13")
@pytest.mark.parametrize(
    ("en", "words"),
    [
        (make(tls_vmajor=2), "tls_vmajor is 2"),
        (make(tls_vmajor=256), "tls_vmajor is 256"),
        (make(tls_vminor=0), "tls_vminor is 0"),
        (make(tls_vminor=5), "tls_vminor is 5"),
        (make(flags=1), "flags is 0x1"),
        (make(cipher_algorithm=1), "cipher_algorithm is 1; known are 25"),
        (make(auth_algorithm=ktls.CRYPTO_SHA1_HMAC), "auth_algorithm is 7"),
        (make(auth_key=bytes(20)), "auth_key has 20 bytes"),
        (make(iv=bytes(4)), "iv has 4 bytes; AES-GCM in TLS 1.3 takes 12"),
        (make(tls_vminor=3), "iv has 12 bytes; AES-GCM in TLS 1.2 takes 4"),
        (make(tls_vminor=2, iv=bytes(4)), "tls_vminor is 2; AES-GCM exists"),
        (make(tls_vminor=1, iv=bytes(4)), "tls_vminor is 1; AES-GCM exists"),
        (make_cbc(auth_algorithm=0), "auth_algorithm is 0; AES-CBC takes 7"),
        (make_cbc(auth_algorithm=26), "auth_algorithm is 26"),
        (make_cbc(auth_key=b""), "auth_key is empty"),
        (make_cbc(tls_vminor=1, iv=bytes(8)), "iv has 8 bytes; AES-CBC in TLS 1.0 takes 16"),
        (make_cbc(tls_vminor=4), "TLS 1.3 has no AES-CBC"),
        (make_cbc(tls_vminor=1, auth_algorithm=18), "SHA2-256 exists in TLS 1.2 only"),
        (make_cbc(tls_vminor=2, auth_algorithm=19), "SHA2-384 exists in TLS 1.2 only"),
        (make(cipher_algorithm=CHACHA, auth_algorithm=26), "auth_algorithm is 26"),
        (make(cipher_algorithm=CHACHA, auth_key=b"x"), "auth_key has 1 bytes"),
        (make(cipher_algorithm=CHACHA, tls_vminor=2), "tls_vminor is 2; ChaCha20"),
        (make(cipher_algorithm=CHACHA, iv=bytes(4)), "iv has 4 bytes; ChaCha20"),
    ],
)
def test_bad_values_are_refused_and_named(en: ktls.TLSEnable, words: str) -> None:
    params.check_lengths(en)
    with pytest.raises(OSError, match=words) as caught:
        params.check(en)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("en", "words"),
    [
        (make(tls_vmajor=2, flags=1), "tls_vmajor"),
        (make(tls_vminor=9, flags=1), "tls_vminor"),
        (make(flags=1, cipher_algorithm=0), "flags"),
        (make(auth_algorithm=7, auth_key=b"x", iv=b""), "auth_algorithm"),
        (make(auth_key=b"x", iv=b""), "auth_key"),
        (make(tls_vminor=2, iv=b""), "tls_vminor"),
        (make_cbc(auth_algorithm=0, auth_key=b""), "auth_algorithm"),
        (make_cbc(auth_key=b"", tls_vminor=1, iv=b""), "auth_key"),
    ],
)
def test_the_first_of_two_mistakes_is_named(en: ktls.TLSEnable, words: str) -> None:
    with pytest.raises(OSError, match=words):
        params.check(en)


@pytest.mark.rule("freebsd.md row 8")
def test_cbc_switched_off_is_checked_after_flags() -> None:
    with pytest.raises(OSError, match="cbc_enable") as caught:
        params.check(make_cbc(auth_key=b""), cbc_enable=False)
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError, match="flags") as caught:
        params.check(make_cbc(flags=1), cbc_enable=False)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.rule("freebsd.md row 16")
@pytest.mark.parametrize(
    ("cipher", "key_len", "words"),
    [
        (GCM, 24, "cipher_key has 24 bytes; AES-GCM takes 16 or 32"),
        (CBC, 15, "cipher_key has 15 bytes; AES-CBC takes 16 or 32"),
        (CHACHA, 16, "cipher_key has 16 bytes; ChaCha20-Poly1305 takes 32"),
    ],
)
def test_bad_key_lengths_are_refused_and_named(cipher: int, key_len: int, words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        params.check_key_len(cipher, key_len)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(("cipher", "key_len"), [(GCM, 16), (GCM, 32), (CBC, 16), (CHACHA, 32)])
def test_good_key_lengths_pass(cipher: int, key_len: int) -> None:
    params.check_key_len(cipher, key_len)


@pytest.mark.rule("freebsd.md row 13", "RFC 5246 C")
@pytest.mark.parametrize(
    ("algorithm", "length"),
    [
        (ktls.CRYPTO_SHA1_HMAC, 20),
        (ktls.CRYPTO_SHA2_256_HMAC, 32),
        (ktls.CRYPTO_SHA2_384_HMAC, 48),
    ],
)
def test_a_mac_key_is_as_long_as_its_hash(algorithm: int, length: int) -> None:
    params.check(make_cbc(auth_algorithm=algorithm, auth_key=bytes(length)))
    for wrong in (1, length - 1, length + 1, 1024):
        with pytest.raises(OSError, match=f"auth_key has {wrong} bytes; .* takes {length}") as e:
            params.check(make_cbc(auth_algorithm=algorithm, auth_key=bytes(wrong)))
        assert e.value.errno == errno.EINVAL
