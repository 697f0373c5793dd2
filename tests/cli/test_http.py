"""What the server answers to curl, and to requests that curl would not make."""

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import curl
from cli.server_process import ServerProcess, ask, client_context, connect, eventually

Fetch = Callable[..., object]


def test_get_sends_the_file(fetch: Fetch, site: Path) -> None:
    reply = fetch("/data.bin")
    data = (site / "data.bin").read_bytes()
    assert reply.status == 200
    assert reply.body == data
    assert reply.headers["content-length"] == str(len(data))
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["etag"].startswith('"')


@pytest.mark.rule("RFC 9110 9.3.2")
def test_head_sends_the_header_of_get(fetch: Fetch) -> None:
    get, head = fetch("/data.bin"), fetch("/data.bin", "--head")
    assert head.status == 200
    assert head.body == b""
    assert {k: v for k, v in head.headers.items() if k != "date"} == {
        k: v for k, v in get.headers.items() if k != "date"
    }


@pytest.mark.rule("RFC 9110 14.2")
def test_head_ignores_a_range(fetch: Fetch) -> None:
    assert fetch("/data.bin", "--head", "--range", "0-1").status == 200


@pytest.mark.parametrize("target", ["/empty.txt", "/empty.txt?query=1", "/plain/../empty.txt"])
def test_empty_file_has_length_0(fetch: Fetch, target: str) -> None:
    reply = fetch(target)
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")


def test_type_follows_the_name(fetch: Fetch) -> None:
    assert fetch("/page.html").headers["content-type"] == "text/html"


@pytest.mark.parametrize("target", ["/a%20b+%C3%BC%25.txt", "/%61%20b+%C3%BC%25.txt"])
def test_escaped_name_is_found(fetch: Fetch, target: str) -> None:
    assert fetch(target).body == b"odd name"


@pytest.mark.rule("RFC 9110 14.4", "RFC 9110 15.3.7")
@pytest.mark.parametrize(
    ("asked", "part", "told"),
    [
        ("0-99", slice(0, 100), "bytes 0-99/100000"),
        ("99990-", slice(99_990, None), "bytes 99990-99999/100000"),
        ("-10", slice(99_990, None), "bytes 99990-99999/100000"),
        ("99999-999999", slice(99_999, None), "bytes 99999-99999/100000"),
    ],
)
def test_range_is_answered_with_206(
    fetch: Fetch, site: Path, asked: str, part: slice, told: str
) -> None:
    reply = fetch("/data.bin", "--range", asked)
    assert reply.status == 206
    assert reply.body == (site / "data.bin").read_bytes()[part]
    assert reply.headers["content-range"] == told


def test_several_ranges_are_answered_with_the_whole(fetch: Fetch) -> None:
    reply = fetch("/data.bin", "--range", "0-1,5-6")
    assert (reply.status, len(reply.body)) == (200, 100_000)


@pytest.mark.rule("RFC 9110 15.5.17")
def test_range_outside_is_416(fetch: Fetch) -> None:
    reply = fetch("/data.bin", "--range", "100000-")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */100000")


def test_curl_resumes_a_download(
    server: ServerProcess, authority: object, site: Path, tmp_path: Path
) -> None:
    data = (site / "data.bin").read_bytes()
    target = tmp_path / "resumed"
    target.write_bytes(data[:30_000])
    resume = ["curl", "--silent", "--continue-at", "-", "--output", target]
    subprocess.run(
        [*resume, "--cacert", authority.root, server.url + "data.bin"], check=True, timeout=50
    )
    assert target.read_bytes() == data


@pytest.mark.rule("RFC 9110 15.4.5")
def test_validators_give_304(fetch: Fetch) -> None:
    first = fetch("/data.bin")
    for condition in (
        f"If-None-Match: {first.headers['etag']}",
        f"If-Modified-Since: {first.headers['last-modified']}",
    ):
        again = fetch("/data.bin", "--header", condition)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.rule("RFC 9110 15.5.13")
def test_conditions_that_fail_give_412(fetch: Fetch) -> None:
    """What a download asks for that must go on with the same file."""
    first = fetch("/data.bin", "--head")
    same = fetch("/data.bin", "--range", "5-9", "--header", f"If-Match: {first.headers['etag']}")
    assert (same.status, len(same.body)) == (206, 5)
    for condition in (
        'If-Match: "other"',
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    ):
        reply = fetch("/data.bin", "--range", "5-9", "--header", condition)
        assert (reply.status, reply.body) == (412, b"412 Precondition Failed\n")


def test_if_range_of_another_file_is_answered_with_the_whole(fetch: Fetch) -> None:
    etag = fetch("/data.bin", "--head").headers["etag"]
    same = fetch("/data.bin", "--range", "0-9", "--header", f"If-Range: {etag}")
    other = fetch("/data.bin", "--range", "0-9", "--header", 'If-Range: "other"')
    assert (same.status, len(same.body)) == (206, 10)
    assert (other.status, len(other.body)) == (200, 100_000)


def test_changed_file_has_another_etag(fetch: Fetch, site: Path) -> None:
    path = site / "changing.txt"
    path.write_text("one")
    etag = fetch("/changing.txt").headers["etag"]
    path.write_text("two")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    reply = fetch("/changing.txt", "--header", f"If-None-Match: {etag}")
    assert (reply.status, reply.body) == (200, b"two")


