"""Servers of the standard library whose socket is wrapped in place."""

import http.server
import socket
import socketserver
import ssl

import ktls


def serve_http(directory: str) -> http.server.ThreadingHTTPServer:
    ctx = ktls.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ctx.load_cert_chain("server.pem")
    server = http.server.ThreadingHTTPServer(("", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = ctx.wrap_socket(server.socket, server_side=True)
    return server


class Handler(socketserver.StreamRequestHandler):
    connection: ktls.TLSSocket

    def handle(self) -> None:
        print(self.connection.mode.name, self.connection.why)
        with open("file.bin", "rb") as file:
            count: int = self.connection.sendfile(file)
        print(count, self.rfile.readline())


def serve_lines(context: ssl.SSLContext) -> socketserver.TCPServer:
    server = socketserver.ThreadingTCPServer(("", 0), Handler)
    server.socket = ktls.wrap_socket(server.socket, ktls.prepare(context), server_side=True)
    return server


def accept_one(listener: ktls.TLSSocket) -> bytes:
    sock, address = listener.accept()
    print(address)
    with sock:
        return sock.recv(100)


def takes_any_socket(sock: socket.socket) -> int:
    return sock.fileno()


def takes_stock(sock: ssl.SSLSocket, context: ssl.SSLContext) -> str | None:
    return sock.version() if context.check_hostname else None


def ours_are_stock(sock: ktls.TLSSocket, context: ktls.SSLContext) -> None:
    takes_any_socket(sock)
    takes_stock(sock, context)
