"""Every HTTP server of docs/frameworks.md, asked by curl."""

import subprocess
from pathlib import Path

import pytest

from .conftest import HTTP
from .curl import VERSIONS, Curl, digest
from .document import sections
from .program import Program

UPLOAD_SIZE = 20_000_000
# HTTP/1.0, a header that says so, and a worker for one request at a time.
CLOSES = {"wsgiref", "werkzeug", "gunicorn, sync"}
TAKES_NO_BODY = {"A server on selectors"}
SHOWS_NO_SOCKET = {"wsgiref", "cheroot", "gevent", "eventlet"}
# Another process answers the next connection, with counters of its own.
SEVERAL_PROCESSES = {"gunicorn, sync", "gunicorn, gthread", "Processes that share a port"}

with_versions = pytest.mark.parametrize("version", VERSIONS)


@with_versions
def test_curl_downloads_from_every_server(server: Program, curl: Curl, version: str) -> None:
    assert curl.download(*VERSIONS[version]) == digest(curl.shared / "file.bin")


@with_versions
def test_curl_uploads_to_every_server(
    server: Program, curl: Curl, version: str, tmp_path: Path
) -> None:
    if server.name in TAKES_NO_BODY:
        sent = ("--request", "POST", "--data", "")
        assert curl.json("/connection", *sent, *VERSIONS[version])["mode"] == "SW"
        return
    path = tmp_path / "upload"
    with (curl.shared / "file.bin").open("rb") as file:
        path.write_bytes(file.read(UPLOAD_SIZE))
    answer = curl.upload(path, *VERSIONS[version])
    assert answer == {"sha256": digest(path), "length": UPLOAD_SIZE}


@with_versions
def test_both_directions_are_ours(server: Program, curl: Curl, version: str) -> None:
    answer = curl.json("/connection", *VERSIONS[version])
    if server.name in SHOWS_NO_SOCKET:
        again = curl.json("/connection", *VERSIONS[version])
        assert again["offloads"] - answer["offloads"] == 2
    else:
        assert (answer["mode"], answer["rx_mode"]) == ("SW", "SW"), answer["why"]
        assert answer["version"] == f"TLSv{version}"
        assert answer["offloads"] >= 2


@with_versions
def test_every_server_keeps_connections_alive(server: Program, curl: Curl, version: str) -> None:
    urls = ["https://127.0.0.1/connection"] * 3
    outputs = ["--output", "/dev/null"] * len(urls)
    counts = curl.counts(*VERSIONS[version], *outputs, *urls)
    assert counts == ([1, 1, 1] if server.name in CLOSES else [1, 0, 0])


@with_versions
def test_every_server_asks_for_client_certificates(
    server: Program, curl: Curl, version: str
) -> None:
    answer = curl.json("/connection", *VERSIONS[version], "--cert", curl.shared / "client.pem")
    if server.name == "cheroot":
        assert answer["verified"] == "SUCCESS"
    elif server.name not in SHOWS_NO_SOCKET:
        assert answer["client"] == ["client.test"]
    stranger = curl.shared / "stranger.pem"
    refused = curl.run(*VERSIONS[version], "--cert", stranger, "https://127.0.0.1/connection")
    assert refused.returncode != 0
    assert "unknown ca" in refused.stderr
    # And the server goes on.
    assert curl.json("/connection", *VERSIONS[version]).get("client", []) == []


@with_versions
@pytest.mark.parametrize("name", ["server.test", "other.test"])
def test_every_server_chooses_by_sni(server: Program, curl: Curl, version: str, name: str) -> None:
    """curl verifies the name: each is in the certificate of one context alone."""
    answer = curl.json("/connection", *VERSIONS[version], name=name)
    if server.name not in SHOWS_NO_SOCKET:
        assert (answer["mode"], answer["rx_mode"]) == ("SW", "SW"), answer["why"]


@with_versions
def test_every_server_chooses_by_alpn(server: Program, curl: Curl, version: str) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"]
    command += ["-alpn", "h2,http/1.1", f"-tls{version.replace('.', '_')}"]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False
    )
    assert "ALPN protocol: http/1.1" in result.stdout
    if server.name not in SHOWS_NO_SOCKET:
        assert curl.json("/connection", *VERSIONS[version])["alpn"] == "http/1.1"


def test_no_program_of_the_page_is_left_out() -> None:
    # The last one is run by tests/docs, as the examples of other documents.
    asked_otherwise = {"websockets", "A proxy on select", "What gains nothing"}
    assert {name for name, section in sections().items() if section.files} == {
        *HTTP,
        *asked_otherwise,
    }
