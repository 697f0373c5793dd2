"""The command line: what it refuses and how, what it prints, how it ends."""

import contextlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import ktls
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
    command = [sys.executable, "-m", "ktls", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage: ktls [OPTIONS] COMMAND"),
        (("unheard",), "No such command 'unheard'"),
        (("serve",), "DIR"),
        (("serve", ".", "--port", "65536"), "'65536' is not a port"),
        (("serve", ".", "--port", "x"), "'x' is not a port"),
        (("serve", ".", "--tls", "1.1"), "'1.1' is not one of '1.2', '1.3'"),
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


def test_command_without_trustme_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(CommandError, match="pip install trustme"):
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


def test_server_listens_on_ipv6(
    start: Callable[..., ServerProcess], authority: object, tmp_path: Path
) -> None:
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
    # A thread names itself, a moment after its start.
    eventually(lambda: {"KTLS-0", "KTLS-1", "KTLS-2"} <= set(server.thread_names()))
    assert "KTLS-3" not in server.thread_names()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_server_cleanly(
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


def test_version_is_that_of_the_metadata() -> None:
    installed = metadata.version("ktls")
    assert ktls.__version__ == installed
    result = run("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ktls {installed}\n", "")


def test_the_command_of_the_scripts_is_that_of_the_module() -> None:
    [script] = metadata.entry_points(group="console_scripts", name="ktls")
    assert script.load() is ktls.cli.main
    assert run("--help").stdout.startswith("Usage: ktls [OPTIONS] COMMAND")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """Help is an answer then, anything else a failure; what needs no package goes on."""
    for name in [*sys.modules]:
        if name.startswith(("ktls.cli.", f"{missing}.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    arguments = ["netstat", "--help"] if missing == "rich" else ["--help"]
    with pytest.raises(SystemExit, match="0"):
        ktls.cli.main(arguments)
    assert f"needs the package {missing}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        ktls.cli.main(["netstat"])
    said = capsys.readouterr()
    assert said.out == ""
    assert f"ktls: the command line needs the package {missing}" in said.err


def test_version_is_not_made_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that were copied have no metadata: one line for a person, AttributeError for code."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(AttributeError, match="the version is unknown"):
        ktls.__version__  # noqa: B018
    with pytest.raises(SystemExit, match="1"):
        ktls.cli.main(["--version"])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ktls: the version is unknown")
    assert said.err.count("\n") == 1


def test_what_is_recommended_exists() -> None:
    """No registry has this package: what is told to install is a file, a checkout, or another."""
    root = Path(__file__).parents[2]
    sources = [*root.glob("python/**/*.py"), *root.glob("*.md"), *root.glob("docs/*.md")]
    told = [
        (path.name, match[1])
        for path in sources
        for match in re.finditer(r"pip install\s+(?:-\S+ )*['\"`]?([^\s'\"`;]+)", path.read_text())
    ]
    assert told
    for name, what in told:
        assert (
            "/" in what
            or what.startswith(".")
            or what in {"trustme", "PATH", "click", "ktls[metrics]"}
        ), (
            name,
            what,
        )


STALLED_SIZE = 30_000_000


@pytest.mark.parametrize("before", [(), (signal.SIGTERM, signal.SIGINT)])
def test_stalled_clients_are_dropped_and_counted(
    start: Callable[..., ServerProcess],
    authority: object,
    tmp_path: Path,
    before: tuple[signal.Signals, ...],
) -> None:
    write_random(tmp_path / "file.bin", STALLED_SIZE)
    server = start(tmp_path)
    context = client_context(authority.root)
    with contextlib.ExitStack() as stalled:
        clients = [stalled.enter_context(connect(server, context, rcvbuf=4096)) for _ in range(3)]
        for client in clients:
            ask(client, "/file.bin")
            assert client.recv(1000)
        for how in before:
            server.process.send_signal(how)
        assert server.end(signal.SIGINT) == 0
    [line] = server.noted
    match = re.fullmatch(r"dropped 3 connections with about (\d+) bytes not sent", line)
    assert match, line
    # All but what the clients took, and what their kernels keep for them.
    assert 0.9 * 3 * STALLED_SIZE < int(match[1]) < 3 * (STALLED_SIZE + 1000)
    assert [each.status for each in server.responses("/file.bin")] == [200] * 3
    assert all(each.trouble for each in server.responses("/file.bin"))


def test_ends_while_handshakes_are_under_way(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start(tmp_path)
    with socket.create_connection(server.address) as silent:
        silent.sendall(b"\x16\x03\x01\x02\x00\x01")
        eventually(lambda: server.thread_count() > 2)
        assert server.end(signal.SIGINT) == 0
    assert all("Traceback" not in line for line in server.noted)
