"""Any bytes are a request or a refusal, and any target stays inside: what reads them, alone."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktls.cli import location
from ktls.cli.location import Target, TargetError
from ktls.cli.request import Headers, Request, RequestError, read_request

_LINE = [b"GET", b" ", b"/a", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b"\t", b"\x00"]
_FIELDS = [b"Host: x", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b":", b",", b"5"]
PIECES = st.sampled_from([*_LINE, *_FIELDS, b"\xff", b"X"])


@pytest.mark.rule("RFC 9112 2.2")
@given(data=st.binary() | st.lists(PIECES).map(b"".join))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    lines = io.BytesIO(data)
    try:
        request = read_request(lines)
    except RequestError:
        return
    if request is None:
        assert not data.strip(b"\r\n")
    else:
        # The header is whole: what is behind it was not touched.
        assert data[: lines.tell()].replace(b"\r", b"").endswith(b"\n\n")


@given(body=st.binary())
def test_what_follows_a_header_is_left(body: bytes) -> None:
    lines = io.BytesIO(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\n\r\n" + body)
    request = read_request(lines)
    assert request is not None
    assert request.has_body
    assert lines.read() == body


@given(
    target=st.text(st.characters(max_codepoint=255))
    | st.lists(st.sampled_from(["/", "..", ".", "%2e", "%2F", "%5c", "\\", "a", "%00", "?", "%ff"]))
    .map("".join)
    .map("/{}".format)
)
def test_any_target_stays_inside(target: str) -> None:
    try:
        parsed = Target.parse(target)
    except TargetError:
        return
    assert not {"", ".", ".."} & set(parsed.segments)
    assert not any("/" in name for name in parsed.segments)
    path = os.path.join("/srv/site", *parsed.segments)
    assert os.path.normpath(path) == path
    # A reference to this server, whatever a browser makes of backslashes.
    assert parsed.directory_reference.startswith("/")
    assert parsed.directory_reference[1:2] not in ("/", "\\")
    assert parsed.directory_reference.isascii()
    try:
        location.resolve("/srv/site", parsed)
    except FileNotFoundError:
        pass
    except ValueError:
        assert "\0" in path


@pytest.mark.rule("RFC 9110 5.3")
def test_several_fields_are_one_list() -> None:
    headers = Headers([("A", "1"), ("a", "2, ,3"), ("B", "")])
    assert headers.get("a") == "1, 2, ,3"
    assert headers.members("A") == ["1", "2", "3"]
    assert headers.get_all("a") == ["1", "2, ,3"]
    assert (headers.get("b"), headers.members("b")) == ("", [])
    assert (headers.get("c"), headers.members("c"), headers.get_all("c")) == (None, [], [])


@pytest.mark.rule("RFC 9112 9.3")
@pytest.mark.parametrize(
    ("minor_version", "connection", "kept"),
    [
        (1, None, True),
        (1, "close", False),
        (1, "keep-alive, close", False),
        (1, "closed", True),
        (0, None, False),
        (0, "Keep-Alive", True),
        (0, "keep-alive, close", False),
    ],
)
def test_connection_field_and_version_decide_on_keep_alive(
    minor_version: int, connection: str | None, kept: bool
) -> None:
    headers = Headers([] if connection is None else [("Connection", connection)])
    assert Request("GET", "/", minor_version, headers, False).keeps_alive is kept
