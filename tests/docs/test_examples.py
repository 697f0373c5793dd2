"""The Python examples of the README and of docs/, run as they stand; and links that lead somewhere.

A block marked ``python`` is a program that ends, ``python server`` one that serves file.bin, and
``python client`` one that fetches it.  Port 8443 is replaced by a free one.  ``tests/frameworks``
runs what is marked ``python program``, with what is marked ``python settings``.
"""

import os
import re
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import ktls
from cli.server_process import ServerProcess, eventually, write_random

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FILE_SIZE = 3_000_000

_BLOCK = re.compile(r"^```python *(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_NODE = re.compile(r"\b(?:kern\.ipc\.\w+|stats)\.[\w.]*\w")
ABSENT = {"kern.ipc.tls.ifnet", "stats.ocf"}
"""Upstream's nodes of which the documents say that they are not here."""
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Example:
    """One block of a document."""

    document: str
    line: int
    kind: str
    code: str


def examples() -> Iterator[Example]:
    for path in DOCUMENTS:
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Example(str(path.relative_to(ROOT)), line, match["kind"], match["code"])


def of_kind(kind: str) -> pytest.MarkDecorator:
    chosen = [example for example in examples() if example.kind == kind]
    assert chosen, f"no example of kind {kind!r}"
    ids = [f"{example.document}:{example.line}" for example in chosen]
    return pytest.mark.parametrize("example", chosen, ids=ids)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    write_random(tmp_path / "file.bin", FILE_SIZE)
    return tmp_path


def start(example: Example, directory: Path, port: int) -> subprocess.Popen[str]:
    """Run the program that the reader sees, warnings being errors."""
    program = directory / "example.py"
    program.write_text(example.code.replace("8443", str(port)))
    return subprocess.Popen(
        [sys.executable, "-W", "error", program],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "KTLS_SYSCTL": "", "PYTHONUNBUFFERED": "1"},
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def fetched(directory: Path, port: int) -> bytes:
    url = f"https://127.0.0.1:{port}/file.bin"
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--cacert", directory / "ca.pem", url],
        check=True,
        capture_output=True,
        timeout=50,
    ).stdout


def leave(directory: Path, port: int, stage: int) -> None:
    """Vanish before the handshake, in it, after it, or in the answer."""
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    with socket.create_connection(("127.0.0.1", port)) as client:
        # A reset, and no room for more than the beginning of an answer.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if stage == 1:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
        if stage >= 2:
            with context.wrap_socket(client, server_hostname="127.0.0.1") as tls:
                if stage == 3:
                    tls.sendall(b"GET /file.bin HTTP/1.0\r\n\r\n")
                    assert tls.recv(1000)


@of_kind("")
def test_example_program_ends_well(example: Example, directory: Path) -> None:
    process = start(example, directory, 0)
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0, output


@of_kind("server")
def test_example_server_serves_a_file(example: Example, directory: Path) -> None:
    port = free_port()
    process = start(example, directory, port)
    try:
        eventually(lambda: process.poll() is not None or listening(port))
        for stage in range(4):
            leave(directory, port, stage)
        assert fetched(directory, port) == (directory / "file.bin").read_bytes()
    finally:
        process.kill()
        output, _ = process.communicate(timeout=50)
    # Clients leave as they like, and curl without a close_notify: none of that is a failure.
    assert "Traceback" not in output, output
    if "mode.name" in example.code:
        assert " SW " in output


@of_kind("client")
def test_example_client_fetches_a_file(example: Example, directory: Path) -> None:
    server = ServerProcess(directory, directory / "server.pem")
    try:
        process = start(example, directory, server.address[1])
        output, _ = process.communicate(timeout=50)
        assert process.returncode == 0, output
        assert server.response("/file.bin").body_len == FILE_SIZE
    finally:
        server.end()


def test_every_block_has_a_kind_that_is_run() -> None:
    assert {example.kind for example in examples()} == {
        "",
        "server",
        "client",
        "program",
        "settings",
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nodes_that_are_named_exist(document: Path) -> None:
    # What follows there names nodes for saying that they are not.
    text = document.read_text().partition("\n## Not there\n")[0]
    for name in _NODE.findall(text):
        if name not in ABSENT:
            assert name in ktls.sysctl or f"kern.ipc.tls.{name}" in ktls.sysctl, name


def test_example_of_the_readme_is_short() -> None:
    [example] = [each for each in examples() if each.document == "README.md"]
    lines = [line for line in example.code.splitlines() if line.strip()]
    assert len(lines) <= 16
