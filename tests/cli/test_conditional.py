"""Ranges and validators, as values (RFC 9110 §13, §14)."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktls.cli.conditional import UnsatisfiableRangeError, Validators, select_range
from ktls.cli.request import Headers


@pytest.mark.rule("RFC 9110 14.1.2")
@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, range(1)),
        ("bytes=0-", 10, range(10)),
        ("bytes=2-5", 10, range(2, 6)),
        ("bytes=5-99", 10, range(5, 10)),
        ("bytes=-3", 10, range(7, 10)),
        ("bytes=-99", 10, range(10)),
        (" bytes= 2-5 ", 10, range(2, 6)),
        ("BYTES=2-5", 10, range(2, 6)),
        ("bytes=0-99999999999999999999999999", 10, range(10)),
        ("bytes=" + "0" * 5000 + "1-2", 10, range(1, 3)),
    ],
)
def test_range_is_selected(header: str, size: int, expected: range) -> None:
    assert select_range(header, size) == expected


@pytest.mark.rule("RFC 9110 14.2")
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=0-1,4-5",
        "bytes=0-1, bytes=4-5",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=0-1;",
        "lines=1-2",
    ],
)
def test_what_is_no_single_range_means_the_whole(header: str | None) -> None:
    assert select_range(header, 10) is None


@pytest.mark.rule("RFC 9110 14.1.2")
@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=-0", 10),
        ("bytes=-5", 0),
        ("bytes=0-", 0),
        ("bytes=" + "9" * 5000 + "-", 10),
    ],
)
def test_range_outside_is_refused(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        select_range(header, size)


@given(header=st.text() | st.from_regex(r"bytes=\d*-\d*"), size=st.integers(0, 2**63))
def test_any_range_lies_in_the_file(header: str, size: int) -> None:
    try:
        selected = select_range(header, size)
    except UnsatisfiableRangeError:
        return
    if selected is not None:
        assert selected.step == 1
        assert 0 <= selected.start < selected.stop <= size


@pytest.mark.rule("RFC 9110 8.8.3")
def test_etag_tells_states_of_a_file_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 1_000_000_000))
    first = Validators.of(path.stat())
    os.utime(path, ns=(0, 1_000_000_001))
    later = Validators.of(path.stat())
    path.write_bytes(b"three")
    os.utime(path, ns=(0, 1_000_000_001))
    longer = Validators.of(path.stat())
    assert len({first.etag, later.etag, longer.etag}) == 3
    assert first.last_modified == later.last_modified == 1


VALIDATORS = Validators('"1-2"', 784111777)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"


@pytest.mark.rule("RFC 9110 13.1.2", "RFC 9110 13.1.3", "RFC 9110 13.2.2")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"If-None-Match": '"1-2"'}, True),
        ({"If-None-Match": 'W/"1-2"'}, True),
        ({"If-None-Match": '"x", "1-2"'}, True),
        ({"If-None-Match": "*"}, True),
        ({"If-None-Match": '"1-3"'}, False),
        ({"If-None-Match": "1-2"}, False),
        ({"If-Modified-Since": DATE}, True),
        ({"If-Modified-Since": EARLIER}, False),
        ({"If-Modified-Since": "yesterday"}, False),
        ({"If-Modified-Since": DATE, "If-None-Match": '"1-3"'}, False),
    ],
)
def test_not_modified_follows_the_validators(fields: dict[str, str], expected: bool) -> None:
    assert VALIDATORS.not_modified(Headers(fields.items())) is expected


@pytest.mark.rule("RFC 9110 13.1.1", "RFC 9110 13.1.4", "RFC 9110 13.2.2")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"If-Match": '"1-2"'}, False),
        ({"If-Match": '"x", "1-2"'}, False),
        ({"If-Match": "*"}, False),
        ({"If-Match": 'W/"1-2"'}, True),
        ({"If-Match": '"1-3"'}, True),
        ({"If-Match": ""}, True),
        ({"If-Unmodified-Since": DATE}, False),
        ({"If-Unmodified-Since": EARLIER}, True),
        ({"If-Unmodified-Since": "yesterday"}, False),
        ({"If-Unmodified-Since": EARLIER, "If-Match": '"1-2"'}, False),
    ],
)
def test_precondition_failed_follows_the_validators(fields: dict[str, str], expected: bool) -> None:
    assert VALIDATORS.precondition_failed(Headers(fields.items())) is expected


@pytest.mark.rule("RFC 9110 13.1.5")
@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        (None, True),
        ('"1-2"', True),
        ('W/"1-2"', False),
        ('"1-3"', False),
        (DATE, True),
        (EARLIER, False),
        ("never", False),
    ],
)
def test_if_range_allows_a_range_of_the_same_file_alone(
    if_range: str | None, expected: bool
) -> None:
    assert VALIDATORS.allow_range(if_range) is expected
