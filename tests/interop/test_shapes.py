"""Uploads in odd shapes: TCP segments of one byte, tiny records, padded records."""

from collections.abc import Callable
from pathlib import Path

import pytest

from interop.clients import GO, NODE, OPENSSL, Client, with_clients
from interop.conftest import UploadCall
from interop.server import Reader, by_recv, by_recv_into

WHOLE = 65536
"""As large as a relay's pieces come."""
AROUND = 24
"""The most that a suite adds to the data of a record: AES-GCM in TLS 1.2."""
HANDSHAKE = 16
"""More records than a client needs to shake hands, or to say goodbye."""
TINY = [
    (GO, ("1",), 1, 200_000),
    (GO, ("100",), 100, 5_000_000),
    (OPENSSL, ("-max_send_frag", "512"), 512, 20_000_000),
    (NODE, ("512",), 512, 20_000_000),
]


@with_clients
def test_uploads_in_segments_of_one_byte(
    upload: UploadCall, part: Callable[[int], Path], client: Client
) -> None:
    upload(client, part(200_000), piece=1).require_clean_end()


@pytest.mark.parametrize(
    ("client", "options", "size", "volume"),
    TINY,
    ids=[f"{client.name}-{size}" for client, _, size, _ in TINY],
)
def test_uploads_in_tiny_records(
    upload: UploadCall,
    part: Callable[[int], Path],
    client: Client,
    options: tuple[str, ...],
    size: int,
    volume: int,
) -> None:
    """No record has more than `size` bytes of data, and no more records come than must."""
    result = upload(client, part(volume), options=options, piece=WHOLE)
    result.require_clean_end()
    data = result.lengths[HANDSHAKE:-HANDSHAKE]
    assert size < max(data) <= size + AROUND
    assert len(data) >= volume // size - 2 * HANDSHAKE


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize("version", ["1.3"], indirect=True)
@pytest.mark.parametrize("reader", [by_recv_into, by_recv], ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("block", [1000, 4096, 16384])
def test_uploads_in_padded_records(
    upload: UploadCall, part: Callable[[int], Path], block: int, reader: Reader
) -> None:
    """Data and its type are filled up with zeros to whole blocks (RFC 8446 §5.4)."""
    options = ("-record_padding", str(block))
    result = upload(OPENSSL, part(20_000_000), options=options, piece=WHOLE, reader=reader)
    result.require_clean_end()
    padded = {length - 16 for length in result.lengths[HANDSHAKE:-HANDSHAKE]}
    assert padded
    assert all(length % block == 0 for length in padded)
