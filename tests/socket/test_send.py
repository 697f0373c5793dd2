"""What send, sendall and sendmsg put on the wire, record by record."""

import array
import errno
import os
import random
import socket
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ktls
from keyed_link import Link, connected, parameters
from record_reader import (
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    raw_records,
    read_data,
    read_record,
    read_records,
)

MakeLink = Callable[..., Link]
ALERT = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))


@pytest.mark.rule("RFC 5246 6.2.1", "RFC 8446 5.1")
@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1350, 16383, 16384, 16385, 100_000])
def test_records_of_a_write(make_link: MakeLink, suite: Suite, size: int) -> None:
    link = make_link(suite)
    data = random.randbytes(size)
    assert link.sock.send(data) == size
    link.sock.close()
    records = list(raw_records(link.peer))
    full, rest = divmod(size, 16384)
    lengths = [16384] * full + [rest] * bool(rest)
    assert [len(record) for record in records] == [n + suite.overhead for n in lengths]
    opened = [link.reader.open(record) for record in records]
    assert {content_type for content_type, _ in opened} == {23}
    assert b"".join(payload for _, payload in opened) == data


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_no_payload_is_readable_on_the_wire(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    pattern = b"THIS-IS-THE-PLAINTEXT-"
    link.sock.sendall(pattern * 4000)
    link.sock.sendall(pattern)
    link.sock.close()
    wire = b"".join(raw_records(link.peer))
    assert len(wire) > len(pattern) * 4001
    assert pattern[:8] not in wire


@pytest.mark.rule("freebsd.md row 20", "RFC 5246 6.1", "RFC 8446 5.3")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_the_last_sequence_numbers(suite: Suite) -> None:
    """Numbers go up to 2**64 - 2; then it is over, and nothing is sent twice."""
    near, far = connected()
    secrets = Secrets(suite)
    secrets.sequence = 2**64 - 3
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        sock.send(b"last but one")
        sock.send(b"last")
        with pytest.raises(OSError, match="18446744073709551615"):
            sock.send(b"one too many")
        sock.close()
        assert read_data(far, RecordReader(secrets)) == b"last but onelast"


@pytest.mark.parametrize("size", [100, 20_000, 100_000, 3_000_000])
@pytest.mark.parametrize("kind", [bytearray, lambda b: memoryview(bytearray(b))])
def test_a_buffer_changed_after_send(
    make_link: MakeLink, kind: Callable[[bytes], bytearray], size: int
) -> None:
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 2000
    ktls.sysctl["kern.ipc.tls.sendspace"] = 8 << 20
    link = make_link()
    data = random.randbytes(size)
    buffer = kind(data)
    accepted = link.sock.send(buffer)
    buffer[:] = bytes(size)
    assert accepted == size
    link.sock.shutdown(socket.SHUT_WR)
    assert read_data(link.peer, link.reader) == data


def test_send_takes_any_contiguous_buffer(link: Link) -> None:
    numbers = array.array("I", range(1000))
    matrix = memoryview(bytes(range(240))).cast("B", (12, 20))
    link.sock.sendall(numbers)
    assert link.sock.send(matrix) == 240
    assert link.sock.sendmsg([numbers, matrix]) == 4240
    link.sock.close()
    both = numbers.tobytes() + bytes(range(240))
    assert read_data(link.peer, link.reader) == both + both


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_send_refuses_what_is_no_buffer(link: Link, data: object) -> None:
    for call in (link.sock.send, link.sock.sendall, lambda d: link.sock.sendmsg([d])):
        with pytest.raises(TypeError):
            call(data)  # type: ignore[arg-type]
    link.sock.close()
    assert read_data(link.peer, link.reader) == b""


def test_send_refuses_buffers_with_gaps(link: Link) -> None:
    with pytest.raises((BufferError, ValueError), match=r"(?i)contiguous"):
        link.sock.send(memoryview(bytes(100))[::2])


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_empty_data_makes_no_record(link: Link, empty: bytes) -> None:
    assert link.sock.send(empty) == 0
    link.sock.sendall(empty)
    assert link.sock.sendmsg([empty, empty]) == 0
    assert link.sock.sendmsg([]) == 0
    link.sock.send(b"x")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"x")]


