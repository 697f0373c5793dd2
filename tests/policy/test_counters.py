"""Counters are exact, whoever moves them and however many at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

import ktls
from keyed_link import Link, connected, parameters
from record_reader import CBC_SUITES, SUITES, Secrets, read_record

STATS = "kern.ipc.tls.stats."
TLS13 = SUITES[3]
SIZES = (1, 100, 16384, 16385, 40000, 300000)
THREADS = 8
MakeLink = Callable[..., Link]


def records_in(size: int) -> int:
    return -(-size // 16384)


@contextmanager
def counted(*names: str) -> Iterator[dict[str, int]]:
    """How far each has moved in the block; filled at its end."""
    moved: dict[str, int] = {}
    before = {name: ktls.sysctl.number(STATS + name) for name in names}
    yield moved
    moved.update({name: ktls.sysctl.number(STATS + name) - before[name] for name in names})


def together(works: list[Callable[[], object]]) -> None:
    """Runs each in a thread of its own; the first error is raised."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_sealed_records_and_bytes(make_link: MakeLink) -> None:
    """Of eight connections at once, to the record and to the byte."""
    links = [make_link() for _ in range(THREADS)]

    def write(link: Link) -> None:
        for size in SIZES * 3:
            link.sock.sendall(bytes(size))

    def read(link: Link) -> None:
        for size in SIZES * 3:
            link.read(size)

    with counted("records", "bytes") as moved:
        works = [lambda link=link: write(link) for link in links]
        together(works + [lambda link=link: read(link) for link in links])
    assert moved == {
        "records": THREADS * 3 * sum(map(records_in, SIZES)),
        "bytes": THREADS * 3 * sum(SIZES),
    }


def test_what_leaves_in_the_clear_is_not_counted(
    tcp_pair: tuple[object, object],
) -> None:
    near, far = tcp_pair
    with ktls.Socket(near) as sock, counted("records", "bytes") as moved:  # type: ignore[arg-type]
        sock.sendall(bytes(1000))
        assert len(far.recv(1000)) > 0  # type: ignore[attr-defined]
    assert moved == {"records": 0, "bytes": 0}


def test_records_of_files_and_corks(make_link: MakeLink, tmp_path: object) -> None:
    link = make_link()
    with open(f"{tmp_path}/file", "w+b") as file, counted("records", "bytes") as moved:
        file.write(bytes(100000))
        file.flush()
        link.sock.sendfile(file)
        link.read(100000)
        with link.sock.cork():
            for _ in range(10):
                link.sock.sendall(bytes(10))
        link.read(100)
    assert moved == {"records": records_in(100000) + 1, "bytes": 100100}


def test_opened_records(enabled: None) -> None:
    """Of eight connections that are read at once, in pieces that cut records."""
    with ExitStack() as stack:
        ends = []
        for _ in range(THREADS):
            secrets = Secrets(TLS13)
            near, far = (stack.enter_context(ktls.Socket(end)) for end in connected())
            near.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            far.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(secrets))
            far.settimeout(20)
            ends.append((near, far))

        def write(sock: ktls.Socket) -> None:
            for size in SIZES * 3:
                sock.sendall(bytes(size))

        def read(sock: ktls.Socket) -> None:
            left = 3 * sum(SIZES)
            while left:
                left -= len(sock.recv(min(left, 5000)))

        with counted("records", "rx_records") as moved:
            works = [lambda near=near: write(near) for near, _ in ends]
            together(works + [lambda far=far: read(far) for _, far in ends])
    expected = THREADS * 3 * sum(map(records_in, SIZES))
    assert moved == {"records": expected, "rx_records": expected}


def test_a_record_that_does_not_open_is_no_opened_one(enabled: None) -> None:
    secrets = Secrets(TLS13)
    near, far = connected()
    with ktls.Socket(far) as sock, near, counted("rx_records", "failed_crypto") as moved:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(secrets))
        near.sendall(bytes([23, 3, 3, 0, 40]) + bytes(40))
        with pytest.raises(OSError, match="record"):
            sock.recv(100)
    assert moved == {"rx_records": 0, "failed_crypto": 1}


def test_records_that_wait_for_earlier_ones_are_counted_and_go(make_link: MakeLink) -> None:
    """TLS 1.0: the gauge ends where it began, whatever it was meanwhile."""
    link = make_link(CBC_SUITES[0])
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 16384
    with counted("sw_tx_pending") as moved:
        sender = threading.Thread(target=link.sock.sendall, args=(bytes(1 << 20),))
        sender.start()
        left = 1 << 20
        while left:
            left -= len(read_record(link.peer, link.reader)[1])
        sender.join()
    assert moved == {"sw_tx_pending": 0}


def test_sessions_that_come_and_go_in_threads(enabled: None) -> None:
    def open_and_close() -> None:
        for _ in range(20):
            near, far = connected()
            with ktls.Socket(near) as sock, far:
                sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(TLS13)))

    with counted("enable_calls", "offload_total", "active") as moved:
        together([open_and_close] * THREADS)
    assert moved == {"enable_calls": 20 * THREADS, "offload_total": 20 * THREADS, "active": 0}
