"""TCP_TXTLS_ENABLE and TCP_TXTLS_MODE: results, errors and their order, counters."""

import errno
import socket
import threading
from collections.abc import Callable

import pytest

import ktls
from keyed_link import Link, parameters
from record_reader import (
    ALL_SUITES,
    CBC_SUITES,
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    read_data,
    read_records,
)

TCP = ktls.IPPROTO_TCP
ENABLE = ktls.TCP_TXTLS_ENABLE
MODE = ktls.TCP_TXTLS_MODE
STATS = "kern.ipc.tls.stats."

Plain = tuple[ktls.Socket, socket.socket]


def number(name: str) -> int:
    return ktls.sysctl.number(name)


def refused(sock: ktls.Socket, en: object, code: int, words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        sock.setsockopt(TCP, ENABLE, en)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


@pytest.mark.rule("freebsd.md row 13")
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_every_suite_is_taken(plain: Plain, suite: Suite) -> None:
    sock, far = plain
    secrets = Secrets(suite)
    assert sock.mode is ktls.Mode.NONE
    sock.setsockopt(TCP, ENABLE, parameters(secrets))
    assert sock.mode is ktls.Mode.SW
    assert sock.getsockopt(TCP, MODE) is ktls.Mode.SW
    sock.sendall(b"hello")
    sock.close()
    assert read_data(far, RecordReader(secrets)) == b"hello"


@pytest.mark.parametrize("backend", ["ring", "aws-lc"])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_every_backend_seals_the_same(plain: Plain, suite: Suite, backend: str) -> None:
    ktls.sysctl["kern.ipc.tls.backend"] = backend
    sock, far = plain
    secrets = Secrets(suite)
    sock.setsockopt(TCP, ENABLE, parameters(secrets))
    assert f"sealed by {backend}" in repr(sock)
    sock.sendall(b"x" * 40000)
    sock.close()
    assert read_data(far, RecordReader(secrets)) == b"x" * 40000


@pytest.mark.rule("freebsd.md row 4")
def test_enable_is_refused_while_switched_off(plain: Plain) -> None:
    ktls.enable(False)
    sock, far = plain
    calls = number(STATS + "enable_calls")
    refused(sock, parameters(Secrets(SUITES[0])), errno.EOPNOTSUPP, r"ktls\.enable\(\)")
    assert number(STATS + "enable_calls") == calls
    assert sock.getsockopt(TCP, MODE) == 0
    sock.sendall(b"as it is")
    assert far.recv(100) == b"as it is"


@pytest.mark.rule("freebsd.md row 9")
def test_enable_needs_unmapped_buffers(plain: Plain) -> None:
    ktls.sysctl["kern.ipc.mb_use_ext_pgs"] = False
    refused(plain[0], parameters(Secrets(SUITES[0])), errno.ENXIO, "mb_use_ext_pgs is off")


@pytest.mark.rule("freebsd.md row 7")
def test_enabling_twice_is_refused(link: Link) -> None:
    refused(link.sock, parameters(Secrets(SUITES[0])), errno.EALREADY, "has a session already")
    link.sock.sendall(b"the first one stays")
    link.sock.close()
    assert read_data(link.peer, link.reader) == b"the first one stays"


@pytest.mark.rule(
    "freebsd.md row 3",
    "freebsd.md row 4",
    "freebsd.md row 7",
    "freebsd.md row 9",
    "freebsd.md row 10",
    "freebsd.md row 12",
    "freebsd.md row 13",
    "freebsd.md row 16",
    "freebsd.md row 17",
)
def test_order_of_the_checks_of_enable(plain: Plain, link: Link) -> None:
    """Each argument has the mistake of its row and those of all later rows."""
    secrets = Secrets(SUITES[0])
    too_long = parameters(secrets, cipher_key=bytes(2000), tls_vmajor=2)
    bad_version = parameters(secrets, tls_vmajor=2, flags=1, cipher_algorithm=0)
    bad_flags = parameters(secrets, flags=1, cipher_algorithm=0)
    bad_suite = parameters(secrets, cipher_algorithm=0)
    bad_key_len = parameters(secrets, cipher_key=bytes(24))
    sock = plain[0]
    ktls.enable(False)
    refused(link.sock, too_long, errno.EINVAL, "cipher_key has 2000 bytes")
    refused(link.sock, bad_version, errno.EOPNOTSUPP, "enable is off")
    ktls.sysctl["kern.ipc.tls.enable"] = True
    refused(link.sock, bad_version, errno.EALREADY, "session already")
    refused(sock, bad_version, errno.ENXIO, "mb_use_ext_pgs")
    ktls.enable()
    refused(sock, bad_version, errno.EINVAL, "tls_vmajor is 2")
    refused(sock, bad_flags, errno.EINVAL, "flags is 0x1")
    refused(sock, bad_suite, errno.EINVAL, "cipher_algorithm is 0")
    refused(sock, bad_key_len, errno.EINVAL, "cipher_key has 24 bytes")
    assert sock.mode is ktls.Mode.NONE
    with socket.create_server(("127.0.0.1", 0)) as server, ktls.Socket(server) as listening:
        refused(listening, bad_key_len, errno.EINVAL, "cipher_key has 24 bytes")
        refused(listening, parameters(secrets), errno.ENOTCONN, "listening")


@pytest.mark.rule("freebsd.md row 8")
def test_enable_of_cbc_while_it_is_switched_off(plain: Plain) -> None:
    """The place of this check is after version and flags, before the rest of the suite."""
    ktls.sysctl["kern.ipc.tls.cbc_enable"] = False
    secrets = Secrets(CBC_SUITES[0])
    bad_suite = {"auth_algorithm": 1, "auth_key": b""}
    refused(plain[0], parameters(secrets, flags=1, **bad_suite), errno.EINVAL, "flags")
    refused(plain[0], parameters(secrets, **bad_suite), errno.EOPNOTSUPP, "cbc_enable")
    ktls.sysctl["kern.ipc.tls.cbc_enable"] = True
    refused(plain[0], parameters(secrets, **bad_suite), errno.EINVAL, "auth_algorithm is 1")


@pytest.mark.rule("freebsd.md row 13")
@pytest.mark.parametrize("suite", CBC_SUITES, ids=str)
def test_enable_checks_the_length_of_a_mac_key(plain: Plain, suite: Suite) -> None:
    secrets = Secrets(suite)
    for wrong in (secrets.mac_key[:-1], secrets.mac_key + b"x"):
        words = f"auth_key has {len(wrong)} bytes; .* takes {len(secrets.mac_key)}"
        refused(plain[0], parameters(secrets, auth_key=wrong), errno.EINVAL, words)


@pytest.mark.rule("freebsd.md row 1")
@pytest.mark.parametrize("value", [None, b"", 1, (1, 2)])
def test_enable_with_something_else(plain: Plain, value: object) -> None:
    with pytest.raises(TypeError, match=r"takes a ktls\.TLSEnable, not "):
        plain[0].setsockopt(TCP, ENABLE, value)


@pytest.mark.rule("freebsd.md row 5", "freebsd.md row 20")
def test_enable_counts_calls_and_sessions(plain: Plain) -> None:
    sock, far = plain
    names = ("enable_calls", "offload_total", "active")
    before = [number(STATS + name) for name in names]
    gcm = number("kern.ipc.tls.sw.gcm")
    refused(sock, parameters(Secrets(SUITES[0]), flags=1), errno.EINVAL, "flags")
    assert [number(STATS + name) for name in names] == [before[0] + 1, before[1], before[2]]
    sock.setsockopt(TCP, ENABLE, parameters(Secrets(SUITES[0])))
    assert [number(STATS + name) for name in names] == [before[0] + 2, before[1] + 1, before[2] + 1]
    assert number("kern.ipc.tls.sw.gcm") == gcm + 1
    assert number(STATS + "threads") >= 1
    sock.close()
    assert far.recv(1) == b""
    assert number(STATS + "active") == before[2]
    assert number("kern.ipc.tls.sw.gcm") == gcm


def test_the_gauge_of_chacha20(make_link: Callable[..., Link]) -> None:
    before = number("kern.ipc.tls.sw.chacha20")
    make_link(SUITES[2])
    make_link(SUITES[5])
    assert number("kern.ipc.tls.sw.chacha20") == before + 2


def test_the_gauge_of_cbc(make_link: Callable[..., Link]) -> None:
    before = number("kern.ipc.tls.sw.cbc")
    links = [make_link(suite) for suite in CBC_SUITES[:3]]
    assert number("kern.ipc.tls.sw.cbc") == before + 3
    links[0].sock.close()
    assert links[0].peer.recv(1) == b""
    assert number("kern.ipc.tls.sw.cbc") == before + 2


@pytest.mark.rule("freebsd.md row 18")
def test_of_several_enables_at_once_one_gets_in(plain: Plain) -> None:
    sock, far = plain
    candidates = [Secrets(SUITES[3]) for _ in range(8)]
    start = threading.Barrier(len(candidates))
    got_in: list[Secrets] = []
    errors: list[int | None] = []

    def enable(secrets: Secrets) -> None:
        start.wait()
        try:
            sock.setsockopt(TCP, ENABLE, parameters(secrets))
        except OSError as error:
            errors.append(error.errno)
        else:
            got_in.append(secrets)

    threads = [threading.Thread(target=enable, args=(secrets,)) for secrets in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got_in) == 1
    assert errors == [errno.EALREADY] * 7
    sock.sendall(b"one key")
    sock.close()
    assert read_data(far, RecordReader(got_in[0])) == b"one key"


@pytest.mark.rule("ktls(4) TCP_TXTLS_MODE")
@pytest.mark.parametrize("mode", [0, 3, 99, -1])
def test_modes_that_cannot_be_set(link: Link, mode: int) -> None:
    with pytest.raises(OSError, match=f"mode {mode} cannot be set") as caught:
        link.sock.setsockopt(TCP, MODE, mode)
    assert caught.value.errno == errno.EINVAL


def test_switching_to_an_interface(link: Link) -> None:
    failed = number(STATS + "switch_failed")
    with pytest.raises(OSError, match="no interface offers TLS") as caught:
        link.sock.setsockopt(TCP, MODE, ktls.Mode.IFNET)
    assert caught.value.errno == errno.ENXIO
    assert number(STATS + "switch_failed") == failed + 1
    assert link.sock.mode is ktls.Mode.SW


def test_setting_the_same_mode(link: Link) -> None:
    link.sock.setsockopt(TCP, MODE, ktls.Mode.SW)
    assert link.sock.mode is ktls.Mode.SW


@pytest.mark.rule("ktls(4) TCP_TXTLS_MODE")
def test_setting_a_mode_without_a_session(plain: Plain) -> None:
    failed = number(STATS + "switch_failed")
    plain[0].setsockopt(TCP, MODE, ktls.Mode.IFNET)
    plain[0].setsockopt(TCP, MODE, ktls.Mode.SW)
    assert plain[0].mode is ktls.Mode.NONE
    assert number(STATS + "switch_failed") == failed


def test_a_mode_of_the_wrong_type(link: Link) -> None:
    with pytest.raises(TypeError, match=r"takes a ktls\.Mode, not str"):
        link.sock.setsockopt(TCP, MODE, "SW")


def test_a_listening_socket_has_no_mode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ktls.Socket(server) as sock:
        with pytest.raises(OSError, match="listening") as caught:
            sock.getsockopt(TCP, MODE)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="listening") as caught:
            sock.setsockopt(TCP, MODE, 99)
        assert caught.value.errno == errno.EINVAL


def test_enable_cannot_be_read(link: Link) -> None:
    with pytest.raises(OSError, match="can be set only") as caught:
        link.sock.getsockopt(TCP, ENABLE)
    assert caught.value.errno == errno.ENOPROTOOPT


def test_maxlen_is_fixed_when_the_keys_are_set(make_link: Callable[..., Link]) -> None:
    ktls.sysctl["kern.ipc.tls.maxlen"] = 1000
    link = make_link()
    ktls.sysctl["kern.ipc.tls.maxlen"] = 16384
    link.sock.sendall(bytes(2500))
    link.sock.close()
    assert [len(data) for _, data in read_records(link.peer, link.reader)] == [1000, 1000, 500]
