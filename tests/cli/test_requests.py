"""Requests byte by byte as RFC 9112 has them, and shapes by which one could be read as two.

Not what files are answered with: that is test_http.py.
"""

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.server_process import ServerProcess, client_context, connect

OK = b"GET /page.html HTTP/1.1\r\nHost: x\r\n"
END = b"Connection: close\r\n\r\n"
NEXT = b"GET /plain/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""What must not be answered behind a request that is refused, or whose body nobody reads."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture
def said(server: ServerProcess, authority: object) -> Callable[[bytes], bytes]:
    """All that the server answers to some bytes until it ends the connection, and cleanly."""
    context = client_context(authority.root)

    def exchange(request: bytes) -> bytes:
        with connect(server, context) as client:
            client.suppress_ragged_eofs = False
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    return exchange


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in _STATUS.findall(answer)]


@pytest.mark.rule("RFC 9112 2.2", "RFC 9112 2.3", "RFC 9112 3.2.2")
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n" + OK + END,
        b"\r\n\r\n\n" + OK + END,
        OK.replace(b"\r\n", b"\n") + END.replace(b"\r\n", b"\n"),
        b"GET https://127.0.0.1/page.html HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET HTTPS://[::1]:443/page.html?x HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET https://x HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET https://x?q HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET /page.html HTTP/1.9\r\nHost: x\r\n" + END,
        b"GET /page.html HTTP/1.1\r\nhOsT:x\r\n" + END,
        b"GET /page.html HTTP/1.1\r\nHost:\r\n" + END,
        b"GET /page.html HTTP/1.1\r\nHost: \t [::1]:8443 \t \r\n" + END,
        OK + b"Connection: keep-alive, ClOsE\r\n\r\n",
        OK + b"Connection: TE\r\nConnection: close\r\n\r\n",
        OK + b"X: caf\xe9 \xff\ttab\r\n" + END,
        OK + b"Content-Length: 0\r\n" + END,
        OK + b"Content-Length: 00\r\nContent-Length: 00\r\n" + END,
        OK + b"Expect: 100-continue\r\n" + END,
        OK + b"Range: bytes=1-2, 3-4\r\n" + END,
        OK + b"Range: bytes=1-2\r\nRange: bytes=3-4\r\n" + END,
        OK + b"Range: bytes=\xb2-\xb3\r\n" + END,
        b"GET /plain/%2e%2e/page.html HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET /%2E%2E%2f%2e./page.html HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET /plain%2F HTTP/1.1\r\nHost: x\r\n" + END,
        b"GET //page.html HTTP/1.1\r\nHost: x\r\n" + END,
    ],
)
def test_odd_but_valid_request_is_answered_with_200(
    said: Callable[[bytes], bytes], request_bytes: bytes
) -> None:
    assert statuses(said(request_bytes)) == [200]


