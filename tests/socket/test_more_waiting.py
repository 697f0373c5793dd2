"""An open record where there is no room, between threads, after an error, in a forked child."""

import errno
import os
import random
import select
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import pytest

from full_link import Reading, keep
from keyed_link import ALERT, Link, reset
from record_reader import CBC_SUITES, SUITES, Suite, read_data, read_record, read_records
from traffic_secrets import TrafficSecret, read_generations

MakeLink = Callable[..., Link]
MORE = socket.MSG_MORE

every_kind = pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CBC_SUITES[0]], ids=str)


# -- no room ---------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("space", [1024, 5000, 16384, 40_000])
@pytest.mark.parametrize("length", [700, 1024, 9000])
def test_a_writer_waits_with_a_record_open(
    make_link: MakeLink, suite: Suite, space: int, length: int
) -> None:
    """What it waits for is the open record itself, perhaps, which is closed then."""
    keep(space)
    link = make_link(suite, small=True)
    link.sock.settimeout(20)
    reading = Reading(link)
    data = os.urandom(60 * length)
    for at in range(0, len(data), length):
        link.sock.sendall(data[at : at + length], MORE)
    records = reading.finished()
    assert b"".join(payload for _, payload in records) == data


@every_kind
def test_open_record_waits_for_a_peer_that_reads_later(make_link: MakeLink, suite: Suite) -> None:
    """The writer is blocked before anybody reads."""
    keep(20_000)
    link = make_link(suite, small=True)
    data = os.urandom(500_000)

    def write() -> None:
        for at in range(0, len(data), 3000):
            link.sock.sendall(data[at : at + 3000], MORE)
        link.sock.close()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert read_data(link.peer, link.reader) == data
    writer.join(20)


@every_kind
def test_open_record_without_blocking_gets_room_again(make_link: MakeLink, suite: Suite) -> None:
    """A call that was refused has closed the record: nobody else would."""
    keep(10_000)
    link = make_link(suite, small=True)
    link.sock.setblocking(False)
    data = os.urandom(300_000)
    sent = refused = 0
    reading = None
    while sent < len(data):
        try:
            sent += link.sock.send(data[sent : sent + 700], MORE)
        except BlockingIOError:
            refused += 1
            reading = reading or Reading(link)
            assert select.select([], [link.sock], [], 20)[1]
    assert refused
    assert reading is not None
    assert b"".join(payload for _, payload in reading.finished()) == data


def test_a_refused_write_is_the_only_one(make_link: MakeLink) -> None:
    """Less was accepted than there is room for, and the next write is longer than what is left."""
    keep(10_000)
    link = make_link()
    link.sock.setblocking(False)
    assert link.sock.send(bytes(9000), MORE) == 9000
    sent = 9000
    try:
        sent += link.sock.send(bytes(5000), MORE)
    except BlockingIOError:
        assert select.select([], [link.sock], [], 20)[1]
    link.sock.setblocking(True)
    link.sock.sendall(b"the end")
    reading = Reading(link)
    payload = b"".join(data for _, data in reading.finished())
    assert payload == bytes(sent) + b"the end"


def test_a_message_waits_behind_an_open_record(make_link: MakeLink) -> None:
    """It needs all of the space at once."""
    keep(10_000)
    link = make_link(small=True)
    reading = Reading(link)
    link.sock.settimeout(20)
    for _ in range(30):
        link.sock.send(b"x" * 3000, MORE)
        assert link.sock.sendmsg([b"\0" * 10_000], ALERT) == 10_000
    records = reading.finished()
    assert b"".join(data for kind, data in records if kind == 23) == b"x" * 90_000
    assert [data for kind, data in records if kind == 21] == [b"\0" * 10_000] * 30
    assert [kind for kind, _ in records[:2]] == [23, 21]


def test_time_out_leaves_an_open_record_to_be_read(make_link: MakeLink) -> None:
    keep(10_000)
    link = make_link(small=True)
    link.sock.settimeout(0.1)
    sent = 0
    with pytest.raises(TimeoutError):  # noqa: PT012
        while True:
            sent += link.sock.send(bytes(4000), MORE)
    assert len(b"".join(data for _, data in Reading(link).finished())) == sent


