"""What goes wrong is said by each HTTP client in its own words, as over `ssl`."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3

import ktls

from .conftest import Seen
from .test_http import Adapter


class Server:
    """A stock server in threads that makes handshakes and says nothing else."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_over = False
        self._context = context
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.port = self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._is_over:
                sock.close()
                return
            thread = threading.Thread(target=self._one, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _one(self, sock: socket.socket) -> None:
        # A client that refuses the certificate, or that has waited long enough, is no failure.
        with sock, suppress(OSError):
            sock.settimeout(20)
            with self._context.wrap_socket(sock, server_side=True) as tls:
                stays_silent(tls)

    def end(self) -> None:
        self._is_over = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@contextmanager
def serving(certificates: Path, certificate: str = "server") -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{certificate}.pem")
    server = Server(context)
    try:
        yield server.port
    finally:
        server.end()


def stays_silent(tls: ssl.SSLSocket) -> None:
    """Until the client leaves."""
    while tls.recv(65536):
        pass


Get = Callable[[float], bytes]


@contextmanager
def http_client(context: ssl.SSLContext, port: int) -> Iterator[Get]:
    def get(timeout_s: float) -> bytes:
        connection = http.client.HTTPSConnection(
            "localhost", port, timeout=timeout_s, context=context
        )
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    yield get


@contextmanager
def of_urllib3(context: ssl.SSLContext, port: int) -> Iterator[Get]:
    with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
        url = f"https://localhost:{port}/"
        yield lambda timeout_s: pool.request("GET", url, timeout=timeout_s).data


@contextmanager
def of_requests(context: ssl.SSLContext, port: int) -> Iterator[Get]:
    with requests.Session() as session:
        session.mount("https://", Adapter(context))
        yield lambda timeout_s: session.get(f"https://localhost:{port}/", timeout=timeout_s).content


@contextmanager
def of_httpx(context: ssl.SSLContext, port: int) -> Iterator[Get]:
    with httpx.Client(verify=context) as client:
        yield lambda timeout_s: client.get(f"https://localhost:{port}/", timeout=timeout_s).content


CLIENTS: dict[str, tuple[Any, type[Exception], type[Exception]]] = {
    "http.client": (http_client, ssl.SSLCertVerificationError, TimeoutError),
    "urllib3": (of_urllib3, urllib3.exceptions.SSLError, urllib3.exceptions.ReadTimeoutError),
    "requests": (of_requests, requests.exceptions.SSLError, requests.exceptions.ReadTimeout),
    "httpx": (of_httpx, httpx.ConnectError, httpx.ReadTimeout),
}
each_client = pytest.mark.parametrize("name", CLIENTS)


@each_client
def test_wrong_certificate_is_refused_by_http_clients(
    name: str, context: ktls.SSLContext, certificates: Path
) -> None:
    opened, refused, _ = CLIENTS[name]
    with (
        serving(certificates, "unnamed") as port,
        opened(context, port) as get,
        pytest.raises(refused, match=r"CERTIFICATE_VERIFY_FAILED.*(Hostname|IP) mismatch"),
    ):
        get(20)


@each_client
def test_server_that_does_not_answer(
    name: str, context: ktls.SSLContext, certificates: Path, all_ours: list[Seen]
) -> None:
    opened, _, timed_out = CLIENTS[name]
    with (
        serving(certificates) as port,
        opened(context, port) as get,
        pytest.raises(timed_out),
    ):
        get(0.3)
    assert len(all_ours) == 1
