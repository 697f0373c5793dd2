"""``ktls.probe``: what this machine and this process offer, layer by layer, with reasons.

It looks and tries; it turns nothing on, starts no thread and leaves nothing behind.
"""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ktls import _core, backends, policy, workers
from ktls.sysctl import PREFIX, sysctl

TCP_ULP: Final = 31
"""Linux: the upper layer protocol of a TCP socket."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the answer; ``ok`` says whether it can be used, ``reason`` why or why not."""

    name: str
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What ``ktls.probe`` found: layers by name, in the order from the switch to the wire."""

    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are: {', '.join(each.name for each in self)}")

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self)
        return "\n".join(
            f"{layer.name:{width}}  {'yes' if layer.ok else 'no ':3}  {layer.reason}"
            for layer in self
        )


def probe() -> Probe:
    """Look at every layer; ``print(ktls.probe())`` shows them all."""
    return Probe(
        (
            _switch(),
            _build(),
            *_backends(),
            _workers(),
            _file_reads(),
            _key_log(),
            _host_tls(),
            Layer("ifnet", False, "network interfaces that seal are not part of this version"),
            _receive(),
        )
    )


def _switch() -> Layer:
    off = [name for name in (PREFIX + "enable", "kern.ipc.mb_use_ext_pgs") if not sysctl[name]]
    if off:
        return Layer(
            "enabled",
            False,
            f"{' and '.join(off)} off: call ktls.enable(), or use a ktls.SSLContext, which does not"
            " ask",
        )
    return Layer("enabled", True, "both switches are on")


def _receive() -> Layer:
    if sysctl[PREFIX + "rx_enable"]:
        return Layer("receive", True, "what arrives is opened here; see TLSSocket.rx_mode")
    return Layer("receive", False, f"{PREFIX}rx_enable is off; OpenSSL opens what arrives")


def _build() -> Layer:
    if _core.BUILD_PROFILE == "release":
        return Layer("build", True, "release")
    return Layer("build", False, f"{_core.BUILD_PROFILE}: it works, and must not be measured")


def _rate(backend: backends.Backend, works: bool) -> str:
    provider = backends.provider(backend) if works else None
    rate = backends.sealing_rate(provider) if provider else 0.0
    return f", seals {rate:.1f} GB/s on one core" if rate else ""


def _backends() -> Iterator[Layer]:
    fixed = sysctl[PREFIX + "backend"]
    for backend in backends.registered():
        support = backends.probe(backend)
        if support and fixed and fixed != backend.name:
            yield Layer(
                f"backend {backend.name}", False, f"kern.ipc.tls.backend is set to {fixed!r}"
            )
        else:
            yield Layer(
                f"backend {backend.name}",
                support.available,
                f"{support.reason}, priority {backend.prio}" + _rate(backend, bool(support)),
            )


def _workers() -> Layer:
    count = sysctl[PREFIX + "stats.threads"]
    if workers.running():
        return Layer("workers", True, f"{count} running")
    return Layer("workers", True, f"{policy.worker_count()} start with the first ktls.Socket")


def _file_reads() -> Layer:
    name = "file reads"
    if not hasattr(os, "RWF_NOWAIT"):
        return Layer(name, False, "no preadv2 in this Python; cold files are found by reading them")
    fd = os.open(__file__, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError as error:
        return Layer(name, False, f"preadv2 with RWF_NOWAIT: {_words(error)}")
    finally:
        os.close(fd)
    return Layer(name, True, "preadv2 with RWF_NOWAIT tells warm files from cold ones")


def _key_log() -> Layer:
    name = "hand-over"
    try:
        fd = os.memfd_create("ktls-probe", os.MFD_CLOEXEC)
    except (AttributeError, OSError) as error:
        return Layer(name, False, f"no memfd for the key log: {_words(error)}")
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        with open(path, "ab"):
            pass
    except OSError as error:
        return Layer(
            name, False, f"the key log cannot be opened by its name {path}: {_words(error)}"
        )
    finally:
        os.close(fd)
    return Layer(name, True, "keys can come from ssl through a key log in memory")


def _host_tls() -> Layer:
    """The kernel's own TLS, tried on a throw-away connection to ourselves."""
    name = "host kernel TLS"
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=1) as sock,
        ):
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    except OSError as error:
        hints = {
            errno.ENOENT: "the kernel has no TLS, or its module is not loaded (modprobe tls)",
            errno.ENOPROTOOPT: "this kernel has no TCP_ULP option",
            errno.EPERM: "a sandbox forbids it",
            errno.EACCES: "a sandbox forbids it",
        }
        hint = hints.get(error.errno or 0, "it was refused")
        return Layer(name, False, f"{hint} ({_words(error)})")
    return Layer(name, True, "TCP_ULP tls is there; this version does not use it")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
    return str(error)
