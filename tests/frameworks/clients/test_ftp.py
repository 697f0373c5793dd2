"""`ftplib.FTP_TLS` over a context of ours, against pyftpdlib."""

import ftplib
import hashlib
import io
from pathlib import Path

import ktls

from .conftest import Seen
from .content import sha256

TIMEOUT_S = 50


def connected(context: ktls.SSLContext, port: int) -> ftplib.FTP_TLS:
    client = ftplib.FTP_TLS(context=context, timeout=TIMEOUT_S)
    client.connect("localhost", port)
    return client


def test_ftp_100_mb_each_way(
    context: ktls.SSLContext, ftp: int, ftp_files: Path, body: bytes, all_ours: list[Seen]
) -> None:
    """`ftplib` ends a data connection with `unwrap`, so that close_notify goes both ways."""
    digest = hashlib.sha256()
    with connected(context, ftp) as client:
        client.auth()
        client.login("user", "secret")
        client.prot_p()
        assert isinstance(client.sock, ktls.TLSSocket)
        assert client.storbinary("STOR upload", io.BytesIO(body)).startswith("226")
        assert client.retrbinary("RETR upload", digest.update, 1 << 16).startswith("226")
        assert client.nlst() == ["upload"]
        assert (client.sock.mode, client.sock.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW)
    assert digest.hexdigest() == sha256((ftp_files / "upload").read_bytes()) == sha256(body)
    (ftp_files / "upload").unlink()
    # The one for commands, and three for data.
    assert len(all_ours) == 4


def test_ftp_lines_and_listings(
    context: ktls.SSLContext, ftp: int, ftp_files: Path, all_ours: list[Seen]
) -> None:
    """Text goes by lines, over `makefile`."""
    with connected(context, ftp) as client:
        client.login("user", "secret")  # makes `auth` itself
        client.prot_p()
        client.storlines("STOR lines", io.BytesIO(b"one\r\ntwo\r\n"))
        lines: list[str] = []
        client.retrlines("RETR lines", lines.append)
        assert lines == ["one", "two"]
        assert [name for name, _ in client.mlsd()] == ["lines"]
        client.sendcmd("NOOP")
    (ftp_files / "lines").unlink()
    assert len(all_ours) == 4


def test_ftp_download_that_is_broken_off(
    context: ktls.SSLContext, ftp: int, ftp_files: Path, all_ours: list[Seen]
) -> None:
    (ftp_files / "long").write_bytes(bytes(1 << 24))
    with connected(context, ftp) as client:
        client.login("user", "secret")
        client.prot_p()
        client.voidcmd("TYPE I")
        with client.transfercmd("RETR long") as data:
            assert isinstance(data, ktls.TLSSocket)
            assert data.recv(1000) == bytes(1000)
        # What the server says of it, and the next command works.
        assert client.getmultiline()[:3] in ("226", "426")
        assert client.size("long") == 1 << 24
    (ftp_files / "long").unlink()
    assert len(all_ours) == 2
