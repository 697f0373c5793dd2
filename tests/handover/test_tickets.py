"""What OpenSSL sends between Finished and the first byte of ours is counted, not assumed."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handover.pairs import assert_ours, exchange, pair, sequence
from ktls import prepare


@pytest.mark.rule("RFC 8446 4.6.1", "RFC 8446 5.3")
@pytest.mark.parametrize("count", range(6))
def test_number_of_tickets_is_counted(make_context, count: int) -> None:
    server = make_context(True, version="1.3")
    server.num_tickets = count
    prepare(server)
    with pair(server, make_context(False), server_side=True) as (own, other):
        assert_ours(own)
        assert sequence(own) == count
        exchange(own, other)


@pytest.mark.parametrize("count", range(6))
def test_tickets_arrive_at_our_client(make_context, count: int) -> None:
    server = make_context(True, version="1.3")
    server.num_tickets = count
    client = make_context(False, prepared=True)
    with pair(client, server, server_side=False) as (own, other):
        assert_ours(own)
        exchange(own, other)
        assert own.session.has_ticket is (count > 0)


@pytest.mark.rule("RFC 8446 4.6.1", "RFC 8446 5.1")
def test_ticket_longer_than_a_record(make_context, tmp_path: Path) -> None:
    """A 1.3 ticket holds the client's certificate: with a big one it spans records."""
    path = _big_certificate(tmp_path, 22_000)
    server = make_context(True, version="1.3")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(path)
    prepare(server)
    client = make_context(False)
    client.load_cert_chain(path)
    with pair(server, client, server_side=True) as (own, other):
        assert_ours(own)
        assert sequence(own) > 2
        assert len(own.getpeercert(True)) > 22_000
        exchange(own, other)


def test_big_certificate_of_our_client(make_context, tmp_path: Path) -> None:
    path = _big_certificate(tmp_path, 22_000)
    server = make_context(True, version="1.3")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(path)
    client = make_context(False)
    client.load_cert_chain(path)
    with pair(prepare(client), server, server_side=False) as (own, other):
        assert_ours(own)
        exchange(own, other)


def _big_certificate(directory: Path, size: int) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "big")])
    now = datetime.datetime.now(datetime.UTC)
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), bytes(size))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(padding, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "big.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
