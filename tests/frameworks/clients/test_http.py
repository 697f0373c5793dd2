"""HTTP clients over a context of ours, against nginx: 100 MB each way, and what nginx saw."""

import asyncio
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import requests.adapters
import urllib3

import ktls

from .conftest import Seen
from .content import SIZE, sha256

TIMEOUT_S = 50


class Page:
    """What nginx says of two requests in a row, and a file that was put there and fetched."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any], sha256: str) -> None:
        self.first, self.second, self.sha256 = first, second, sha256


def with_http_client(context: ssl.SSLContext, port: int, name: str, body: bytes) -> Page:
    context.set_alpn_protocols(["http/1.1"])  # which it leaves to who makes the context
    connection = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=context)

    def ask(method: str, path: str, data: bytes | None = None) -> bytes:
        connection.request(method, path, data)
        response = connection.getresponse()
        assert response.status in (200, 201, 204)
        return response.read()

    first = json.loads(ask("GET", "/seen"))
    ask("PUT", f"/{name}", body)
    digest = sha256(ask("GET", f"/{name}"))
    second = json.loads(ask("GET", "/seen"))
    assert isinstance(connection.sock, ktls.TLSSocket)
    assert (connection.sock.mode, connection.sock.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW)
    connection.close()
    return Page(first, second, digest)


def with_urllib3(context: ssl.SSLContext, port: int, name: str, body: bytes) -> Page:
    url = f"https://localhost:{port}"
    with urllib3.PoolManager(ssl_context=context, timeout=TIMEOUT_S) as pool:
        first = pool.request("GET", f"{url}/seen").json()
        assert pool.request("PUT", f"{url}/{name}", body=body).status in (201, 204)
        digest = sha256(pool.request("GET", f"{url}/{name}").data)
        return Page(first, pool.request("GET", f"{url}/seen").json(), digest)


class Adapter(requests.adapters.HTTPAdapter):
    """Takes the context, as the documentation of requests has it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self.context)


def with_requests(context: ssl.SSLContext, port: int, name: str, body: bytes) -> Page:
    url = f"https://localhost:{port}"
    with requests.Session() as session:
        session.verify = context.authority
        session.mount("https://", Adapter(context))
        first = session.get(f"{url}/seen", timeout=TIMEOUT_S).json()
        session.put(f"{url}/{name}", body, timeout=TIMEOUT_S).raise_for_status()
        digest = sha256(session.get(f"{url}/{name}", timeout=TIMEOUT_S).content)
        return Page(first, session.get(f"{url}/seen", timeout=TIMEOUT_S).json(), digest)


def with_httpx(
    context: ssl.SSLContext, port: int, name: str, body: bytes, *, http2: bool = False
) -> Page:
    url = f"https://localhost:{port}"
    with httpx.Client(verify=context, http1=not http2, http2=http2, timeout=TIMEOUT_S) as client:
        first = client.get(f"{url}/seen").json()
        client.put(f"{url}/{name}", content=body).raise_for_status()
        digest = sha256(client.get(f"{url}/{name}").content)
        return Page(first, client.get(f"{url}/seen").json(), digest)


def with_httpx_http2(context: ssl.SSLContext, port: int, name: str, body: bytes) -> Page:
    return with_httpx(context, port, name, body, http2=True)


CLIENTS = [with_http_client, with_urllib3, with_requests, with_httpx, with_httpx_http2]


def require_seen(page: dict[str, Any], version: str, *, alpn: str) -> None:
    """SNI, ALPN and the client's certificate."""
    assert page["version"] == version
    assert page["name"] == "localhost"
    assert page["alpn"] == alpn
    assert page["verified"] == "SUCCESS"
    assert "CN=client" in page["client"].split(",")
    assert page["http"] == ("HTTP/2.0" if alpn == "h2" else "HTTP/1.1")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__[5:])
def test_http_100_mb_each_way(
    client: Any,
    context: ktls.SSLContext,
    https: int,
    http_files: Path,
    body: bytes,
    all_ours: list[Seen],
    version: str,
    certificates: Path,
) -> None:
    context.authority = certificates / "ca.pem"
    page = client(context, https, "upload", body)
    arrived = http_files / "files" / "upload"
    assert page.sha256 == sha256(arrived.read_bytes()) == sha256(body)
    arrived.unlink()
    alpn = "h2" if client is with_httpx_http2 else "http/1.1"
    require_seen(page.first, version, alpn=alpn)
    require_seen(page.second, version, alpn=alpn)
    # One connection for all of it.
    assert len(all_ours) == 1
    assert all_ours[0].alpn == alpn
    assert page.first["connection"] == page.second["connection"]
    assert (page.first["request"], page.second["request"]) == (1, 4)


def test_async_client_stays_stock(
    context: ktls.SSLContext, https: int, http_files: Path, handshakes: list[Seen], version: str
) -> None:
    """`wrap_bio` is inherited: the same context, and none of its sockets is ours."""
    (http_files / "files" / "small").write_bytes(b"small")

    async def fetch(http2: bool) -> tuple[Any, bytes]:
        async with httpx.AsyncClient(verify=context, http2=http2) as client:
            seen = (await client.get(f"https://localhost:{https}/seen")).json()
            return seen, (await client.get(f"https://localhost:{https}/small")).content

    for http2 in (False, True):
        seen, content = asyncio.run(fetch(http2))
        require_seen(seen, version, alpn="h2" if http2 else "http/1.1")
        assert content == b"small"
    assert not handshakes
    # And back: the same context, now over a socket.
    assert with_httpx(context, https, "again", b"again").sha256 == sha256(b"again")
    assert [each.mode for each in handshakes] == [ktls.Mode.SW]


def test_uploads_have_the_whole_size(body: bytes) -> None:
    assert len(body) == SIZE
