"""Fixtures of the conformance suites: connections with keys, and one without."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import ktls
from keyed_link import Link, connected, parameters
from keyed_receiver import ReceivingLink, receiving
from record_reader import RecordReader, Secrets, Suite


@pytest.fixture(autouse=True)
def _on(enabled: None) -> None:
    """All of these tests have KTLS on."""


@pytest.fixture
def make_link() -> Iterator[Callable[..., Link]]:
    """Makes connections keyed for a suite, the first record's number being random."""
    with ExitStack() as stack:

        def make(suite: Suite, *, small: bool = False, sequence: int | None = None) -> Link:
            near, far = connected(small=small)
            sock = stack.enter_context(ktls.Socket(near))
            stack.enter_context(far)
            far.settimeout(20)
            secrets = Secrets(suite)
            if sequence is not None:
                secrets.sequence = sequence
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            return Link(sock, far, RecordReader(secrets), secrets)

        yield make


@pytest.fixture
def link(suite: Suite, make_link: Callable[..., Link]) -> Link:
    """A connection keyed for the suite of the case."""
    return make_link(suite)


@pytest.fixture
def make_receiving_link() -> Iterator[Callable[..., ReceivingLink]]:
    """Makes connections that open what a peer seals with a suite."""
    with ExitStack() as stack:
        yield lambda suite, **how: stack.enter_context(receiving(suite, **how))


@pytest.fixture
def receiving_link(
    suite: Suite, make_receiving_link: Callable[..., ReceivingLink]
) -> ReceivingLink:
    """A connection that opens what its peer seals with the suite of the case."""
    return make_receiving_link(suite)


@pytest.fixture
def fresh() -> Iterator[ktls.Socket]:
    """A socket that is not connected."""
    with ktls.Socket(socket.socket()) as sock:
        yield sock
