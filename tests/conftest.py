"""Fixtures that every directory of tests may use.

At the end of a run it is said how many cases of each conformance catalogue passed, and how many did
not, and what tests recorded as their "summary".
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trustme
from hypothesis import HealthCheck, settings

import ktls
import rule_index
from keyed_link import Link, linked
from record_reader import SUITES, Suite

# A busy machine is no failure: neither the time of an example nor that of inventing one counts.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

CATALOGUES = ("freebsd", "linux")
TLS13 = SUITES[3]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose mark `rule` the index cannot hold is an error."""
    for mark in item.iter_markers("rule"):
        if wrong := rule_index.check(mark.args):
            pytest.fail(f"the mark rule: {wrong}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests want to be said, and the number of cases by catalogue."""
    summaries = [
        str(value)
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if name == "summary"
    ]
    reports = [
        (outcome, report.nodeid)
        for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
        for report in terminalreporter.stats.get(outcome, ())
    ]
    for line in summaries:
        terminalreporter.write_line(line)
    for catalogue in CATALOGUES:
        cases = [outcome for outcome, node in reports if f"conformance/test_{catalogue}_" in node]
        if cases:
            passed = cases.count("passed")
            terminalreporter.write_line(
                f"conformance: {catalogue}: {passed} cases passed, {len(cases) - passed} did not"
            )


@pytest.fixture(autouse=True)
def _restored_sysctls() -> Iterator[None]:
    """A test leaves the tree as it found it."""
    before = {name: ktls.sysctl[name] for name in ktls.sysctl}
    yield
    for name, value in before.items():
        if ktls.sysctl.node(name).is_writable and ktls.sysctl[name] != value:
            ktls.sysctl[name] = value


@pytest.fixture
def enabled() -> None:
    """KTLS is on for this test."""
    ktls.enable()


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


@pytest.fixture
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection, the one that connected first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        yield near, far


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """A certificate for localhost, issued by `authority`."""
    return authority.issue_cert("localhost", "127.0.0.1", "::1")


@pytest.fixture
def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A stock context for servers with `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """A stock context for clients that trusts `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context
