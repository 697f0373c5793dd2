"""What a node says is obeyed by what is set up, or done, from then on."""

import errno
import select
from collections.abc import Callable
from contextlib import suppress

import pytest

import ktls
from keyed_link import Link, connected, parameters, records_of
from record_reader import CBC_SUITES, SUITES, Secrets, Suite

PREFIX = "kern.ipc.tls."
TLS13 = SUITES[3]
CBC10 = CBC_SUITES[0]
MakeLink = Callable[..., Link]


def refused(option: int, suite: Suite) -> int:
    """The errno of a session of that suite."""
    near, far = connected()
    with ktls.Socket(near) as sock, far, pytest.raises(OSError, match=r"kern\.ipc") as caught:
        sock.setsockopt(ktls.IPPROTO_TCP, option, parameters(Secrets(suite)))
    return caught.value.errno or 0


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize(
    ("name", "option", "suite", "number"),
    [
        ("kern.ipc.tls.enable", ktls.TCP_TXTLS_ENABLE, TLS13, errno.EOPNOTSUPP),
        ("kern.ipc.mb_use_ext_pgs", ktls.TCP_TXTLS_ENABLE, TLS13, errno.ENXIO),
        ("kern.ipc.tls.cbc_enable", ktls.TCP_TXTLS_ENABLE, CBC10, errno.EOPNOTSUPP),
        ("kern.ipc.tls.rx_enable", ktls.TCP_RXTLS_ENABLE, TLS13, errno.EOPNOTSUPP),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_switches(name: str, option: int, suite: Suite, number: int) -> None:
    ktls.sysctl[name] = False
    assert refused(option, suite) == number


def test_maxlen(make_link: MakeLink) -> None:
    ktls.sysctl[PREFIX + "maxlen"] = 1024
    link = make_link()
    ktls.sysctl[PREFIX + "maxlen"] = 512
    link.sock.sendall(bytes(3000))
    assert [len(payload) for _, payload in records_of(link)] == [1024, 1024, 952]


def test_tls10_fragment(make_link: MakeLink) -> None:
    lengths = {}
    for choice in ("none", "empty", "split"):
        ktls.sysctl[PREFIX + "tls10_fragment"] = choice
        link = make_link(CBC10)
        link.sock.sendall(bytes(100))
        lengths[choice] = [len(payload) for _, payload in records_of(link)]
    assert lengths == {"none": [100], "empty": [0, 100], "split": [1, 99]}


def test_records_per_key(make_link: MakeLink) -> None:
    ktls.sysctl[PREFIX + "records_per_key"] = 2
    link = make_link()
    for _ in range(2):
        link.sock.sendall(b"x")
    with pytest.raises(OSError, match="2 records") as caught:
        link.sock.sendall(b"x")
    assert caught.value.errno == errno.EKEYEXPIRED


@pytest.mark.parametrize("name", ["ring", "aws-lc"])
def test_backend(make_link: MakeLink, name: str) -> None:
    ktls.sysctl[PREFIX + "backend"] = name
    link = make_link()
    assert f"sealed by {name}" in repr(link.sock)
    link.sock.sendall(b"opened by another library")
    assert link.read(25) == b"opened by another library"


def test_sendspace_and_sendlowat(make_link: MakeLink) -> None:
    ktls.sysctl[PREFIX + "sendspace"] = 65536
    ktls.sysctl[PREFIX + "sendlowat"] = 0
    link = make_link(small=True)
    link.sock.setblocking(False)
    poll = select.poll()
    poll.register(link.sock.fileno(), select.POLLOUT)
    accepted = 0
    with suppress(BlockingIOError):
        while accepted < 10 << 20:
            accepted += link.sock.send(bytes(16384))
    assert accepted < 1 << 20
    assert not poll.poll(0), "full, and said to be writable"
    while not poll.poll(20):
        if select.select([link.peer], [], [], 0)[0]:
            link.peer.recv(65536)
    link.sock.send(b"x")


def units(link: Link, size: int) -> int:
    """Flush units that a blocking write of `size` bytes makes."""
    names = [PREFIX + "stats.units_inline", PREFIX + "stats.units_pool"]
    before = sum(map(ktls.sysctl.number, names))
    link.sock.sendall(bytes(size))
    link.read(size)
    return sum(map(ktls.sysctl.number, names)) - before


def test_flush_unit(make_link: MakeLink) -> None:
    # What the kernel takes at once: nobody has to read meanwhile.
    ktls.sysctl[PREFIX + "flush_unit"] = 16384
    assert units(make_link(), 131072) == 8
    ktls.sysctl[PREFIX + "flush_unit"] = 65536
    assert units(make_link(), 131072) == 2


def test_gather_max(make_link: MakeLink) -> None:
    link = make_link()
    assert units(link, 1000) == 0, "sealed into the batch at once"
    ktls.sysctl[PREFIX + "gather_max"] = 0
    assert units(link, 1000) == 1


def test_inline_max(make_link: MakeLink) -> None:
    """A non-blocking write that leaves more than that is a worker's."""
    link = make_link()
    link.sock.setblocking(False)
    names = (PREFIX + "stats.units_inline", PREFIX + "stats.units_pool")

    def write(limit: int) -> list[int]:
        ktls.sysctl[PREFIX + "inline_max"] = limit
        before = [ktls.sysctl.number(name) for name in names]
        assert link.sock.send(bytes(60000)) == 60000
        link.read(60000)
        return [ktls.sysctl.number(name) - then for name, then in zip(names, before, strict=True)]

    assert write(65536) == [1, 0]
    assert write(0) == [0, 1]
