"""Hand-overs beside stock handshakes, over one key log in memory: no line that is wanted is lost.

And those that come to nothing, or leave the connection with OpenSSL, leave no line either.
"""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

import ktls
from handover.half_way import HalfWay
from handover.memory_pair import MemoryPair, assert_nothing_is_left
from handover.openssl import Process
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from ktls import Mode, wrap_socket
from ktls.handover import keylog
from tls_records import CLIENT_HELLO

pytestmark = pytest.mark.usefixtures("empty_key_log")


@pytest.mark.parametrize("kind", ["STOCK", "NONE", "SW"])
def test_key_updates_of_openssl_leave_no_line(make_context, kind: str) -> None:
    """OpenSSL has the secrets that follow one logged, too: the peer's in a read, its own after it.

    Also where a connection was to be taken over, and OpenSSL has kept it.
    """
    server = make_context(True, version="1.3", prepared=True)
    if kind == "NONE":
        ktls.sysctl["kern.ipc.tls.enable"] = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Process("s_client", "-connect", "{}:{}".format(*listener.getsockname()))
        try:
            sock, _ = listener.accept()
            sock.settimeout(TIMEOUT)
            wrap = server.wrap_socket if kind == "STOCK" else partial(wrap_socket, context=server)
            with wrap(sock, server_side=True) as own:
                if kind != "STOCK":
                    assert own.mode.name == kind
                for _ in range(3):
                    client.say("K\n")
                    client.say("word\n")
                    assert receive(own, 5) == b"word\n"
                    assert_nothing_is_left()
                    own.sendall(b"answer")
                    assert_nothing_is_left()
        finally:
            client.stop()


def test_a_hand_over_that_is_closed_half_way(make_context, version: str) -> None:
    """Its lines wait for its end; then they are gone, too."""
    server = make_context(True, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server):
        assert len(keylog.process_log().reader) == 1
    assert len(keylog.process_log().reader) == 0
    assert_nothing_is_left()


def test_a_hand_over_that_is_closed_inside_openssl(make_context) -> None:
    """By a callback: it is followed no further, and then OpenSSL logs its secrets."""
    server = make_context(True, version="1.3", prepared=True)
    near, far = tcp_pair()
    closed = []

    def on_message(_tls, direction, _version, content_type, message_type, _data) -> None:
        if (direction, content_type, message_type) == ("read", 22, CLIENT_HELLO):
            own.close()
            closed.append(len(keylog.process_log().reader))

    server._msg_callback = on_message
    own = wrap_socket(far, server, server_side=True, do_handshake_on_connect=False)
    with near:
        near.sendall(client_hello(make_context(False, version="1.3")))
        with pytest.raises(OSError, match=r"closed|descriptor"):
            own.do_handshake()
    assert closed == [0]
    assert_nothing_is_left()


def test_a_hand_over_stays_half_way_meanwhile(make_context, version: str) -> None:
    """The file is cut all the same, and the lines of the one that waits are not lost."""
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server) as waiting:
        for _ in range(100):
            MemoryPair(client, server).shake_hands()
        assert_nothing_is_left()
        waiting.finish()
        assert_ours(waiting.own)
        assert waiting.own.rx_mode is Mode.SW
        assert_nothing_is_left()


def test_threads_with_and_without_hand_over_miss_no_line(make_context, version: str) -> None:
    """Four take over and four do not, over the same contexts: no hand-over misses its lines."""
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    theirs = make_context(False, version=version), make_context(True, version=version)

    def take_over(turn: int) -> None:
        for _ in range(15):
            with (
                pair(server, theirs[0], server_side=True)
                if turn % 2
                else pair(client, theirs[1], server_side=False) as (own, other)
            ):
                assert_ours(own)
                assert own.rx_mode is Mode.SW
                exchange(own, other, (100,))

    def leave(turn: int) -> None:
        for _ in range(60):
            ends = MemoryPair(client, server)
            if turn % 2:
                ends.shake_hands()
                ends.exchange()
            else:
                for end in (ends.client, ends.server):
                    with pytest.raises(ssl.SSLWantReadError):
                        end.do_handshake()

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, turn) for turn in range(4) for work in (take_over, leave)]
        for future in running:
            future.result()
    assert_nothing_is_left()
    assert len(keylog.process_log().reader) == 0


@pytest.mark.parametrize("replays", [5, 100])
def test_replayed_client_hellos_cost_no_line(make_context, version: str, replays: int) -> None:
    """Stock handshakes under the random of a hand-over under way.

    A few, and it still finds its own lines among theirs; what is kept for one random is bounded
    whatever comes, and then OpenSSL may have to keep the connection, which works.
    """
    server = make_context(True, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server) as waiting:
        for _ in range(replays):
            incoming = ssl.MemoryBIO()
            incoming.write(waiting.hello)
            with pytest.raises(ssl.SSLWantReadError):
                server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
            assert_nothing_is_left()
        waiting.finish()
        assert waiting.own.mode is (Mode.SW if replays < 10 or version == "1.2" else Mode.NONE)
        waiting.own.sendall(b"data")
        while not (data := waiting.read()):
            waiting.receive()
        assert data == b"data"
    assert_nothing_is_left()


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()
