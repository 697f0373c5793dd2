"""What the methods give, to the letter: as typeshed has it for `ssl.SSLSocket`, or closer."""

import socket
import ssl
from concurrent.futures import Future
from typing import assert_type

import ktls


def receiving(sock: ktls.TLSSocket, buffer: bytearray) -> None:
    assert_type(sock.recv(), bytes)
    assert_type(sock.recv_into(buffer), int)
    assert_type(sock.pending(), int)


def options(sock: ktls.TLSSocket, plain: ktls.Socket, keys: ktls.TLSEnable) -> None:
    for each in (sock, plain):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bytes(4))
        each.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, None, 4)
        each.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, keys)
    assert_type(sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), int)
    assert_type(sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 4), bytes)
    assert_type(plain.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), int)
    assert_type(plain.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 4), bytes)


def agreed(sock: ktls.TLSSocket) -> None:
    assert_type(sock.getpeercert(True), bytes | None)
    assert_type(sock.cipher(), tuple[str, str, int] | None)
    assert_type(sock.version(), str | None)
    assert_type(sock.selected_alpn_protocol(), str | None)
    assert_type(sock.session, ssl.SSLSession | None)
    assert_type(sock.context, ssl.SSLContext)
    assert_type(sock.get_verified_chain(), list[bytes])
    assert_type(sock.mode, ktls.Mode)
    assert_type(sock.backend, str | None)


def sending(sock: ktls.TLSSocket, data: memoryview) -> None:
    assert_type(sock.send(data), int)
    assert_type(sock.sendmsg([data, b"more"]), int)
    assert_type(sock.aio_write(b"data"), Future[int])
    sock.sendall(data)


def ends(sock: ktls.TLSSocket, context: ktls.SSLContext) -> None:
    assert_type(sock.unwrap(), socket.socket)
    assert_type(sock.family, socket.AddressFamily)
    assert_type(sock.type, socket.SocketKind)
    assert_type(sock.gettimeout(), float | None)
    assert_type(context.wrap_socket(socket.socket()), ktls.TLSSocket)
    assert_type(ktls.create_default_context(cadata=b""), ktls.SSLContext)
