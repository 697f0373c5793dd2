"""100 MB from each client, by each version of TLS and each way of reading."""

from collections.abc import Callable
from pathlib import Path

import pytest

from interop.clients import CLIENTS, Client, with_clients
from interop.conftest import UploadCall
from interop.server import Reader, by_makefile, by_recv, by_recv_into

READERS = (by_recv_into, by_recv, by_makefile)
FAITHFUL = [client for client in CLIENTS if client.tells_end]


@pytest.mark.large
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@with_clients
def test_every_client_uploads_100_mb(
    upload: UploadCall, bulk: Path, client: Client, reader: Reader
) -> None:
    upload(client, bulk, reader=reader).require_clean_end()


@pytest.mark.rule("RFC 8446 6.1")
@pytest.mark.parametrize("client", FAITHFUL, ids=lambda client: client.name)
def test_an_end_without_close_notify_is_seen(
    upload: UploadCall, part: Callable[[int], Path], client: Client
) -> None:
    """What these clients say of a clean end can be believed."""
    result = upload(client, part(100_000), says_end=False)
    assert result.status != 0, result.said
