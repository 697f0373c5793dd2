"""TCP_TXTLS_MODE: the switch, its errnos, its counters, and what becomes of the connection."""

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import ktls
from keyed_link import Link
from ktls import tx_mode
from ktls.constants import Mode
from ktls.session import Session

LEVEL, OPTION = ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE
STATS = "kern.ipc.tls.stats."
COUNTERS = ("switch_to_ifnet", "switch_to_sw", "switch_failed")


class Card:
    """An interface that takes a session, or says why not; `during` comes before."""

    name = "card0"

    def __init__(self, refusal: int = 0, during: Callable[[], None] | None = None) -> None:
        self.refusal, self.during = refusal, during
        self.taken: list[Session] = []

    def try_session(self, session: Session) -> None:
        if self.during is not None:
            self.during()
        if self.refusal:
            raise OSError(self.refusal, "refused by the test")
        self.taken.append(session)


@contextmanager
def attached(*cards: Card) -> Iterator[None]:
    for card in cards:
        tx_mode.attach(card)
    try:
        yield
    finally:
        for card in cards:
            tx_mode.detach(card)


def counts() -> list[int]:
    return [ktls.sysctl.number(STATS + name) for name in COUNTERS]


def moved(before: list[int]) -> list[int]:
    return [now - then for now, then in zip(counts(), before, strict=True)]


def mode_of(link: Link) -> int:
    return int(link.sock.getsockopt(LEVEL, OPTION))


def test_without_an_interface_it_is_enxio_and_the_connection_goes_on(link: Link) -> None:
    before = counts()
    with pytest.raises(OSError, match="no interface offers TLS") as caught:
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
    assert caught.value.errno == errno.ENXIO
    assert moved(before) == [0, 0, 1]
    assert mode_of(link) == Mode.SW
    link.sock.sendall(b"still here")
    assert link.read(10) == b"still here"


def test_the_mode_that_it_has_is_set_without_counting(link: Link) -> None:
    before = counts()
    link.sock.setsockopt(LEVEL, OPTION, Mode.SW)
    assert moved(before) == [0, 0, 0]


def test_there_and_back(link: Link) -> None:
    before, card = counts(), Card()
    with attached(card):
        link.sock.sendall(b"one ")
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
        assert mode_of(link) == Mode.IFNET
        assert [session.mode for session in card.taken] == [Mode.IFNET]
        link.sock.sendall(b"two ")
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
        assert len(card.taken) == 1
        link.sock.setsockopt(LEVEL, OPTION, Mode.SW)
        link.sock.sendall(b"three")
    assert mode_of(link) == Mode.SW
    assert moved(before) == [1, 1, 0]
    # One key and one row of numbers: the peer opens all of it.
    assert link.read(13) == b"one two three"


def test_the_last_refusal_is_raised_and_the_first_that_takes_it_has_it(link: Link) -> None:
    before = counts()
    cards = [Card(errno.EOPNOTSUPP), Card(errno.ENOBUFS)]
    with attached(*cards), pytest.raises(OSError, match="refused by the test") as caught:
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
    assert caught.value.errno == errno.ENOBUFS
    assert moved(before) == [0, 0, 1]
    taker, never = Card(), Card()
    with attached(Card(errno.EOPNOTSUPP), taker, never):
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
    assert (len(taker.taken), len(never.taken)) == (1, 0)


def test_a_session_that_changes_meanwhile_is_ebusy(link: Link) -> None:
    """Whatever changed it: here the length of its records, in the middle of the try."""
    before = counts()

    def shorten() -> None:
        link.sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, 4096)

    with attached(Card(during=shorten)), pytest.raises(OSError, match="try again") as caught:
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
    assert caught.value.errno == errno.EBUSY
    assert moved(before) == [0, 0, 1]
    assert mode_of(link) == Mode.SW
    assert link.sock.getsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN) == 4096
    link.sock.sendall(bytes(5000))
    assert link.read(5000) == bytes(5000)


def test_of_threads_that_switch_at_once_each_is_counted(link: Link) -> None:
    before = counts()
    meet = threading.Barrier(4)
    outcomes: list[int] = []

    def switch() -> None:
        try:
            link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
        except OSError as error:
            outcomes.append(error.errno or 0)
        else:
            outcomes.append(0)

    # All four have their clone before one of them installs it.
    with attached(Card(during=lambda: void(meet.wait(30)))):
        threads = [threading.Thread(target=switch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == [0, errno.EBUSY, errno.EBUSY, errno.EBUSY]
    assert moved(before) == [1, 0, 3]
    assert mode_of(link) == Mode.IFNET


def void(_: object) -> None:
    """For a lambda that returns nothing."""


def test_a_limit_of_record_length_keeps_the_mode(link: Link) -> None:
    with attached(Card()):
        link.sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
    link.sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, 1000)
    assert mode_of(link) == Mode.IFNET


def test_switching_while_others_send_loses_nothing(link: Link) -> None:
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=link.sock.sendall, args=(data,))
    with attached(Card()):
        sender.start()
        for mode in (Mode.IFNET, Mode.SW) * 20:
            link.sock.setsockopt(LEVEL, OPTION, mode)
        received = link.read(len(data))
        sender.join()
    assert received == data


@pytest.mark.parametrize("value", [Mode.NONE, 3, 99, -1])
def test_modes_that_cannot_be_set(link: Link, value: int) -> None:
    before = counts()
    with pytest.raises(OSError, match="cannot be set") as caught:
        link.sock.setsockopt(LEVEL, OPTION, value)
    assert caught.value.errno == errno.EINVAL
    assert moved(before) == [0, 0, 0]


def test_the_receive_mode_is_asked_only(link: Link) -> None:
    assert link.sock.getsockopt(LEVEL, ktls.TCP_RXTLS_MODE) == Mode.NONE
    with pytest.raises(OSError, match="asked only") as caught:
        link.sock.setsockopt(LEVEL, ktls.TCP_RXTLS_MODE, Mode.SW)
    assert caught.value.errno == errno.ENOPROTOOPT


def test_without_a_session_nothing_happens(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    before = counts()
    with ktls.Socket(tcp_pair[0]) as sock:
        sock.setsockopt(LEVEL, OPTION, Mode.IFNET)
        assert sock.getsockopt(LEVEL, OPTION) == Mode.NONE
    assert moved(before) == [0, 0, 0]
