"""Keyed connections for tests of what steers them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from keyed_link import Link, linked
from record_reader import SUITES, Suite

TLS13 = next(suite for suite in SUITES if suite.name == "tls13-aes128-gcm")


@pytest.fixture
def make_link(enabled: None) -> Iterator[Callable[..., Link]]:
    """Makes keyed connections, closed when the test ends."""
    with ExitStack() as stack:

        def make(suite: Suite = TLS13, *, small: bool = False) -> Link:
            return stack.enter_context(linked(suite, small=small))

        yield make


@pytest.fixture
def link(make_link: Callable[..., Link]) -> Link:
    """A connection keyed for TLS 1.3 AES-128-GCM."""
    return make_link()
