"""Every kind of handshake: version, suite, role, full and resumed, tickets, client certificate."""

import ssl

import pytest
import trustme

from handover.pairs import assert_ours, end, exchange, pair, sequence
from ktls import prepare

SUITES = [
    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", False),
    ("1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", False),
    ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", False),
    ("1.2", "ECDHE-RSA-AES128-GCM-SHA256", True),
    ("1.2", "ECDHE-RSA-AES256-GCM-SHA384", True),
    ("1.2", "ECDHE-RSA-CHACHA20-POLY1305", True),
    ("1.2", "AES128-GCM-SHA256", True),
    ("1.2", "AES256-GCM-SHA384", True),
    ("1.3", None, False),
    ("1.3", None, True),
]


@pytest.mark.parametrize("with_certificate", [False, True], ids=["anonymous", "certificate"])
@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "no-tickets"])
@pytest.mark.parametrize(("version", "ciphers", "rsa"), SUITES)
def test_every_handshake_full_and_resumed(
    make_context,
    client_certificate: trustme.LeafCert,
    version: str,
    ciphers: str | None,
    rsa: bool,
    server_side: bool,
    tickets: bool,
    with_certificate: bool,
) -> None:
    ours = make_context(server_side, version=version, ciphers=ciphers, rsa=rsa)
    theirs = make_context(not server_side, version=version, ciphers=ciphers, rsa=rsa)
    server, client = (ours, theirs) if server_side else (theirs, ours)
    if not tickets:
        server.options |= ssl.OP_NO_TICKET
    if with_certificate:
        server.verify_mode = ssl.CERT_REQUIRED
        client_certificate.configure_cert(client)
    prepare(ours)
    session = None
    for turn in range(3):
        with pair(ours, theirs, server_side=server_side, session=session) as (own, other):
            assert_ours(own)
            if ciphers:
                assert own.cipher()[0] == ciphers
            assert own.session_reused is (turn > 0)
            if version == "1.2":
                assert sequence(own) == 1
            elif not server_side:
                assert sequence(own) == 0
            exchange(own, other)
            if with_certificate and server_side:
                assert own.getpeercert()["subjectAltName"] == (("email", "client@example.org"),)
            session = (other if server_side else own).session
            assert session is not None
            end(own, other)


def test_resumption_of_1_3_suites_keeps_counting(make_context) -> None:
    """A resumed 1.3 server sends one ticket, not two: the number is counted, not assumed."""
    ours = make_context(True, version="1.3", prepared=True)
    theirs = make_context(False, version="1.3")
    session = None
    numbers = []
    for _ in range(2):
        with pair(ours, theirs, server_side=True, session=session) as (own, other):
            numbers.append(sequence(own))
            exchange(own, other, (10,))
            session = other.session
    assert numbers == [2, 1]
