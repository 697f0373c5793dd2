"""Whole files through curl, by suite and by size, and many at once: what arrives is the file."""

import hashlib
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.server_process import ServerProcess, ask, client_context, connect, write_random

SUITES = [
    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("1.3", "TLS_AES_128_GCM_SHA256"),
    ("1.3", "TLS_AES_256_GCM_SHA384"),
    ("1.3", "TLS_CHACHA20_POLY1305_SHA256"),
]
GIBIBYTE = 1 << 30
# Around the edges of a record, of a flush unit and of what is accepted ahead of the socket.
SIZES = [1, 16383, 16384, 16385, 262143, 262144, 262145, 1048575, 1048576, 1048577, 5_000_000]


def fetched_digest(server: ServerProcess, root: Path, name: str, version: str, suite: str) -> str:
    """SHA-256 of what curl receives over one suite."""
    option = "--tls13-ciphers" if version == "1.3" else "--ciphers"
    command = ["curl", "--silent", "--show-error", "--fail", "--cacert", root]
    limits = ["--tlsv" + version, "--tls-max", version, option, suite]
    with subprocess.Popen(
        [*command, *limits, server.url + name], stdout=subprocess.PIPE
    ) as process:
        digest = hashlib.sha256()
        while block := process.stdout.read(1 << 18):
            digest.update(block)
    assert process.returncode == 0
    return digest.hexdigest()


@pytest.fixture(scope="module")
def gibibyte(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("gibibyte") / "gibibyte.bin"
    return path, write_random(path, GIBIBYTE)


@pytest.mark.large
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("version", "suite"), SUITES)
def test_gibibyte_arrives_as_it_is(
    start: Callable[..., ServerProcess],
    authority: object,
    gibibyte: tuple[Path, str],
    version: str,
    suite: str,
) -> None:
    path, expected = gibibyte
    server = start(path.parent, "--tls", version)
    assert fetched_digest(server, authority.root, path.name, version, suite) == expected
    line = server.response("/" + path.name)
    assert (line.mode, line.suite, line.body_len) == ("SW", suite, GIBIBYTE)
    assert not line.trouble


@pytest.mark.parametrize(("version", "suite"), SUITES)
def test_sizes_at_the_edges(
    start: Callable[..., ServerProcess],
    authority: object,
    tmp_path: Path,
    version: str,
    suite: str,
) -> None:
    digests = {str(size): write_random(tmp_path / str(size), size) for size in SIZES}
    server = start(tmp_path)
    for name, expected in digests.items():
        assert fetched_digest(server, authority.root, name, version, suite) == expected
        assert server.response("/" + name).mode == "SW"


@pytest.mark.large
@pytest.mark.timeout(180)
def test_two_hundred_downloads_at_once(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path
) -> None:
    clients, size = 200, 10_000_000
    expected = write_random(tmp_path / "file.bin", size)
    server = start(tmp_path)
    context = client_context(authority.root)
    together = threading.Barrier(clients)
    digests: list[str] = []

    def download() -> None:
        with connect(server, context) as client:
            # Nobody asks before everybody is connected.
            together.wait(120)
            ask(client, "/file.bin", "Connection: close")
            with client.makefile("rb") as reader:
                while reader.readline() != b"\r\n":
                    pass
                digests.append(hashlib.file_digest(reader, "sha256").hexdigest())

    threads = [threading.Thread(target=download) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [expected] * clients
    server.end()
    lines = server.responses("/file.bin")
    assert [(line.mode, line.body_len, line.trouble) for line in lines] == [
        ("SW", size, "")
    ] * clients
