"""Fixtures for the tests of ``ktls.Socket``."""

import socket
from collections.abc import Iterator

import pytest

import ktls
from keyed_link import connected


@pytest.fixture(autouse=True)
def _on(enabled: None) -> None:
    """All of these tests have KTLS on."""


@pytest.fixture
def plain() -> Iterator[tuple[ktls.Socket, socket.socket]]:
    """A taken-over connection without a session, and its peer."""
    near, far = connected()
    with ktls.Socket(near) as sock, far:
        yield sock, far
