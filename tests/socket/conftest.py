"""Fixtures for the tests of ``ktls.Socket``."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import ktls
from keyed_link import Link, connected, linked
from record_reader import SUITES, Suite

TLS13 = SUITES[3]


@pytest.fixture(autouse=True)
def _on(enabled: None) -> None:
    """All of these tests have KTLS on."""


@pytest.fixture
def plain() -> Iterator[tuple[ktls.Socket, socket.socket]]:
    """A taken-over connection without a session, and its peer."""
    near, far = connected()
    with ktls.Socket(near) as sock, far:
        yield sock, far


@pytest.fixture
def make_link() -> Iterator[Callable[..., Link]]:
    """Makes keyed connections, closed when the test ends."""
    with ExitStack() as stack:

        def make(suite: Suite = TLS13, *, small: bool = False) -> Link:
            return stack.enter_context(linked(suite, small=small))

        yield make


@pytest.fixture
def link(make_link: Callable[..., Link]) -> Link:
    """A connection keyed for TLS 1.3 AES-128-GCM."""
    return make_link()