# -- threads ---------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("small", [False, True])
def test_threads_share_an_open_record(make_link: MakeLink, suite: Suite, small: bool) -> None:
    """Each write arrives whole and in its thread's order, whoever closes the record."""
    keep(60_000 if small else 1 << 20)
    link = make_link(suite, small=small)
    reading = Reading(link)
    writers, turns = 4, 150

    def message(writer: int, turn: int) -> bytes:
        size = random.Random(writer * 1000 + turn).choice([1, 50, 700, 5000, 16_380])
        return bytes([writer, turn]) + size.to_bytes(2, "big") + bytes([turn]) * size

    def write(writer: int) -> None:
        for turn in range(turns):
            data = message(writer, turn)
            match random.randrange(4):
                case 0:
                    link.sock.sendall(data)
                case 1:
                    assert link.sock.sendmsg([data[:3], data[3:]], [], MORE) == len(data)
                case 2:
                    assert link.sock.send(bytearray(data), MORE) == len(data)
                case 3:
                    link.sock.sendall(data, MORE)

    def close_now_and_then() -> None:
        for turn in range(50):
            if turn % 2:
                link.sock.flush()
            else:
                link.sock.sendmsg([b"\1\0"], ALERT)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    threads.append(threading.Thread(target=close_now_and_then, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    records = reading.finished()
    assert [data for kind, data in records if kind == 21] == [b"\1\0"] * 25
    assert all(len(data) <= 16384 for _, data in records)
    stream = b"".join(data for kind, data in records if kind == 23)
    seen: dict[int, list[int]] = defaultdict(list)
    while stream:
        writer, turn = stream[:2]
        expected = message(writer, turn)
        assert stream.startswith(expected)
        stream = stream[len(expected) :]
        seen[writer].append(turn)
    assert seen == {writer: list(range(turns)) for writer in range(writers)}


def test_a_record_opened_behind_a_flush(make_link: MakeLink) -> None:
    """It was not accepted before the call, which does not wait for it."""
    link = make_link(small=True)
    link.sock.send(bytes(500_000), socket.MSG_DONTWAIT)
    flushing = threading.Thread(target=link.sock.flush, daemon=True)
    flushing.start()
    flushing.join(0.2)
    assert flushing.is_alive()
    link.sock.send(b"opened meanwhile", MORE)
    for _ in range(500_000 // 16384 + 1):
        read_record(link.peer, link.reader)
    flushing.join(10)
    assert not flushing.is_alive()
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"opened meanwhile")]


def test_the_time_out_of_a_flush_behind_which_a_record_is_opened(make_link: MakeLink) -> None:
    """It holds, whatever others write meanwhile."""
    link = make_link(small=True)
    link.sock.send(bytes(500_000), socket.MSG_DONTWAIT)
    outcome: list[type[BaseException] | None] = []

    def flush() -> None:
        try:
            link.sock.flush(1)
        except TimeoutError as error:
            outcome.append(type(error))
        else:
            outcome.append(None)

    flushing = threading.Thread(target=flush, daemon=True)
    flushing.start()
    flushing.join(0.2)
    link.sock.send(b"opened meanwhile", MORE)
    reading = Reading(link)
    flushing.join(10)
    assert outcome
    assert b"".join(data for _, data in reading.finished()) == bytes(500_000) + b"opened meanwhile"


def test_one_thread_opens_a_record_and_another_closes_it(link: Link) -> None:
    for _ in range(100):
        opener = threading.Thread(target=link.sock.send, args=(b"one thread ", MORE))
        opener.start()
        opener.join()
        closer = threading.Thread(target=link.sock.send, args=(b"and another",))
        closer.start()
        assert read_record(link.peer, link.reader) == (23, b"one thread and another")
        closer.join()


def test_keys_change_while_threads_write(make_link: MakeLink) -> None:
    link = make_link(SUITES[3])
    secret = TrafficSecret(SUITES[3])
    row = secret.row(30)
    generations: list[list[tuple[int, bytes]]] = []
    reading = threading.Thread(
        target=lambda: generations.extend(read_generations(link.peer, link.reader, secret))
    )
    reading.start()

    def write(mark: int) -> None:
        for turn in range(200):
            link.sock.sendall(bytes([mark]) * 100, MORE if turn % 3 else 0)

    writers = [threading.Thread(target=write, args=(mark,)) for mark in (1, 2)]
    for writer in writers:
        writer.start()
    for one in row:
        link.sock.rekey(one.value)
    for writer in writers:
        writer.join()
    link.sock.close()
    reading.join(30)
    assert len(generations) == 31
    stream = b"".join(
        payload for generation in generations for kind, payload in generation if kind == 23
    )
    pieces = [stream[at : at + 100] for at in range(0, len(stream), 100)]
    assert sorted(pieces) == [b"\1" * 100] * 200 + [b"\2" * 100] * 200


# -- the end ---------------------------------------------------------------------------------------


def test_a_lost_connection_is_said_by_what_closes_it(make_link: MakeLink) -> None:
    link = make_link()
    link.sock.send(b"open", MORE)
    reset(link.peer)
    with pytest.raises(OSError, match=r"(?i)reset|pipe") as caught:  # noqa: PT012
        link.sock.flush(20)
        link.sock.flush(20)
    assert caught.value.errno in (errno.ECONNRESET, errno.EPIPE)
    with pytest.raises(BrokenPipeError):
        link.sock.send(b"x", MORE)
    link.sock.close()


def test_no_write_joins_after_the_end(link: Link) -> None:
    link.sock.send(b"open", MORE)
    link.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        link.sock.send(b"more", MORE)
    link.sock.close()
    with pytest.raises(OSError, match="closed") as caught:
        link.sock.send(b"more", MORE)
    assert caught.value.errno == errno.EBADF
    assert read_records(link.peer, link.reader) == [(23, b"open")]


@pytest.mark.parametrize("end", ["close", "shutdown", "exit"])
def test_a_child_does_not_close_the_record_of_its_parent(link: Link, end: str) -> None:
    """It would leave twice, or with a number that comes again."""
    link.sock.send(b"by the parent, ", MORE)
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)
            with pytest.raises(OSError, match="belongs to process"):
                link.sock.send(b"by the child", MORE)
            if end == "close":
                link.sock.close()
            elif end == "shutdown":
                with suppress(OSError):
                    link.sock.shutdown(socket.SHUT_WR)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    link.sock.send(b"and only by it")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"by the parent, and only by it")]
