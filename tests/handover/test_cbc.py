"""AES-CBC suites of TLS 1.0 to 1.2 after the hand-over, MAC before and after encryption."""

import os
import ssl

import pytest
import trustme

import ktls
from handover.pairs import assert_ours, end, exchange, pair, receive, sequence
from handover.relay import Relay
from ktls import KTLSError, prepare
from tls_records import split_records

SHA1 = ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "AES128-SHA", "AES256-SHA"]
NEWER = ["ECDHE-RSA-AES128-SHA256", "AES256-SHA256", "ECDHE-RSA-AES256-SHA384"]
SUITES = [
    *((version, suite) for version in ("1.0", "1.1", "1.2") for suite in SHA1),
    *(("1.2", suite) for suite in NEWER),
]
OP_DONT_INSERT_EMPTY_FRAGMENTS = 0x800
"""An option of OpenSSL that ssl has no name for."""
FRAGMENT = "kern.ipc.tls.tls10_fragment"

ORDERS = pytest.mark.parametrize("encrypt_then_mac", [True, False], ids=["EtM", "MtE"])


@pytest.fixture
def make_cbc(make_context):
    """Contexts of both roles for one suite."""

    def make(version: str, suite: str, encrypt_then_mac: bool, server_side: bool):
        return tuple(
            make_context(
                role,
                version=version,
                ciphers=f"{suite}:@SECLEVEL=0",
                rsa=True,
                encrypt_then_mac=encrypt_then_mac,
            )
            for role in (server_side, not server_side)
        )

    return make


@ORDERS
@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "no-tickets"])
@pytest.mark.parametrize(("version", "suite"), SUITES)
def test_cbc_handshakes_full_and_resumed(
    make_cbc,
    client_certificate: trustme.LeafCert,
    version: str,
    suite: str,
    server_side: bool,
    tickets: bool,
    encrypt_then_mac: bool,
) -> None:
    ours, theirs = make_cbc(version, suite, encrypt_then_mac, server_side)
    server, client = (ours, theirs) if server_side else (theirs, ours)
    if not tickets:
        server.options |= ssl.OP_NO_TICKET
        server.verify_mode = ssl.CERT_REQUIRED
        client_certificate.configure_cert(client)
    prepare(ours)
    session = None
    for turn in range(3):
        with pair(ours, theirs, server_side=server_side, session=session) as (own, other):
            assert_ours(own)
            assert own.cipher()[0] == suite
            assert own.version() == f"TLSv{version}".removesuffix(".0")
            assert own.session_reused is (turn > 0)
            assert sequence(own) == 1
            exchange(own, other)
            session = (other if server_side else own).session
            assert session is not None
            end(own, other)


@ORDERS
@pytest.mark.parametrize(("version", "suite"), [("1.0", "AES128-SHA"), ("1.2", "AES256-SHA256")])
def test_cbc_by_every_way_to_send(
    make_cbc, server_side: bool, version: str, suite: str, encrypt_then_mac: bool, tmp_path
) -> None:
    ours, theirs = make_cbc(version, suite, encrypt_then_mac, server_side)
    data = os.urandom(300_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    with pair(prepare(ours), theirs, server_side=server_side) as (own, other):
        assert own.send(b"") == 0
        assert own.send(data[:1]) == 1
        assert own.send(bytearray(data[1:50])) == 49
        assert own.sendmsg([data[50:60], data[60:100]]) == 50
        own.sendall(memoryview(data)[100:])
        assert receive(other, len(data)) == data
        with path.open("rb") as file:
            assert own.sendfile(file, 7) == len(data) - 7
        assert receive(other, len(data) - 7) == data[7:]
        with pytest.raises(KTLSError, match=r"TLS 1\.3"):
            own.key_update()
        end(own, other)


@pytest.mark.rule("RFC 2246 6.2.3.2", "RFC 4346 6.2.3.2", "RFC 5246 6.2.3.2", "RFC 7457 2.3")
@ORDERS
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_cbc_records_on_the_wire(
    make_cbc, server_side: bool, version: str, encrypt_then_mac: bool
) -> None:
    """Whole records of the right version, no IV twice, and in 1.0 the first byte by itself."""
    ours, theirs = make_cbc(version, "AES128-SHA", encrypt_then_mac, server_side)
    with (
        Relay() as relay,
        relay.pair(prepare(ours), theirs, server_side=server_side) as (
            own,
            other,
        ),
    ):
        assert_ours(own)
        before = len(list(split_records(bytes(relay.from_us))))
        for _ in range(5):
            own.sendall(b"no clear text" * 5)
            receive(other, 65)
        records = list(split_records(bytes(relay.from_us)))[before:]
    assert {record[:3] for record in records} == {bytes([23, 3, int(version[-1]) + 1])}
    assert not any(b"clear text" in record for record in records)
    iv_size = 0 if version == "1.0" else 16
    if iv_size:
        assert len({record[5:21] for record in records}) == len(records) == 5
    mac = 20
    sizes = [len(record) for record in records]
    plain = [1, 64] * 5 if version == "1.0" else [65] * 5
    if encrypt_then_mac:
        assert sizes == [5 + iv_size + n + 16 - n % 16 + mac for n in plain]
    else:
        assert sizes == [5 + iv_size + n + mac + 16 - (n + mac) % 16 for n in plain]


@pytest.mark.parametrize(
    ("choice", "count"), [("none", 1), ("empty", 2), ("split", 2), ("auto", 2)]
)
def test_cbc_records_that_precede_the_data(
    make_cbc, server_side: bool, choice: str, count: int
) -> None:
    ktls.sysctl[FRAGMENT] = choice
    ours, theirs = make_cbc("1.0", "AES128-SHA", False, server_side)
    with pair(prepare(ours), theirs, server_side=server_side) as (own, other):
        first = sequence(own)
        own.sendall(b"data")
        assert own.send(b"") == 0
        assert sequence(own) - first == count
        assert receive(other, 4) == b"data"
        exchange(own, other)


def test_openssl_without_empty_fragments(make_cbc, server_side: bool) -> None:
    """The probe is one record then, not two."""
    ours, theirs = make_cbc("1.0", "AES256-SHA", False, server_side)
    ours.options |= OP_DONT_INSERT_EMPTY_FRAGMENTS
    with pair(prepare(ours), theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        exchange(own, other)
        end(own, other)


@pytest.mark.rule("RFC 5246 7.2.2")
@ORDERS
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_alerts_are_said_in_our_stream(
    make_cbc, server_side: bool, version: str, encrypt_then_mac: bool
) -> None:
    """A record of the peer that was changed on the way: bad_record_mac arrives."""
    ours, theirs = make_cbc(version, "AES256-SHA", encrypt_then_mac, server_side)
    with pair(prepare(ours), theirs, server_side=server_side) as (own, other):
        exchange(own, other, (100,))
        # As the kernel would deliver it: type, version, and blocks that authenticate nothing.
        version_bytes = bytes([3, int(version[-1]) + 1])
        forged = b"\x17" + version_bytes + (160).to_bytes(2, "big") + os.urandom(160)
        os.write(other.fileno(), forged)
        with pytest.raises(ssl.SSLError, match=r"BAD_RECORD_MAC|DECRYPTION_FAILED"):
            own.recv(1)
        with pytest.raises(ssl.SSLError, match=r"ALERT_BAD_RECORD_MAC|BAD_RECORD_MAC"):
            other.recv(1)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_IS_SHUTDOWN"):
            own.send(b"too late")
