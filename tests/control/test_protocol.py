"""The control protocol without a socket: lines of any kind, cut anywhere."""

import contextlib
import errno
import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktls.control import protocol
from ktls.control.budget import Budget
from ktls.control.protocol import (
    LINE_MAX,
    Connections,
    LineReader,
    ProtocolError,
    Switch,
    SysctlGet,
    SysctlList,
    SysctlSet,
    parse_hello,
    parse_reply,
    parse_request,
    show_error,
    show_request,
    show_result,
)

WORDS = ["sysctl", "list", "get", "set", "connections", "switch", "sw", "ifnet", "::1", "127.0.0.1"]
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
HOSTS = st.ip_addresses().map(str)
ENDPOINTS = st.tuples(HOSTS, st.integers(0, 65535))
REQUESTS = st.one_of(
    st.just(SysctlList()),
    st.builds(SysctlGet, NAMES),
    st.builds(SysctlSet, NAMES, VALUES),
    st.builds(Connections, st.integers(0, 2**63 - 1)),
    st.builds(Switch, st.sampled_from(["sw", "ifnet"]), ENDPOINTS, ENDPOINTS),
)


def is_answered(line: bytes) -> bool:
    """Whether the line is a request; if not the refusal is one line that a client understands."""
    try:
        request = parse_request(line)
    except ProtocolError as error:
        said = show_error(error)
        assert said.endswith(b"\n")
        assert said.count(b"\n") == 1
        assert len(said) < LINE_MAX
        with pytest.raises(OSError, match=r".") as caught:
            parse_reply(said)
        assert caught.value.errno == errno.EINVAL
        return False
    # A number may be written with zeros before it; nothing else is changed.
    assert parse_request(show_request(request).removesuffix(b"\n")) == request
    return True


@given(REQUESTS)
def test_a_request_is_understood_as_it_was_meant(request: protocol.Request) -> None:
    line = show_request(request)
    assert parse_request(line.removesuffix(b"\n")) == request
    assert line.count(b"\n") == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(line: bytes) -> None:
    is_answered(line)


@given(st.lists(st.sampled_from([*WORDS, "0", "443", "", "-1", "99999999999"]), max_size=8))
def test_any_words_are_a_request_or_refused(words: list[str]) -> None:
    line = " ".join(words).encode()
    try:
        request = parse_request(line)
    except ProtocolError:
        return
    # A number may be written with zeros before it; nothing else is changed.
    assert parse_request(show_request(request).removesuffix(b"\n")) == request


@given(st.binary(max_size=5000), st.lists(st.integers(0, 5000), max_size=10))
def test_lines_are_the_same_wherever_they_are_cut(data: bytes, cuts: list[int]) -> None:
    def lines(parts: list[bytes]) -> list[bytes] | None:
        reader, found = LineReader(), []
        try:
            for part in parts:
                found += reader.feed(part)
                assert reader.pending < LINE_MAX
        except ProtocolError:
            return None
        return found

    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    expected = data.split(b"\n")
    too_long = any(len(line) >= LINE_MAX for line in expected)
    assert lines([data]) == lines(parts) == (None if too_long else expected[:-1])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_reply_or_refused(line: bytes) -> None:
    with contextlib.suppress(OSError, ProtocolError):
        parse_reply(line)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_greeting_or_refused(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert parse_hello(line) >= 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"sysctl",
        b"sysctl list all",
        b"sysctl get",
        b"sysctl get ",
        b"sysctl get a b",
        b"sysctl set",
        b"connections",
        b"connections -1",
        b"connections 1 2",
        b"connections 99999999999999999999",
        b"connections \xc2\xb2",
        b"switch",
        b"switch none 1.2.3.4 1 1.2.3.4 2",
        b"switch sw 1.2.3.4 1 1.2.3.4",
        b"switch sw 1.2.3.4 1 1.2.3.4 65536",
        b"switch sw localhost 1 1.2.3.4 2",
        b"switch sw 1.2.3.4 1 1.2.3.4 2 3",
        b"SYSCTL LIST",
        b"sysctl\tlist",
        b"sysctl list\r",
        b"sysctl list\0",
        b"\xff\xfe",
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    assert not is_answered(line)


def test_results_and_refusals_come_through() -> None:
    assert parse_reply(show_result({"a": [1, None, "ü"]})) == {"a": [1, None, "ü"]}
    for error, number, message in [
        (OSError(errno.EPERM, "no"), errno.EPERM, "no"),
        (KeyError("unknown"), errno.ENOENT, "unknown"),
        (ValueError("wrong"), errno.EINVAL, "wrong"),
        (OSError("without a number"), errno.EINVAL, "without a number"),
    ]:
        with pytest.raises(OSError, match=message) as caught:
            parse_reply(show_error(error))
        assert caught.value.errno == number


@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b'{"error": {}}', b"[" * 10_000, b"nan"])
def test_what_is_no_reply(reply: bytes) -> None:
    with pytest.raises(ProtocolError, match="none of this protocol"):
        parse_reply(reply)


def test_what_cannot_be_asked_is_refused_before_it_is_sent() -> None:
    for request in [
        SysctlGet("two words"),
        SysctlGet("line\nend"),
        SysctlSet("name", "x" * LINE_MAX),
        SysctlSet("name", "ü"),
        Switch("sw", ("example.org", 1), ("::1", 2)),
    ]:
        with pytest.raises(ProtocolError):
            show_request(request)


def test_another_version_is_named() -> None:
    with pytest.raises(ProtocolError, match="version 2 of the control protocol"):
        parse_hello(b"KTLS-control 2 17")
    assert parse_hello(protocol.hello(17).removesuffix(b"\n")) == 17


@pytest.mark.large
@pytest.mark.timeout(300)
def test_a_million_lines() -> None:
    """Half of them begin as a request does."""
    random.seed(1)
    requests = 0
    for _ in range(1_000_000):
        if random.random() < 0.5:
            line = random.randbytes(random.randrange(60))
        else:
            words = random.choices(WORDS, k=random.randrange(1, 7))
            line = " ".join(words).encode()
        try:
            parse_request(line)
            requests += 1
        except ProtocolError as error:
            json.loads(show_error(error))
    assert requests


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 10)), min_size=1, max_size=50))
def test_work_stays_within_its_share(turns: list[tuple[float, float]]) -> None:
    """A thread that rests as it is told has worked no more than a burst and its share."""
    budget = Budget(0.5, 0.05, 0.0)
    now_s = worked_s = 0.0
    for work_s, idle_s in turns:
        now_s += work_s
        worked_s += work_s
        now_s += budget.spend(work_s, now_s) + idle_s
        assert worked_s <= 0.5 + 1 + 0.05 * now_s
