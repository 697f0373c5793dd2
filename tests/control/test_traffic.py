"""The numbers of a connection agree with a peer that records, to the record, in both directions."""

import errno
import os
import random
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ktls
from keyed_link import connected, parameters
from keyed_receiver import fails, receive, receiving
from ktls import connections
from ktls.connections import Connection, Traffic
from record_reader import ALL_SUITES, SUITES, RecordReader, Secrets, Suite, raw_records
from traffic_secrets import KEY_UPDATE, TrafficSecret

TLS13 = SUITES[3]


def connection_of(sock: ktls.Socket) -> Connection:
    address = sock.getsockname()[:2]
    [found] = [each for each in connections.live() if each.local == address]
    return found


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_what_is_sent_is_counted_to_the_record(enabled: None, suite: Suite, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(100_000))
    near, far = connected()
    secrets = Secrets(suite)
    with ktls.Socket(near) as sock, far:
        sock.send(b"before the keys")
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        sock.send(b"x")
        sock.sendall(bytes(50_000))
        sock.sendmsg([b"ab", b"c"])
        sock.sendmsg([b"\1\0"], [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))])
        with sock.cork():
            sock.send(b"one")
            sock.send(b"record")
        with file.open("rb") as opened:
            sock.sendfile(opened)
        sock.flush()
        counted = connection_of(sock)
        sock.shutdown(socket.SHUT_WR)
        assert far.recv(15, socket.MSG_WAITALL) == b"before the keys"
        reader = RecordReader(secrets)
        records = list(raw_records(far))
        payloads = [reader.open(record)[1] for record in records]
    assert counted.tx == Traffic(
        records=len(records),
        payload_bytes=sum(map(len, payloads)),
        wire_bytes=sum(map(len, records)),
        sequence=(secrets.sequence + len(records)) % 2**64,
    )
    assert (counted.tx_mode, counted.rx_mode) == (ktls.Mode.SW, ktls.Mode.NONE)
    assert counted.rx == Traffic()
    assert counted.tx_suite is not None
    assert counted.tx_suite.startswith(f"TLS 1.{suite.tls_vminor - 1} ")
    assert counted.tx_backend in {backend.name for backend in ktls.backends.available()}
    assert counted.rx_suite is counted.rx_backend is None


def test_records_of_every_key_are_counted(enabled: None) -> None:
    near, far = connected()
    secrets = Secrets(TLS13)
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        secret = TrafficSecret(TLS13)
        for _ in range(5):
            sock.sendall(bytes(random.randrange(1, 60_000)))
            sock.rekey(secret.value)
            secret = secret.next()
        sock.sendall(b"end")
        sock.flush()
        counted = connection_of(sock).tx
        sock.close()
        assert counted.records == len(list(raw_records(far)))
    assert (counted.key_changes, counted.sequence, counted.queued_bytes) == (5, 1, 0)


def test_what_waits_is_queued(enabled: None) -> None:
    near, far = connected(small=True)
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(TLS13)))
        sock.setblocking(False)
        accepted = sock.send(bytes(300_000))
        counted = connection_of(sock).tx
        assert counted.payload_bytes == accepted
        assert 0 < counted.queued_bytes <= accepted
        assert counted.wire_bytes < accepted
        sock.abort()
        [found] = [each for each in connections.live() if each.state == "failed"]
        failed = found.tx
        assert (failed.errors, failed.queued_bytes, failed.sequence) == (1, 0, None)
        assert failed.records == counted.records


@pytest.mark.parametrize("suite", [suite for suite in ALL_SUITES if suite.tls_vminor > 1], ids=str)
def test_what_is_received_is_counted_to_the_record(enabled: None, suite: Suite) -> None:
    with receiving(suite) as link:
        sizes = [1, 16384, 0, 700, 5000, 16384]
        wire = 0
        for size in sizes:
            record = link.writer.seal(bytes(size))
            wire += len(record)
            link.peer.sendall(record)
        # In parts, and with a rest that is kept.
        assert len(link.sock.recv(10)) > 0
        part = bytearray(20_000)
        while connection_of(link.sock).rx.records < len(sizes):
            link.sock.recv_into(part)
        counted = connection_of(link.sock).rx
    assert counted.records == len(sizes)
    assert counted.payload_bytes == sum(sizes)
    assert counted.wire_bytes == wire
    assert counted.errors == counted.key_changes == 0
    assert counted.sequence == (link.secrets.sequence + len(sizes)) % 2**64


def test_records_that_do_not_open_are_errors(enabled: None) -> None:
    with receiving(TLS13) as link:
        link.send(b"good")
        bad = bytearray(link.writer.seal(b"bad"))
        bad[-1] ^= 1
        link.peer.sendall(bad)
        link.send(b"after")
        assert receive(link.sock).data == b"good"
        fails(link.sock, errno.EBADMSG)
        assert receive(link.sock).data == b"after"
        counted = connection_of(link.sock).rx
        assert (counted.records, counted.errors) == (3, 1)
        assert counted.payload_bytes == len(b"goodafter")
        link.peer.sendall(bytes(20))
        fails(link.sock, errno.EINVAL)
        [dropped] = [each for each in connections.live() if each.rx.errors]
        assert dropped.rx.errors == 2


