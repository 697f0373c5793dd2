"""The client changes its keys 200 times during an upload, and asks us for the same (TLS 1.3)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from interop.clients import COMMANDED_OPENSSL, GNUTLS, JAVA
from interop.conftest import VOLUME, UploadCall
from interop.process import PACKET_SIZE
from interop.server import Reader, by_recv, by_recv_into

UPDATES = 200
PACKETS = 10
"""Packets of data between two updates."""

pytestmark = pytest.mark.parametrize("version", ["1.3"], indirect=True)
with_readers = pytest.mark.parametrize(
    "reader", [by_recv_into, by_recv], ids=lambda reader: reader.__name__
)


def every(*commands: bytes) -> Callable[[int], bytes]:
    """These commands in turn, one after each 10 packets."""

    def between(number: int) -> bytes:
        turn, behind = divmod(number, PACKETS)
        return b"" if behind else commands[turn % len(commands)]

    return between


@pytest.fixture
def digits(bulk: Path, tmp_path: Path) -> Path:
    """Data in which nobody sees a command: each packet is a line of small letters and digits."""
    path = tmp_path / "digits"
    with bulk.open("rb") as file, path.open("w") as lines:
        for _ in range(UPDATES * PACKETS):
            lines.write(file.read(PACKET_SIZE // 2).hex()[1:] + "\n")
    return path


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.large
@with_readers
def test_java_updates_keys_of_both_sides(
    upload: UploadCall, bulk: Path, tmp_path: Path, reader: Reader
) -> None:
    """JSSE asks for new keys of both sides each time that it has used one up."""
    properties = tmp_path / "java.security"
    limit = VOLUME // UPDATES
    properties.write_text(f"jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate {limit}\n")
    options = f"-Djava.security.properties={properties} -Djavax.net.debug=ssl,handshake"
    result = upload(JAVA, bulk, reader=reader, environment={"JDK_JAVA_OPTIONS": options})
    result.require_clean_end()
    assert result.said.count(b"KeyUpdate: write key updated") == UPDATES
    assert result.said.count(b"KeyUpdate: read key updated") == UPDATES


@pytest.mark.rule("RFC 8446 4.6.3")
@with_readers
def test_openssl_updates_keys_200_times(upload: UploadCall, digits: Path, reader: Reader) -> None:
    """K asks us for the same, k does not."""
    between = every(b"K\n", b"k\n")
    result = upload(COMMANDED_OPENSSL, digits, reader=reader, between=between)
    result.require_clean_end()
    assert result.said.count(b"KEYUPDATE\n") == UPDATES


@pytest.mark.rule("RFC 8446 4.6.3")
@with_readers
def test_gnutls_updates_keys_200_times(upload: UploadCall, digits: Path, reader: Reader) -> None:
    """^rekey^ asks us for the same, ^rekey1^ does not; GnuTLS takes eight answers in a second."""
    between = every(b"^rekey^\n", *[b"^rekey1^\n"] * (UPDATES // 4 - 1))
    options = ("--inline-commands",)
    result = upload(GNUTLS, digits, reader=reader, options=options, between=between)
    result.require_clean_end()
    assert result.said.count(b"- Rekey was completed") == UPDATES
