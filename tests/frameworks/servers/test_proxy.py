"""The proxy on select: TLS on both sides, a stock server behind it, curl before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .curl import VERSIONS, Curl, digest
from .document import sections
from .program import Program

UPLOAD_SIZE = 20_000_000

with_versions = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def proxy(
    reference: Program, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    section = sections()["A proxy on select"]
    upstream = {"UPSTREAM_PORT": str(reference.port)}
    with Program(section, tmp_path_factory.mktemp("proxy"), shared, **upstream) as program:
        yield program


@pytest.fixture
def curl(proxy: Program, shared: Path, tmp_path: Path) -> Curl:
    return Curl(proxy.port, shared, tmp_path)


@with_versions
def test_download_through_the_proxy(curl: Curl, version: str) -> None:
    assert curl.download(*VERSIONS[version]) == digest(curl.shared / "file.bin")


@with_versions
def test_upload_through_the_proxy(curl: Curl, version: str, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with (curl.shared / "file.bin").open("rb") as file:
        path.write_bytes(file.read(UPLOAD_SIZE))
    answer = curl.upload(path, *VERSIONS[version])
    assert answer == {"sha256": digest(path), "length": UPLOAD_SIZE}


@with_versions
def test_proxy_keeps_connections_alive(proxy: Program, curl: Curl, version: str) -> None:
    urls = ["https://127.0.0.1/connection"] * 3
    outputs = ["--output", "/dev/null"] * len(urls)
    assert curl.counts(*VERSIONS[version], *outputs, *urls) == [1, 0, 0]
    assert "Traceback" not in proxy.said()


@with_versions
def test_both_sides_of_the_proxy_are_ours(proxy: Program, curl: Curl, version: str) -> None:
    before = len(said_modes(proxy))
    curl.json("/connection", *VERSIONS[version])
    [modes] = said_modes(proxy)[before:]
    assert modes == "SW SW SW SW"


def said_modes(proxy: Program) -> list[str]:
    """A line for each connection: mode and rx_mode of its client, and of its server."""
    return proxy.said().splitlines()
