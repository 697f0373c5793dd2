"""FreeBSD's catalogue (tests/sys/kern/ktls_test.c) as data: suites under upstream's names.

Written from a description of the catalogue; nothing here is upstream's text.
"""

import pytest

import ktls
from record_reader import AES_CBC, AES_GCM, CHACHA20_POLY1305, SHA1, SHA256, SHA384, Suite

MINORS = {"1_0": 1, "1_1": 2, "1_2": 3, "1_3": 4}
CBC_IV_LENS = {1: 16, 2: 0, 3: 0, 4: 0}


def cbc(bits: int, version: str, mac: str) -> Suite:
    minor = MINORS[version]
    auth = {"sha1": SHA1, "sha256": SHA256, "sha384": SHA384}[mac]
    name = f"aes{bits}_cbc_{version}_{mac}"
    return Suite(name, minor, AES_CBC, bits // 8, CBC_IV_LENS[minor], auth)


def gcm(bits: int, version: str) -> Suite:
    minor = MINORS[version]
    name = f"aes{bits}_gcm_{version}"
    return Suite(name, minor, AES_GCM, bits // 8, 4 if minor == 3 else 12)


def chacha20(version: str) -> Suite:
    name = f"chacha20_poly1305_{version}"
    return Suite(name, MINORS[version], CHACHA20_POLY1305, 32, 12)


CBC_SUITES = [
    cbc(bits, version, mac)
    for bits in (128, 256)
    for version, mac in (
        ("1_0", "sha1"),
        ("1_1", "sha1"),
        ("1_2", "sha1"),
        ("1_2", "sha256"),
        ("1_2", "sha384"),
    )
]
AEAD_SUITES = [
    *(gcm(bits, version) for bits in (128, 256) for version in ("1_2", "1_3")),
    *(chacha20(version) for version in ("1_2", "1_3")),
]
SUITES = CBC_SUITES + AEAD_SUITES
INVALID_SUITES = [
    cbc(128, "1_0", "sha256"),
    cbc(128, "1_0", "sha384"),
    gcm(128, "1_0"),
    chacha20("1_0"),
    cbc(128, "1_1", "sha256"),
    cbc(128, "1_1", "sha384"),
    gcm(128, "1_1"),
    chacha20("1_1"),
    cbc(128, "1_3", "sha1"),
    cbc(128, "1_3", "sha256"),
    cbc(128, "1_3", "sha384"),
]


def cases(name: str, suites: list[Suite]) -> pytest.MarkDecorator:
    """One case for each suite, called ``ktls_transmit_<suite>_<name>``."""
    return pytest.mark.parametrize(
        "suite", [pytest.param(suite, id=f"ktls_transmit_{suite}_{name}") for suite in suites]
    )


def receive_cases(name: str, suites: list[Suite]) -> pytest.MarkDecorator:
    """One case for each suite, called ``ktls_receive_<suite>_<name>``."""
    return pytest.mark.parametrize(
        "suite", [pytest.param(suite, id=f"ktls_receive_{suite}_{name}") for suite in suites]
    )


def with_type(content_type: int) -> list[tuple[int, int, bytes]]:
    """The control message that sets the record type."""
    return [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))]