def test_without_a_session_bytes_go_out_as_they_are(
    plain: tuple[ktls.Socket, socket.socket],
) -> None:
    sock, far = plain
    data = random.randbytes(50_000)
    assert sock.send(data) == len(data)
    assert sock.send(b"") == 0
    assert sock.sendmsg([b"a", bytearray(b"b")]) == 2
    sock.close()
    received = bytearray()
    while part := far.recv(65536):
        received += part
    assert received == data + b"ab"


def test_clear_text_before_the_keys_and_records_after(
    plain: tuple[ktls.Socket, socket.socket],
) -> None:
    sock, far = plain
    secrets = Secrets(SUITES[4])
    clear = random.randbytes(500_000)
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 1000
    sock.setblocking(False)
    accepted = sock.send(clear)
    sock.setblocking(True)
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    sock.send(b"sealed")
    sock.close()
    received = bytearray()
    while len(received) < accepted:
        received += far.recv(accepted - len(received))
    assert received == clear[:accepted]
    assert read_data(far, RecordReader(secrets)) == b"sealed"


# -- sendmsg ---------------------------------------------------------------------------------------


def test_several_buffers_are_one_write(link: Link) -> None:
    parts = [random.randbytes(n) for n in (1, 0, 13, 16384, 5000, 1)]
    assert link.sock.sendmsg(iter(parts)) == sum(map(len, parts))
    link.sock.close()
    records = read_records(link.peer, link.reader)
    whole = b"".join(parts)
    assert records == [(23, whole[:16384]), (23, whole[16384:])]


@pytest.mark.rule("ktls(4) TLS_SET_RECORD_TYPE")
@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize("content_type", [21, 22, 0x21, 255])
def test_sendmsg_sets_the_record_type(make_link: MakeLink, suite: Suite, content_type: int) -> None:
    link = make_link(suite)
    control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))
    link.sock.send(b"before")
    assert link.sock.sendmsg([b"\x01", b"\x00"], [control]) == 2
    link.sock.send(b"after")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [
        (23, b"before"),
        (content_type, b"\x01\x00"),
        (23, b"after"),
    ]


def test_a_long_message_of_a_type_is_several_records(link: Link) -> None:
    control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytearray([22]))
    assert link.sock.sendmsg([bytes(40_000)], [control]) == 40_000
    link.sock.close()
    sizes = [(kind, len(data)) for kind, data in read_records(link.peer, link.reader)]
    assert sizes == [(22, 16384), (22, 16384), (22, 40_000 - 2 * 16384)]


@pytest.mark.parametrize(
    ("ancdata", "words"),
    [
        ([ALERT, ALERT], "2 control messages"),
        ([(socket.SOL_SOCKET, ktls.TLS_SET_RECORD_TYPE, b"\x15")], "level 1 and type 1"),
        ([(ktls.IPPROTO_TCP, 2, b"\x15")], "level 6 and type 2"),
        ([(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(4))], "level 1 and type 1"),
        ([(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, b"")], "record type has 0 bytes"),
        ([(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes(4))], "record type has 4 bytes"),
        ([(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, b"\x00")], "record type 0"),
    ],
)
def test_sendmsg_refuses_other_control_messages(
    link: Link, ancdata: list[tuple[int, int, bytes]], words: str
) -> None:
    with pytest.raises(OSError, match=words) as caught:
        link.sock.sendmsg([b"data"], ancdata)
    assert caught.value.errno == errno.EINVAL
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@pytest.mark.rule("RFC 8446 5.4")
def test_record_type_zero_exists_before_tls_13(make_link: MakeLink) -> None:
    link = make_link(SUITES[0])
    link.sock.sendmsg([b"x"], [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, b"\x00")])
    assert read_record(link.peer, link.reader) == (0, b"x")


@pytest.mark.parametrize("parts", [[], [b""], [b"", bytearray()]])
def test_a_record_type_needs_data(link: Link, parts: list[bytes]) -> None:
    with pytest.raises(OSError, match="needs data") as caught:
        link.sock.sendmsg(parts, [ALERT])
    assert caught.value.errno == errno.EINVAL


