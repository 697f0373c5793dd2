"""Certificates, contexts of ours, the servers, and what is known of each handshake."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import ktls

from .content import message, random_bytes
from .dovecot import Ports, dovecot
from .nginx import nginx
from .postgresql import postgresql
from .processes import program

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Seen:
    """A handshake of a context of ours."""

    kind: type
    version: str | None
    mode: ktls.Mode
    why: str
    rx_mode: ktls.Mode
    rx_why: str
    alpn: str | None


@pytest.fixture(scope="session")
def certificates(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, server.pem for localhost and 127.0.0.1, unnamed.pem, client.pem for "client"."""
    directory = tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued = {
        "server": authority.issue_cert("localhost", "127.0.0.1"),
        "unnamed": authority.issue_cert("unnamed.example.org"),
        "client": authority.issue_cert("client@example.org", common_name="client"),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    return directory


@pytest.fixture(params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(certificates: Path, version: str) -> ktls.SSLContext:
    """As a program makes it; of one version, and with a client's certificate."""
    ctx = ktls.create_default_context(cafile=certificates / "ca.pem")
    ctx.load_cert_chain(certificates / "client.pem")
    ctx.minimum_version = ctx.maximum_version = VERSIONS[version]
    return ctx


@pytest.fixture
def handshakes(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Every socket that a context of ours wraps, from here on."""
    seen: list[Seen] = []
    wrap: Callable[..., ktls.TLSSocket] = ktls.SSLContext.wrap_socket

    def wrap_socket(*arguments: object, **options: object) -> ktls.TLSSocket:
        tls = wrap(*arguments, **options)
        seen.append(
            Seen(
                type(tls),
                tls.version(),
                tls.mode,
                tls.why,
                tls.rx_mode,
                tls.rx_why,
                tls.selected_alpn_protocol(),
            )
        )
        return tls

    monkeypatch.setattr(ktls.SSLContext, "wrap_socket", wrap_socket)
    return seen


@pytest.fixture
def all_ours(handshakes: list[Seen], version: str) -> Iterator[list[Seen]]:
    """Afterwards: there were handshakes, and this library seals and opens after each of them."""
    yield handshakes
    assert handshakes
    for seen in handshakes:
        assert seen.kind is ktls.TLSSocket
        assert seen.version == version
        assert (seen.mode, seen.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW), seen


@pytest.fixture(scope="session")
def body() -> bytes:
    return random_bytes()


@pytest.fixture(scope="session")
def mail() -> bytes:
    return message()


@pytest.fixture(scope="session")
def servers() -> Iterator[ExitStack]:
    """What was started, until the end of the run."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def http_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nginx has for itself, `files` below it being served."""
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="session")
def https(servers: ExitStack, http_files: Path, certificates: Path) -> int:
    """The port of nginx."""
    return servers.enter_context(nginx(http_files, certificates))


@pytest.fixture(scope="session")
def ftp_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the FTP server serves."""
    return tmp_path_factory.mktemp("ftp")


@pytest.fixture(scope="session")
def ftp(servers: ExitStack, ftp_files: Path, certificates: Path) -> int:
    """The port of pyftpdlib."""
    pem, authority = certificates / "server.pem", certificates / "ca.pem"
    [port] = servers.enter_context(program("ftp_server", pem, authority, ftp_files))
    return port


@pytest.fixture(scope="session")
def smtp(servers: ExitStack, certificates: Path) -> tuple[int, int]:
    """The ports of aiosmtpd: for STARTTLS, and for TLS from the start."""
    pem, authority = certificates / "server.pem", certificates / "ca.pem"
    later, at_once = servers.enter_context(program("smtp_server", pem, authority))
    return later, at_once


@pytest.fixture(scope="session")
def mailbox(servers: ExitStack, certificates: Path) -> Ports:
    """The ports of Dovecot."""
    return servers.enter_context(dovecot(certificates))


@pytest.fixture(scope="session")
def database(servers: ExitStack, certificates: Path) -> int:
    """The port of PostgreSQL."""
    return servers.enter_context(postgresql(certificates))
