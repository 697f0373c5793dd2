"""AES-CBC suites against peers that are programs, and in bulk: openssl, curl, stock ssl."""

import hashlib
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handover.openssl import OpenSSLClient, OpenSSLServer
from handover.pairs import assert_ours, end, pair, receive
from ktls import prepare, wrap_socket

CASES = [
    ("1.0", "ECDHE-RSA-AES128-SHA"),
    ("1.0", "AES256-SHA"),
    ("1.1", "ECDHE-RSA-AES256-SHA"),
    ("1.1", "AES128-SHA"),
    ("1.2", "ECDHE-RSA-AES128-SHA"),
    ("1.2", "ECDHE-RSA-AES128-SHA256"),
    ("1.2", "AES256-SHA256"),
    ("1.2", "ECDHE-RSA-AES256-SHA384"),
]
BULK = [
    ("1.0", "AES128-SHA"),
    ("1.1", "AES256-SHA"),
    ("1.2", "AES128-SHA"),
    ("1.2", "AES256-SHA256"),
    ("1.2", "ECDHE-RSA-AES256-SHA384"),
]
VOLUME = 100_000_000
ORDERS = pytest.mark.parametrize("encrypt_then_mac", [True, False], ids=["EtM", "MtE"])
LEVEL = ":@SECLEVEL=0"


def options(version: str, suite: str, encrypt_then_mac: bool) -> list[str]:
    """Of s_client and s_server."""
    order = [] if encrypt_then_mac else ["-no_etm"]
    flag = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2"}[version]
    return [flag, "-cipher", suite + LEVEL, *order]


def talk(own, peer) -> None:
    """Lines both ways, a long one of ours among them."""
    assert_ours(own)
    peer.say("from openssl\n")
    assert receive(own, 13) == b"from openssl\n"
    data = os.urandom(100_000).hex().encode() + b"\n"
    own.sendall(data)
    own.sendall(b"after\n")
    peer.read_until(b"after\n")
    assert data in peer.output


@pytest.mark.rule("RFC 5246 6.2.3.2", "RFC 7366 3")
@ORDERS
@pytest.mark.parametrize(("version", "suite"), CASES)
def test_cbc_suites_with_openssl_s_client(
    make_context, version: str, suite: str, encrypt_then_mac: bool
) -> None:
    ciphers = suite + LEVEL
    context = make_context(True, version=version, ciphers=ciphers, rsa=True, prepared=True)
    arguments = options(version, suite, encrypt_then_mac)
    with OpenSSLClient(context, *arguments) as (own, client):
        assert own.cipher()[0] == suite
        talk(own, client)


@pytest.mark.rule("RFC 5246 6.2.3.2", "RFC 7366 3")
@ORDERS
@pytest.mark.parametrize(("version", "suite"), CASES)
def test_cbc_suites_with_openssl_s_server(
    make_context, rsa_certificate, tmp_path: Path, version: str, suite: str, encrypt_then_mac: bool
) -> None:
    context = make_context(False, version=version, ciphers=suite + LEVEL, prepared=True)
    arguments = options(version, suite, encrypt_then_mac)
    with (
        OpenSSLServer(rsa_certificate, tmp_path, *arguments) as server,
        server.connect(context) as own,
    ):
        assert own.cipher()[0] == suite
        talk(own, server)


@ORDERS
@pytest.mark.parametrize(("version", "suite"), CASES)
def test_cbc_suites_with_curl(
    make_context, authority, tmp_path: Path, version: str, suite: str, encrypt_then_mac: bool
) -> None:
    """A file of 5 MB comes, and one goes."""
    data = os.urandom(5_000_000)
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    context = make_context(
        True,
        version=version,
        ciphers=suite + LEVEL,
        rsa=True,
        prepared=True,
        encrypt_then_mac=encrypt_then_mac,
    )
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        uploaded = pool.submit(answer_put, server, context, tmp_path / "file")
        command = ["curl", "--silent", "--show-error", "--max-time", "30", "--http1.1"]
        command += [f"--tlsv{version}", "--tls-max", version, "--ciphers", suite + LEVEL]
        command += ["--cacert", str(tmp_path / "ca.pem"), "--header", "Expect:"]
        command += ["--upload-file", str(tmp_path / "file")]
        url = f"https://127.0.0.1:{server.getsockname()[1]}/file"
        done = subprocess.run([*command, url], capture_output=True, timeout=40, check=False)
        assert uploaded.result(30) == hashlib.sha256(data).digest()
    assert done.stderr == b""
    assert done.stdout == data


def answer_put(server: socket.socket, context, path: Path) -> bytes:
    """Take one PUT, answer with the file; returns the hash of what was put."""
    server.settimeout(30)
    sock, _ = server.accept()
    sock.settimeout(30)
    with wrap_socket(sock, context, server_side=True) as own, path.open("rb") as file:
        assert_ours(own)
        head = b""
        while b"\r\n\r\n" not in head:
            head += own.recv(65536)
        size = path.stat().st_size
        body = head.partition(b"\r\n\r\n")[2]
        body += receive(own, size - len(body))
        own.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        assert own.sendfile(file) == size
        own.unwrap().close()
    return hashlib.sha256(body).digest()


@pytest.mark.large
@ORDERS
@pytest.mark.parametrize(("version", "suite"), BULK)
def test_cbc_bulk_both_ways(
    make_context, server_side: bool, version: str, suite: str, encrypt_then_mac: bool
) -> None:
    """100 MB each way are the same at the other end.

    One way after the other: an SSLSocket is not for two threads at once.
    """
    ours, theirs = (
        make_context(
            role,
            version=version,
            ciphers=suite + LEVEL,
            rsa=True,
            encrypt_then_mac=encrypt_then_mac,
        )
        for role in (server_side, not server_side)
    )
    piece = os.urandom(1_000_000)
    count = VOLUME // len(piece)
    expected = hashlib.sha256()
    for _ in range(count):
        expected.update(piece)

    def hashed(sock) -> bytes:
        digest = hashlib.sha256()
        left = VOLUME
        while left:
            part = sock.recv(65536)
            assert part, f"{left} bytes are missing"
            digest.update(part)
            left -= len(part)
        return digest.digest()

    with (
        pair(prepare(ours), theirs, server_side=server_side) as (own, other),
        ThreadPoolExecutor(1) as pool,
    ):
        assert_ours(own)
        for sender, receiver in ((own, other), (other, own)):
            received = pool.submit(hashed, receiver)
            for _ in range(count):
                sender.sendall(piece)
            assert received.result(60) == expected.digest()
        end(own, other)