def test_a_key_update_of_the_peer_is_counted(enabled: None) -> None:
    with receiving(TLS13) as link:
        link.send(b"old")
        link.send(KEY_UPDATE, 22)
        assert receive(link.sock).data == b"old"
        assert receive(link.sock).content_type == 22
        other = TrafficSecret(TLS13)
        link.sock.rekey_rx(other.value)
        link.writer.__init__(other.secrets())  # type: ignore[misc]  # the same peer with other keys
        link.send(b"new")
        assert receive(link.sock).data == b"new"
        counted = connection_of(link.sock).rx
    assert (counted.records, counted.key_changes, counted.sequence) == (3, 1, 1)
    assert counted.payload_bytes == len(b"oldnew") + len(KEY_UPDATE)


def test_both_sums_stay_when_a_connection_goes(enabled: None) -> None:
    before = connections.gone()
    near, far = connected()
    other = Secrets(TLS13)
    with ktls.Socket(near) as sock, ktls.Socket(far) as peer:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(other))
        peer.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(other))
        sock.sendall(bytes(40_000))
        received = 0
        while received < 40_000:
            received += len(peer.recv(40_000))
        carried = connection_of(sock).tx, connection_of(peer).rx
    after = connections.gone()
    for way, traffic in zip(("tx", "rx"), carried, strict=True):
        assert traffic.records == 3
        for name in ("records", "payload_bytes", "wire_bytes"):
            # Others of this process may have gone, too.
            assert after[way][name] - before[way][name] >= getattr(traffic, name)


def test_the_registry_follows_the_objects(enabled: None) -> None:
    near, far = connected()
    sock = ktls.Socket(near)
    address = sock.getsockname()[:2]
    ids = [each.id for each in connections.live()]
    assert ids == sorted(ids)
    assert [each.local for each in connections.live(ids[-1] - 1)] == [address]
    assert list(connections.live(ids[-1])) == []
    sock.close()
    assert address not in [each.local for each in connections.live()]
    far.close()


def test_unconnected_and_inherited_ones_are_not_listed(enabled: None) -> None:
    near, far = connected()
    with ktls.Socket(socket.socket()), ktls.Socket(near) as sock, far:
        address = sock.getsockname()[:2]
        assert all(each.foreign[1] for each in connections.live() if not each.tx.errors)
        pid = os.fork()
        if pid == 0:
            os._exit(len(list(connections.live())))
        assert os.waitpid(pid, 0)[1] == 0
        assert address in [each.local for each in connections.live()]


def test_a_connection_is_found_by_its_ends(enabled: None) -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen()
        near = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
        far, _ = server.accept()
    with near, ktls.Socket(far) as sock:
        # Mapped, as the kernel shows it, and as a person writes it.
        ends = [near.getpeername(), near.getsockname()]
        mapped = [(f"::ffff:{host}", port) for host, port in ends]
        for local, foreign in (ends, mapped):
            assert connections.find(local, foreign) is sock
        with pytest.raises(ProcessLookupError, match="no connection from"):
            connections.find(ends[1], ends[0])


def test_both_ends_of_a_handshake_count_alike(
    enabled: None, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Through changes of the key that each end makes by itself; the handshake is left out."""
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 5
    client_context.minimum_version = ssl.TLSVersion.TLSv1_3
    server, client = map(ktls.prepare, (server_context, client_context))
    near, far = connected()
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(ktls.wrap_socket, far, server, server_side=True)
        asking = ktls.wrap_socket(near, client, server_hostname="localhost")
        accepted = accepting.result(30)
    with asking, accepted:
        size = 40 * 16384
        sending = threading.Thread(target=asking.sendall, args=(bytes(size),))
        sending.start()
        received = 0
        while received < size:
            received += len(accepted.recv(100_000))
        sending.join()
        # The next read takes what is no data.
        asking.sendall(b"end")
        assert accepted.recv(100) == b"end"
        named = {each.local: each for each in connections.live()}
        sent = named[asking.getsockname()[:2]]
        got = named[accepted.getsockname()[:2]]
    assert sent.tx.records == got.rx.records > 40
    assert sent.tx.payload_bytes == got.rx.payload_bytes > size
    assert sent.tx.wire_bytes == got.rx.wire_bytes
    assert sent.tx.key_changes == got.rx.key_changes >= 8
    assert sent.tx.sequence == got.rx.sequence
    assert got.rx.errors == sent.tx.errors == 0
    assert (sent.tx_mode, got.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW)
