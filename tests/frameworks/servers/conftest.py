"""Certificates, a large file, and the servers of docs/frameworks.md, each started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from cli.server_process import write_random

from .curl import Curl
from .document import sections
from .program import Program

FILE_SIZE = 100_000_000
HTTP = [
    "http.server with threads",
    "http.server with processes",
    "wsgiref",
    "cheroot",
    "werkzeug",
    "gunicorn, sync",
    "gunicorn, gthread",
    "tornado",
    "gevent",
    "eventlet",
    "A server on selectors",
    "Processes that share a port",
]
"""Sections whose program is asked over HTTP."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every program finds in its directory."""
    directory = tmp_path_factory.mktemp("shared")
    authority, strangers = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name, issuer, *identities in (
        ("server", authority, "127.0.0.1", "server.test"),
        ("other", authority, "other.test"),
        ("client", authority, "client.test"),
        ("stranger", strangers, "client.test"),
    ):
        issued = issuer.issue_cert(*identities)
        issued.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    write_random(directory / "file.bin", FILE_SIZE)
    return directory


@pytest.fixture(scope="session")
def reference(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A stock server, for what is compared and for proxies."""
    section = sections()[HTTP[0]].stock()
    with Program(section, tmp_path_factory.mktemp("reference"), shared) as program:
        yield program


@pytest.fixture(scope="module", params=HTTP)
def server(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """Each server of the page, with what the page sets on its context."""
    found = sections()
    settings = found["What is set on the context"].settings
    section = found[request.param].with_settings(settings)
    directory = tmp_path_factory.mktemp("server")
    with Program(section, directory, shared, name=request.param) as program:
        yield program


@pytest.fixture
def curl(server: Program, shared: Path, tmp_path: Path) -> Curl:
    return Curl(server.port, shared, tmp_path)