def test_listing_of_a_directory_is_escaped_html(fetch: Fetch) -> None:
    reply = fetch("/plain/")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert b"&lt;script&gt;.txt" in reply.body
    assert b"<script>" not in reply.body
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_index_takes_the_place_of_a_listing(fetch: Fetch) -> None:
    assert fetch("/with-index/").body == b"the index"


def test_directory_without_slash_is_moved(fetch: Fetch) -> None:
    reply = fetch("/plain?x=1")
    assert (reply.status, reply.headers["location"]) == (301, "/plain/?x=1")


@pytest.mark.parametrize(
    "target",
    [
        "/missing",
        "/data.bin/",
        "/data.bin/more",
        "/../../../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/plain/..%2f..%2f..%2f..%2fetc/passwd",
        "/link-outside",
        "/directory-outside/",
        "/directory-outside/secret.txt",
        "/link-loop",
        "/zero%00byte",
        "/" + "n" * 5000,
    ],
)
def test_what_is_not_below_the_directory_is_404(fetch: Fetch, target: str) -> None:
    reply = fetch(target)
    assert reply.status == 404
    assert reply.body == b"404 Not Found\n"


def test_link_that_stays_inside_is_followed(fetch: Fetch, site: Path) -> None:
    assert fetch("/link-inside").body == (site / "data.bin").read_bytes()


def test_pipe_is_not_waited_for(fetch: Fetch, site: Path) -> None:
    os.mkfifo(site / "pipe")
    assert fetch("/pipe").status == 404


@pytest.mark.rule("RFC 9110 10.2.1", "RFC 9110 15.5.6")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(fetch: Fetch, method: str) -> None:
    reply = fetch("/data.bin", "--request", method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_refused_upload_still_reads_the_answer(fetch: Fetch, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(300_000))
    reply = fetch("/data.bin", "--data-binary", f"@{upload}")
    assert (reply.status, reply.headers["connection"]) == (405, "close")


def test_a_file_that_cannot_be_opened_now_is_not_called_missing(
    server: ServerProcess, authority: object
) -> None:
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    url = server.url + "page.html"
    with connect(server, client_context(authority.root)) as client:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            ask(client, "/page.html", "Connection: close")
            answer = client.makefile("rb").read()
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert answer.startswith(b"HTTP/1.1 503 "), server.noted
    assert curl(authority, url).status == 200


def test_keep_alive_serves_many_on_one_connection(
    server: ServerProcess, site: Path, authority: object
) -> None:
    context = client_context(authority.root)
    data = (site / "data.bin").read_bytes()
    with connect(server, context) as client, client.makefile("rb") as reader:
        for first in range(0, 100_000, 10_000):
            ask(client, "/data.bin", f"Range: bytes={first}-{first + 9_999}")
            assert reader.readline().split()[1] == b"206"
            while reader.readline() != b"\r\n":
                pass
            assert reader.read(10_000) == data[first : first + 10_000]
        ask(client, "/page.html", "Connection: close")
        assert reader.readline().split()[1] == b"200"
        assert reader.read().endswith(b"<p>page</p>")


@pytest.mark.rule("RFC 9112 9.3.2")
def test_pipelined_requests_are_answered_in_order(server: ServerProcess, authority: object) -> None:
    with connect(server, client_context(authority.root)) as client:
        request = b"GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(request * 5 + last)
        with client.makefile("rb") as reader:
            answer = reader.read()
    assert answer.count(b"<p>page</p>") == 5
    assert answer.endswith(b"404 Not Found\n")


@pytest.mark.rule("RFC 9112 3", "RFC 9112 3.2")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /page.html HTTP/7.0\r\n\r\n", b"505"),
        (b"BREW /page.html HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"GET page.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET http://x/page.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /page.html HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /page.html HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
        (b"GET /page.html HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 30_000 + b"\r\n") * 5 + b"\r\n", b"431"),
    ],
)
def test_unusual_request_has_its_status(
    server: ServerProcess, authority: object, request_bytes: bytes, status: bytes
) -> None:
    with connect(server, client_context(authority.root)) as client:
        client.sendall(request_bytes)
        with client.makefile("rb") as reader:
            assert reader.readline().split()[1] == status


@pytest.mark.rule("RFC 9112 9.3")
@pytest.mark.parametrize(
    ("header", "kept"), [("", "close"), ("Connection: keep-alive\r\n", "keep-alive")]
)
def test_http_1_0_is_closed_unless_asked_to_keep_alive(
    server: ServerProcess, authority: object, header: str, kept: str
) -> None:
    with connect(server, client_context(authority.root)) as client:
        client.sendall(f"GET /page.html HTTP/1.0\r\n{header}\r\n".encode())
        with client.makefile("rb") as reader:
            assert f"Connection: {kept}\r\n".encode() in iter(reader.readline, b"\r\n")


def test_every_response_is_printed(server: ServerProcess, fetch: Fetch) -> None:
    fetch("/data.bin?printed")
    line = server.response("/data.bin?printed")
    assert (line.method, line.status, line.body_len) == ("GET", 200, 100_000)
    assert line.mode == "SW"
    assert line.suite == "TLS_AES_256_GCM_SHA384"
    assert line.backend
    assert line.rate.endswith("B/s")
    assert not line.trouble


def test_printed_target_cannot_drive_a_terminal(server: ServerProcess, authority: object) -> None:
    with connect(server, client_context(authority.root)) as client:
        client.sendall(b"GET /\x1b]0;title\x07\xff HTTP/1.0\r\n\r\n")
        while client.recv(1000):
            pass
    eventually(lambda: any("%1B]0;title%07" in line.target for line in server.responses()))
