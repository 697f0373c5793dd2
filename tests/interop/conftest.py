"""Fixtures for uploads by other implementations: data, tools, contexts, and one whole upload."""

import contextlib
import hashlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import ktls
from interop.clients import Client, Tools
from interop.process import Process, nothing
from interop.relay import Relay
from interop.server import Reader, Server, Upload, by_recv_into

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VOLUME = 100_000_000


@dataclass(frozen=True)
class Result:
    """One upload as both ends saw it."""

    upload: Upload
    status: int
    said: bytes
    lengths: list[int]
    """Of the client's records, where a relay saw them."""

    def require_clean_end(self) -> None:
        """The client got the answer, and nothing that it minds."""
        assert self.status == 0, self.said
        assert self.upload.sha256.encode() in self.said


UploadCall = Callable[..., Result]


@pytest.fixture(autouse=True)
def _on() -> None:
    ktls.enable()


@pytest.fixture(params=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(certificate: trustme.LeafCert, version: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    return ktls.prepare(made)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Tools:
    return Tools(tmp_path_factory.mktemp("tools"), authority)


@pytest.fixture(scope="session")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 MB that nobody could guess."""
    path = tmp_path_factory.mktemp("bulk") / "data"
    path.write_bytes(os.urandom(VOLUME))
    return path


@pytest.fixture
def part(bulk: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that makes a file of the first bytes of `bulk`."""

    def cut(size: int) -> Path:
        path = tmp_path / "part"
        with bulk.open("rb") as file:
            path.write_bytes(file.read(size))
        return path

    return cut


@pytest.fixture
def upload(tools: Tools, context: ssl.SSLContext, version: str) -> UploadCall:
    """Return a function that lets a client upload a file to a server of ours.

    What arrived is the file, by size and hash; how the client ended is for the test to judge.
    """

    def run(
        client: Client,
        data: Path,
        *,
        reader: Reader = by_recv_into,
        options: tuple[str, ...] = (),
        piece: int | None = None,
        says_end: bool = True,
        environment: dict[str, str] | None = None,
        between: Callable[[int], bytes] = nothing,
    ) -> Result:
        size = data.stat().st_size
        server = Server(
            context, reader, None if client.says_end else size, client.answers_end, says_end
        )
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port, lengths = listener.getsockname()[1], []
            if piece is not None:
                relay = stack.enter_context(Relay(listener, piece))
                port, lengths = relay.port, relay.lengths
            command = [*client.command(tools, str(port), version), *options]
            spoken = between if client.ends_with_input else None
            process = stack.enter_context(Process(command, data, environment or {}, spoken))
            try:
                arrived = server.take_upload(listener)
            except BaseException as error:
                error.add_note(f"{command} said {process.said()!r}")
                raise
            status, said = process.finished(), process.said()
        with data.open("rb") as file:
            expected = hashlib.file_digest(file, "sha256").hexdigest()
        assert (arrived.size, arrived.sha256) == (size, expected)
        assert arrived.version == f"TLSv{version}"
        return Result(arrived, status, said, lengths)

    return run