def test_a_record_type_needs_a_session(plain: tuple[ktls.Socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="needs a session") as caught:
        plain[0].sendmsg([b"x"], [ALERT])
    assert caught.value.errno == errno.EINVAL


def test_a_typed_message_that_never_fits(make_link: MakeLink) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 10_000
    link = make_link()
    with pytest.raises(OSError, match="sendspace") as caught:
        link.sock.sendmsg([bytes(10_001)], [ALERT])
    assert caught.value.errno == errno.EMSGSIZE
    assert link.sock.sendmsg([bytes(10_000)], [ALERT]) == 10_000


def test_a_typed_message_is_all_or_nothing(make_link: MakeLink) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 50_000
    link = make_link(small=True)
    link.sock.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            sent += link.sock.send(bytes(1000))
    with pytest.raises(BlockingIOError):
        link.sock.sendmsg([bytes(40_000)], [ALERT])
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert {kind for kind, _ in records} == {23}
    assert sum(len(data) for _, data in records) == sent


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [socket.MSG_NOSIGNAL, socket.MSG_MORE, socket.MSG_DONTWAIT])
def test_flags_that_send_takes(link: Link, flags: int) -> None:
    assert link.sock.send(b"one ", flags) == 4
    link.sock.sendall(b"two ", flags)
    assert link.sock.sendmsg([b"three"], [], flags) == 5
    link.sock.close()
    assert read_data(link.peer, link.reader) == b"one two three"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (socket.MSG_EOR, errno.EINVAL),
        (socket.MSG_EOR | socket.MSG_OOB, errno.EINVAL),
        (socket.MSG_OOB, errno.EOPNOTSUPP),
        (socket.MSG_PEEK, errno.EOPNOTSUPP),
        (1 << 29, errno.EOPNOTSUPP),
    ],
)
def test_flags_that_send_refuses(link: Link, flags: int, code: int) -> None:
    for call in (
        lambda: link.sock.send(b"x", flags),
        lambda: link.sock.sendall(b"x", flags),
        lambda: link.sock.sendmsg([b"x"], [ALERT], flags),
    ):
        with pytest.raises(OSError, match="MSG_") as caught:
            call()
        assert caught.value.errno == code
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


def test_dontwait_on_a_blocking_socket(make_link: MakeLink) -> None:
    link = make_link(small=True)
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            sent += link.sock.send(bytes(20_000), socket.MSG_DONTWAIT)
    assert link.sock.gettimeout() is None
    link.sock.close()
    assert len(read_data(link.peer, link.reader)) == sent


# -- any cut ---------------------------------------------------------------------------------------


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    suite=st.sampled_from(SUITES),
    cuts=st.lists(st.integers(0, 40_000), min_size=1, max_size=12),
    ways=st.lists(st.sampled_from(["send", "sendall", "sendmsg", "bytearray"]), min_size=1),
    maxlen=st.sampled_from([512, 1000, 16384]),
)
def test_any_cut_of_any_write_is_whole_on_the_wire(
    suite: Suite, cuts: list[int], ways: list[str], maxlen: int
) -> None:
    ktls.sysctl["kern.ipc.tls.maxlen"] = maxlen
    data = os.urandom(sum(cuts))
    secrets = Secrets(suite)
    near, far = connected()
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        position = 0
        for index, cut in enumerate(cuts):
            piece = data[position : position + cut]
            match ways[index % len(ways)]:
                case "send":
                    assert sock.send(piece) == cut
                case "sendall":
                    sock.sendall(piece)
                case "sendmsg":
                    assert sock.sendmsg([piece[: cut // 3], piece[cut // 3 :]]) == cut
                case "bytearray":
                    assert sock.send(bytearray(piece)) == cut
            position += cut
        sock.close()
        records = read_records(far, RecordReader(secrets))
    assert b"".join(payload for _, payload in records) == data
    # Records never join two writes, and are cut at maxlen only.
    assert [len(payload) for _, payload in records] == [
        min(maxlen, cut - start) for cut in cuts for start in range(0, cut, maxlen)
    ]
