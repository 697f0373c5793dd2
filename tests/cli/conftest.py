"""A certificate, a directory and server processes for the tests of the command."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from cli.server_process import ServerProcess, write_random


@dataclass(frozen=True)
class Authority:
    """A certificate authority and a server's chain with its key, as PEM files."""

    root: Path
    server: Path


@dataclass(frozen=True)
class Reply:
    """What curl received."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    found = Authority(directory / "root.pem", directory / "server.pem")
    ca.cert_pem.write_to_path(found.root)
    ca.issue_cert("127.0.0.1", "::1").private_key_and_cert_chain_pem.write_to_path(found.server)
    return found


@pytest.fixture
def start(authority: Authority) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers that end with the test."""
    started: list[ServerProcess] = []

    def begin(directory: Path, *options: str) -> ServerProcess:
        started.append(ServerProcess(directory, authority.server, *options))
        return started[-1]

    yield begin
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file of each kind that the server has to tell apart."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("not to be seen")
    root = tmp_path_factory.mktemp("site")
    write_random(root / "data.bin", 100_000)
    (root / "empty.txt").touch()
    (root / "page.html").write_text("<p>page</p>")
    (root / "a b+ü%.txt").write_text("odd name")
    (root / "with-index").mkdir()
    (root / "with-index" / "index.html").write_text("the index")
    (root / "plain").mkdir()
    (root / "plain" / "<script>.txt").write_text("markup in a name")
    (root / "link-inside").symlink_to(root / "data.bin")
    (root / "link-outside").symlink_to(outside / "secret.txt")
    (root / "directory-outside").symlink_to(outside)
    (root / "link-loop").symlink_to(root / "link-loop")
    return root


@pytest.fixture(scope="module")
def server(site: Path, authority: Authority) -> Iterator[ServerProcess]:
    """One server for every test of a module that only asks."""
    running = ServerProcess(site, authority.server)
    yield running
    running.end()


@pytest.fixture
def fetch(server: ServerProcess, authority: Authority) -> Callable[..., Reply]:
    """Ask the server for a target with curl."""

    def get(target: str, *options: str) -> Reply:
        return curl(authority, server.url.rstrip("/") + target, *options)

    return get


def curl(authority: Authority, url: str, *options: str) -> Reply:
    """Run curl and take its answer apart."""
    command = ["curl", "--silent", "--show-error", "--path-as-is", "--cacert", authority.root]
    output = subprocess.run(
        [*command, "--include", *options, url], check=True, capture_output=True, timeout=50
    ).stdout
    head, _, body = output.partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return Reply(int(status_line.split()[1]), {k.lower(): v for k, v in headers.items()}, body)