@pytest.mark.rule(
    "RFC 9112 3", "RFC 9112 5.1", "RFC 9112 5.2", "RFC 9112 6.1", "RFC 9112 6.3", "RFC 9112 11.2"
)
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        # The request line.
        (b"GET /page.html\r\n\r\n", 400),
        (b"GET  /page.html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET\t/page.html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b" GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
        (b"GET /page .html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html\rHost: HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html\x0bHTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G(T /page.html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\xc7\xd5\xd4 /page.html HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/1.10\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/+1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html http/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/\xb9.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /page.html HTTP/0.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /page.html HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"get /page.html HTTP/1.1\r\nHost: x\r\n" + END, 501),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n" + END, 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + END, 405),
        # The target.
        (b"GET * HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET x:443 HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET ftp://x/page.html HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET https:///page.html HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET https://user@x/page.html HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET https:/page.html HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET /page.html#part HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET /page%2.html HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET /100% HTTP/1.1\r\nHost: x\r\n" + END, 400),
        (b"GET /page.html%2F HTTP/1.1\r\nHost: x\r\n" + END, 404),
        (b"GET /page.html%00 HTTP/1.1\r\nHost: x\r\n" + END, 404),
        (b"GET /%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n" + END, 404),
        (b"GET /%252e%252e/page.html HTTP/1.1\r\nHost: x\r\n" + END, 404),
        (b"GET /..%5c..%5cetc%5cpasswd HTTP/1.1\r\nHost: x\r\n" + END, 404),
        (b"GET /%c0%ae%c0%ae/page.html HTTP/1.1\r\nHost: x\r\n" + END, 404),
        # The fields.
        (OK + b"Content-Length : 3\r\n" + END, 400),
        (OK + b"X\t: y\r\n" + END, 400),
        (OK + b" X: folded\r\n" + END, 400),
        (OK + b"X: y\r\n folded\r\n" + END, 400),
        (OK + b"X: y\r\n\tfolded\r\n" + END, 400),
        (b"GET /page.html HTTP/1.1\r\n Host: x\r\n" + END, 400),
        (OK + b"no colon\r\n" + END, 400),
        (OK + b": no name\r\n" + END, 400),
        (OK + b"X(y): z\r\n" + END, 400),
        (OK + b"X: y\x00z\r\n" + END, 400),
        (OK + b"X: y\rContent-Length: 5\r\n" + END, 400),
        (OK + b"X: y\r\r\n" + END, 400),
        (OK + b"X: y\x7f\r\n" + END, 400),
        (b"GET /page.html HTTP/1.1\r\nHost: x y\r\n" + END, 400),
        (b"GET /page.html HTTP/1.1\r\nHost: x/y\r\n" + END, 400),
        (b"GET /page.html HTTP/1.1\r\nHost: u@x\r\n" + END, 400),
        (b"GET /page.html HTTP/1.1\r\nHost: x:y\r\n" + END, 400),
        (b"GET /page.html HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (OK + b"".join(b"X%d: y\r\n" % i for i in range(100)) + END, 431),
        (OK + b"X: " + b"y" * 66_000 + b"\r\n" + END, 431),
        (b"\r\n" * 70_000 + OK + END, 431),
        (b"G" * 66_000, 414),
        # Where the body ends.
        (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (OK + b"Content-Length: 3, 4\r\n\r\nabc", 400),
        (OK + b"Content-Length: 3,\r\n\r\nabc", 400),
        (OK + b"Content-Length:\r\n\r\n", 400),
        (OK + b"Content-Length: +3\r\n\r\nabc", 400),
        (OK + b"Content-Length: -3\r\n\r\nabc", 400),
        (OK + b"Content-Length: 3_0\r\n\r\nabc", 400),
        (OK + b"Content-Length: 0x3\r\n\r\nabc", 400),
        (OK + b"Content-Length: \xb3\r\n\r\nabc", 400),
        (OK + b"Content-Length: 3 3\r\n\r\nabc", 400),
        (OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (OK + b"Transfer-Encoding:\r\n\r\n", 400),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET /page.html HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
def test_bad_request_is_refused_once_and_nothing_behind_it_answered(
    said: Callable[[bytes], bytes], request_bytes: bytes, status: int
) -> None:
    answer = said(request_bytes + NEXT)
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.rule("RFC 9112 9.3", "RFC 9112 11.2")
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT,
        b"Content-Length: %d, %d\r\n\r\n" % (len(NEXT), len(NEXT)) + NEXT,
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + NEXT,
        b"Transfer-Encoding: ChunkeD\r\n\r\n%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT,
    ],
)
def test_body_that_nobody_reads_is_no_request(
    said: Callable[[bytes], bytes], method: bytes, framed: bytes
) -> None:
    answer = said(method + b" /page.html HTTP/1.1\r\nHost: x\r\n" + framed)
    assert statuses(answer) == [405 if method == b"POST" else 200]
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.rule("RFC 9110 10.1.1")
def test_final_answer_comes_in_the_place_of_a_100(
    server: ServerProcess, authority: object, tmp_path: Path
) -> None:
    """To a client that waits with its body, RFC 9110 §10.1.1: curl, and one that says nothing."""
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(5_000_000))
    command = ["curl", "--silent", "--show-error", "--verbose", "--cacert", authority.root]
    command += ["--header", "Expect: 100-continue", "--expect100-timeout", "40"]
    told = subprocess.run(
        [*command, "--upload-file", upload, server.url + "page.html"],
        check=True,
        capture_output=True,
        timeout=50,
    )
    assert told.stdout == b"405 Method Not Allowed\n"
    assert b"100 Continue" not in told.stderr


@pytest.mark.rule("RFC 9110 9.3.2")
def test_head_of_everything_has_no_body(said: Callable[[bytes], bytes]) -> None:
    for target in (b"/page.html", b"/plain/", b"/missing", b"/plain", b"/with-index/", b"%"):
        answer = said(b"HEAD " + target + b" HTTP/1.1\r\nHost: x\r\n" + END)
        assert len(statuses(answer)) == 1
        assert answer.endswith(b"\r\n\r\n")
        assert answer.count(b"\r\n\r\n") == 1
    refused = said(b"HEAD /page.html HTTP/1.1\r\n" + END)
    assert (statuses(refused), refused.count(b"\r\n\r\n")) == ([400], 1)
    assert refused.endswith(b"\r\n\r\n")


@pytest.mark.rule("RFC 9112 2.2", "RFC 9112 9.3.2")
def test_pipelined_behind_a_range_and_an_empty_line(said: Callable[[bytes], bytes]) -> None:
    ranged = b"GET /data.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=5-5\r\n\r\n"
    answer = said(ranged + b"\r\n" + ranged.replace(b"GET", b"HEAD") + NEXT)
    assert statuses(answer) == [206, 200, 200]


@pytest.mark.rule("RFC 9112 8")
@pytest.mark.parametrize(
    "part",
    [
        b"GET /page.html?1 HTTP/1.1",
        b"GET /page.html?2 HTTP/1.1\r\nHost: x\r\n",
        b"GET /page.html?3 HTTP/1.1\r\nHost: x\r\nConnection: clo",
        b"GET /page.html?4 HTTP/1.0\r\n",
    ],
)
def test_request_that_breaks_off_is_none(
    server: ServerProcess, authority: object, part: bytes
) -> None:
    """RFC 9112 §8: what a header that is not whole asks for is not done."""
    with connect(server, client_context(authority.root)) as client:
        client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    target = part.split(b" ")[1].decode()
    line = server.response(target if b"\n" in part else "-")
    assert line.status == 400


@pytest.fixture
def bytes_name(site: Path) -> Iterator[bytes]:
    name = b"caf\xe9 \xff.txt"
    path = bytes(site) + b"/plain/" + name
    with open(path, "wb") as file:
        file.write(b"not UTF-8")
    yield name
    Path(path.decode("utf-8", "surrogateescape")).unlink()


@pytest.mark.parametrize("target", [b"/plain/caf%E9%20%ff.txt", b"/plain/caf\xe9%20\xff.txt"])
def test_name_that_is_not_utf_8(
    said: Callable[[bytes], bytes], bytes_name: bytes, target: bytes
) -> None:
    answer = said(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + END)
    assert statuses(answer) == [200]
    assert answer.endswith(b"not UTF-8")


def test_listing_leads_to_every_name(said: Callable[[bytes], bytes], bytes_name: bytes) -> None:
    for directory, prefix in ((b"/plain/", b"/plain/"), (b"/plain%2f", b"")):
        listing = said(b"GET " + directory + b" HTTP/1.1\r\nHost: x\r\n" + END)
        links = re.findall(rb'href="([^"]+)"', listing)
        assert len(links) == 2
        for link in links:
            answer = said(b"GET " + prefix + link + b" HTTP/1.1\r\nHost: x\r\n" + END)
            assert statuses(answer) == [200]


@pytest.mark.rule("RFC 9110 10.2.2")
@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/plain", b"/plain/"),
        (b"//plain", b"/plain/"),
        (b"/\\x/../plain?a=b%20c&d", b"/plain/?a=b%20c&d"),
        (b"/%5cx%2f..%2fplain", b"/plain/"),
        (b"//x/../plain?\xe9", b"/plain/?%E9"),
        (b"https://x/plain?y", b"/plain/?y"),
        (b"/plain/../%70lain", b"/plain/"),
    ],
)
def test_redirection_stays_here(
    said: Callable[[bytes], bytes], target: bytes, location: bytes
) -> None:
    """A Location that begins with two slashes, or one and a backslash, names another host."""
    answer = said(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + END)
    assert statuses(answer) == [301]
    assert re.findall(rb"\r\nLocation: ([^\r]*)\r\n", answer) == [location]
