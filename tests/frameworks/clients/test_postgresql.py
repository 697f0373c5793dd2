"""pg8000 over a context of ours, against PostgreSQL."""

import io

import pg8000.native
import pytest

import ktls

from .conftest import Seen
from .content import sha256
from .postgresql import CERTIFIED, NAMED, PASSWORD

TIMEOUT_S = 50


def connected(
    context: ktls.SSLContext, port: int, user: str, password: str | None = None
) -> pg8000.native.Connection:
    return pg8000.native.Connection(
        user,
        host="localhost",
        port=port,
        database="postgres",
        password=password,
        ssl_context=context,
        timeout=TIMEOUT_S,
    )


def test_postgresql_100_mb_each_way(
    context: ktls.SSLContext, database: int, mail: bytes, all_ours: list[Seen], version: str
) -> None:
    """By COPY; the certificate is who the client is."""
    text = mail.replace(b"\r\n", b"\n")
    back = io.BytesIO()
    with connected(context, database, CERTIFIED) as client:
        [[agreed, subject]] = client.run(
            "SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        assert (agreed, subject.rpartition("/")[2]) == (version, "CN=client")
        client.run("CREATE TEMPORARY TABLE lines (number serial, line text)")
        client.run("COPY lines (line) FROM STDIN", stream=io.BytesIO(text))
        client.run("COPY (SELECT line FROM lines ORDER BY number) TO STDOUT", stream=back)
        [[count]] = client.run("SELECT count(*) FROM lines")
        assert count == text.count(b"\n")
    assert sha256(back.getvalue()) == sha256(text)
    assert len(all_ours) == 1


def test_password_bound_to_the_channel(
    context: ktls.SSLContext, database: int, all_ours: list[Seen]
) -> None:
    """SCRAM-SHA-256-PLUS needs the server's certificate (tls-server-end-point)."""
    with connected(context, database, NAMED, PASSWORD) as client:
        assert client.auth.mechanism_name == "SCRAM-SHA-256-PLUS"
        assert client.run("SELECT CAST(:data AS bytea)", data=b"\x00\xff") == [[b"\x00\xff"]]
    assert len(all_ours) == 1


def test_postgresql_refuses_a_wrong_password(context: ktls.SSLContext, database: int) -> None:
    with pytest.raises(pg8000.exceptions.DatabaseError, match="password authentication failed"):
        connected(context, database, NAMED, "wrong")
