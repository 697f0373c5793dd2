"""`openssl s_client` and `s_server` as peers: the suites of 1.3, and record limits."""

import os
import ssl

import pytest

from handover.openssl import OpenSSLClient, OpenSSLServer
from handover.pairs import assert_ours, exchange, pair, receive
from ktls import prepare

SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


@pytest.mark.parametrize("suite", SUITES)
def test_suites_of_1_3_with_s_client(make_context, suite: str) -> None:
    context = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(context, "-tls1_3", "-ciphersuites", suite) as (own, client):
        assert_ours(own)
        assert own.cipher()[0] == suite
        client.say("from openssl\n")
        assert own.recv(100) == b"from openssl\n"
        data = os.urandom(100_000).hex().encode() + b"\n"
        own.sendall(data)
        own.key_update(True)
        own.sendall(b"after\n")
        client.read_until(b"after\n")
        assert data in client.output


@pytest.mark.parametrize("suite", SUITES)
def test_suites_of_1_3_with_s_server(make_context, certificate, tmp_path, suite: str) -> None:
    options = ("-tls1_3", "-ciphersuites", suite)
    with (
        OpenSSLServer(certificate, tmp_path, *options) as server,
        server.connect(make_context(False, prepared=True)) as own,
    ):
        assert_ours(own)
        assert own.cipher()[0] == suite
        server.say("from openssl\n")
        assert own.recv(100) == b"from openssl\n"
        data = os.urandom(100_000).hex().encode() + b"\n"
        own.sendall(data)
        own.key_update(True)
        own.sendall(b"after\n")
        server.read_until(b"after\n")
        assert data in server.output


@pytest.mark.rule("RFC 6066 4")
@pytest.mark.parametrize("limit", [512, 1024, 4096])
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_max_fragment_length_bounds_our_records(make_context, flag: str, limit: int) -> None:
    """No record of ours is longer than the client can take (RFC 6066 §4)."""
    context = make_context(True, prepared=True)
    with OpenSSLClient(context, flag, "-maxfraglen", str(limit)) as (own, client):
        assert_ours(own)
        data = b"x" * 50_000 + b"\n"
        own.sendall(data)
        client.read_until(data)
        first = 1 if flag == "-tls1_2" else 2
        records = own._parts.socket._stream.sequence - first
        assert records == -(-len(data) // limit)


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_openssl_resumes_a_session_with_us(make_context, flag: str, tmp_path) -> None:
    context = make_context(True, prepared=True)
    path = str(tmp_path / "session")
    for turn, option in enumerate(("-sess_out", "-sess_in")):
        with OpenSSLClient(context, flag, option, path) as (own, client):
            assert_ours(own)
            assert own.session_reused is bool(turn)
            own.sendall(b"hello\n")
            client.read_until(b"hello\n")


@pytest.mark.rule("RFC 8446 4.6.2")
def test_post_handshake_authentication_of_our_client(
    make_context, certificate, client_certificate, tmp_path
) -> None:
    """OpenSSL's answer (certificate, proof, Finished) is said in our stream."""
    client = make_context(False, version="1.3")
    client.post_handshake_auth = True
    client_certificate.configure_cert(client)
    with (
        OpenSSLServer(certificate, tmp_path, "-tls1_3") as server,
        server.connect(prepare(client)) as own,
    ):
        assert_ours(own)
        own.sendall(b"before\n")
        server.read_until(b"before\n")
        server.say("c\n")
        server.say("line\n")
        assert receive(own, 5) == b"line\n"
        own.sendall(b"after\n")
        server.read_until(b"after\n")


@pytest.mark.rule("RFC 8446 4.6.2")
def test_post_handshake_authentication_by_our_server(make_context, client_certificate) -> None:
    server = make_context(True, version="1.3")
    server.post_handshake_auth = True
    client = make_context(False, version="1.3")
    client.post_handshake_auth = True
    client_certificate.configure_cert(client)
    server.verify_mode = ssl.CERT_OPTIONAL
    with pair(prepare(server), client, server_side=True) as (own, other):
        assert_ours(own)
        exchange(own, other, (10,))
        own.verify_client_post_handshake()
        exchange(own, other, (10, 1000))
        assert own.getpeercert()["subjectAltName"] == (("email", "client@example.org"),)
        exchange(own, other, (10, 20_000))
        assert_ours(own)
