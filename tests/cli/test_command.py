"""The command line: what it refuses and how, what it prints, how it ends."""

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls.cli
from cli.server_process import (
    ServerProcess,
    ask,
    client_context,
    connect,
    eventually,
    write_random,
)
from ktls.cli import certificate
from ktls.cli.failure import CommandError


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ktls.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("serve",), "DIR"),
        (("serve", ".", "--port", "65536"), "'65536' is not a port"),
        (("serve", ".", "--port", "x"), "'x' is not a port"),
        (("serve", ".", "--tls", "1.1"), "invalid choice: '1.1'"),
        (("serve", ".", "--workers", "0"), "'0' is not a count"),
        (("serve", ".", "--send-timeout", "-1"), "'-1' is not a time"),
        (("serve", ".", "--send-timeout", "nan"), "'nan' is not a time"),
    ],
)
def test_wrong_use_is_explained(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr


def test_what_cannot_be_served_is_one_line(tmp_path: Path, authority: object) -> None:
    file = tmp_path / "file"
    file.write_text("no certificate")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    cases = [
        ((tmp_path / "missing",), "missing is not a directory"),
        ((file,), "file is not a directory"),
        ((tmp_path, "--cert", tmp_path / "none.pem"), "none.pem is not a file"),
        ((tmp_path, "--cert", file), "no certificate with a private key"),
        ((tmp_path, "--cert", authority.root), "no certificate with a private key"),
        ((tmp_path, "--cert", authority.root), "name the file of its key with --key"),
        ((tmp_path, "--key", file), "--key needs --cert"),
        ((tmp_path, "--cert", authority.server, "--port", port), f"127.0.0.1:{port}"),
    ]
    for arguments, said in cases:
        result = run("serve", *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("ktls: ")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    taken.close()


def test_encrypted_key_is_refused_without_asking(tmp_path: Path) -> None:
    path = tmp_path / "encrypted.pem"
    subject = ["-subj", "/CN=x", "-passout", "pass:secret", "-out", path, "-keyout", path]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject],
        check=True,
        capture_output=True,
        timeout=50,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(CommandError, match="encrypted"):
        certificate.load(context, path, None)


def test_without_trustme_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(CommandError, match=r"pip install 'ktls\[cli\]'"):
        certificate.load_throwaway(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "127.0.0.1")


def test_throwaway_certificate_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    (tmp_path / "file").write_text("served")
    server = ServerProcess(tmp_path, None)
    try:
        assert list(temporary.iterdir()) == []
        output = subprocess.run(
            ["curl", "--silent", "--insecure", server.url + "file"],
            check=True,
            capture_output=True,
            timeout=50,
        ).stdout
        assert output == b"served"
    finally:
        assert server.end() == 0


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        ktls.cli.main(["--help"])
    assert "serve a directory over HTTPS" in capsys.readouterr().out


def test_ipv6(start: Callable[..., ServerProcess], authority: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("over six")
    server = start(tmp_path, "--host", "::1")
    assert re.fullmatch(r"https://\[::1\]:\d+/", server.url)
    sock = socket.create_connection(server.address)
    with client_context(authority.root).wrap_socket(sock, server_hostname="::1") as client:
        ask(client, "/file", "Connection: close")
        assert client.makefile("rb").read().endswith(b"over six")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_names_the_only_version(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path, version: str
) -> None:
    server = start(tmp_path, "--tls", version)
    with connect(server, client_context(authority.root)) as client:
        assert client.version() == "TLSv" + version
    other = client_context(authority.root)
    if version == "1.2":
        other.minimum_version = ssl.TLSVersion.TLSv1_3
    else:
        other.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        connect(server, other)


def test_workers_are_as_many_as_asked_for(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path
) -> None:
    server = start(tmp_path, "--workers", "3")
    with connect(server, client_context(authority.root)) as client:
        ask(client, "/", "Connection: close")
        while client.recv(1000):
            pass
    server.response("/")
    workers = {name for name in server.thread_names() if name.startswith("KTLS-")}
    assert {"KTLS-0", "KTLS-1", "KTLS-2"} <= workers
    assert "KTLS-3" not in workers


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path, how: signal.Signals
) -> None:
    server = start(tmp_path)
    with connect(server, client_context(authority.root)) as idle:
        ask(idle, "/")
        assert idle.recv(100)
        silent = socket.create_connection(server.address)
        assert server.end(how) == 0
        silent.close()
    assert server.noted == [] or all("no handshake" in line for line in server.noted)


def test_answer_under_way_is_finished_first(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path
) -> None:
    size = 20_000_000
    write_random(tmp_path / "file.bin", size)
    expected = (tmp_path / "file.bin").read_bytes()
    server = start(tmp_path)
    with connect(server, client_context(authority.root), rcvbuf=4096) as client:
        ask(client, "/file.bin")
        with client.makefile("rb") as reader:
            while reader.readline() != b"\r\n":
                pass
            body = bytearray(reader.read(100_000))
            ending = threading.Thread(target=server.end)
            ending.start()
            eventually(lambda: _refuses(server))
            while block := reader.read(1 << 20):
                body += block
        ending.join()
    assert bytes(body) == expected
    assert server.process.returncode == 0


def _refuses(server: ServerProcess) -> bool:
    try:
        socket.create_connection(server.address).close()
    except ConnectionRefusedError:
        return True
    return False
