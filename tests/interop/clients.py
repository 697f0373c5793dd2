"""The clients: programs on other TLS implementations, and how each is told to upload its stdin."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import trustme

PROGRAMS = Path(__file__).parent / "programs"
BUILD_TIMEOUT = 45


class Tools:
    """What the clients need beside themselves, made on first use."""

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self._directory = directory
        self.ca = directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)

    @cached_property
    def nss(self) -> str:
        """A database of NSS that trusts the authority."""
        directory = self._directory / "nss"
        directory.mkdir()
        database = f"sql:{directory}"
        _make("certutil", "-N", "-d", database, "--empty-password")
        _make("certutil", "-A", "-d", database, "-n", "ca", "-t", "C,,", "-i", str(self.ca))
        return database

    @cached_property
    def go(self) -> str:
        """The program on crypto/tls, built."""
        program = self._directory / "upload"
        _make("go", "build", "-o", str(program), str(PROGRAMS / "upload.go"))
        return str(program)

    @cached_property
    def java(self) -> str:
        """The directory of the classes of the program on JSSE."""
        directory = self._directory / "classes"
        _make("javac", "-d", str(directory), str(PROGRAMS / "Upload.java"))
        return str(directory)


def _make(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, timeout=BUILD_TIMEOUT, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr!r}"


@dataclass(frozen=True)
class Client:
    """A program that uploads its standard input to 127.0.0.1 and prints the answer."""

    name: str
    command: Callable[[Tools, str, str], list[str]]
    """Of the tools, the port and the version of TLS ("1.2"); options may be added at the end."""
    says_end: bool = False
    """It says close_notify behind the data; the others do so only when the server has."""
    answers_end: bool = True
    """It answers close_notify with its own."""
    tells_end: bool = True
    """It fails when the answer ends without close_notify."""
    ends_with_input: bool = False
    """The end of its input is the end of everything, so that stays open."""


def _gnutls(tools: Tools, port: str, version: str) -> list[str]:
    only = f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}"
    return ["gnutls-cli", f"--x509cafile={tools.ca}", only, f"--port={port}", "localhost"]


def _nss(tools: Tools, port: str, version: str) -> list[str]:
    peer = ["-h", "127.0.0.1", "-p", port, "-a", "localhost"]
    return ["tstclnt", *peer, "-d", tools.nss, "-V", f"tls{version}:tls{version}"]


def _openssl(tools: Tools, port: str, version: str) -> list[str]:
    flag = "-tls" + version.replace("1.2", "1_2").replace("1.3", "1_3")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    checks = ["-CAfile", str(tools.ca), "-verify_return_error", "-verify_hostname", "localhost"]
    return [*command, *checks, flag]


def _quiet_openssl(tools: Tools, port: str, version: str) -> list[str]:
    return [*_openssl(tools, port, version), "-quiet"]


def _go(tools: Tools, port: str, version: str) -> list[str]:
    return [tools.go, port, version, str(tools.ca)]


def _java(tools: Tools, port: str, version: str) -> list[str]:
    strict = "-Dcom.sun.net.ssl.requireCloseNotify=true"
    return ["java", strict, "-cp", tools.java, "Upload", port, version, str(tools.ca)]


def _node(tools: Tools, port: str, version: str) -> list[str]:
    return ["node", str(PROGRAMS / "upload.js"), port, version, str(tools.ca)]


GNUTLS = Client("gnutls", _gnutls, answers_end=False, ends_with_input=True)
NSS = Client("nss", _nss, tells_end=False)
OPENSSL = Client("openssl", _quiet_openssl)
COMMANDED_OPENSSL = Client("openssl", _openssl, ends_with_input=True)
"""Takes commands: letters at the beginning of a read."""
GO = Client("go", _go, says_end=True)
JAVA = Client("java", _java, says_end=True)
NODE = Client("node", _node, says_end=True, tells_end=False)
CLIENTS = (GNUTLS, NSS, OPENSSL, GO, JAVA, NODE)

with_clients = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
