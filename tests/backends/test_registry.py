"""The registry of backends and who is chosen."""

import errno
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import ktls
from ktls import backends
from ktls.backends import Support

GCM = ktls.CRYPTO_AES_NIST_GCM_16
CBC = ktls.CRYPTO_AES_CBC
BACKEND = "kern.ipc.tls.backend"


@dataclass
class Fake:
    name: str
    prio: int
    provider: str | None = "ring"
    works: bool = True
    api_version: int = 1

    def probe(self) -> Support:
        return Support(self.works, "as the test says")

    def takes(self, tls_vminor: int, cipher_algorithm: int, key_len: int) -> bool:
        return self.willing

    willing: bool = True


@pytest.fixture
def allow_unload(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had been set before the first worker."""
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)


@pytest.fixture
def registered(allow_unload: None) -> Iterator[list[Fake]]:
    fakes = [Fake("fast", 99), Fake("slow", 1), Fake("fast-too", 99)]
    for fake in fakes:
        backends.register(fake)
    yield fakes
    for fake in fakes:
        backends.deregister(fake)


def names() -> list[str]:
    return [backend.name for backend in backends.available()]


def test_ring_is_always_there() -> None:
    assert "ring" in names()


def test_order_is_by_priority_then_by_registration(registered: list[Fake]) -> None:
    order = names()
    assert order[:2] == ["fast", "fast-too"]
    assert order[-1] == "slow"
    assert "ring" in order[2:-1]


@pytest.mark.parametrize("faster", ["ring", "aws-lc"])
def test_of_the_same_priority_the_faster_one_comes_first(
    monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    rates = {"ring": 1.0, "aws-lc": 1.0} | {faster: 2.0}
    monkeypatch.setattr("ktls.backends.rate._sealing", rates)
    assert names()[0] == faster
    assert backends.choose(4, GCM, 16)[0].name == faster


def test_backend_may_open_faster_that_seals_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktls.backends.rate._sealing", {"ring": 1.0, "aws-lc": 2.0})
    monkeypatch.setattr("ktls.backends.rate._opening", {"ring": 2.0, "aws-lc": 1.0})
    assert backends.choose(4, GCM, 16)[0].name == "aws-lc"
    assert backends.choose(4, GCM, 16, opens=True)[0].name == "ring"


@pytest.mark.parametrize("work", ["sealing", "opening"])
def test_the_rate_is_measured_once(monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    rates: dict[str, float] = {}
    monkeypatch.setattr(f"ktls.backends.rate._{work}", rates)
    measure = {"sealing": backends.sealing_rate, "opening": backends.opening_rate}[work]
    rate = measure("ring")
    assert rate > 0
    assert rates == {"ring": rate}
    assert measure("ring") is rate


def test_a_name_is_taken_once(registered: list[Fake]) -> None:
    with pytest.raises(OSError, match="'fast' is registered") as caught:
        backends.register(Fake("fast", 3))
    assert caught.value.errno == errno.EEXIST


def test_deregistered_backend_is_gone(registered: list[Fake]) -> None:
    backends.deregister(registered[0])
    assert "fast" not in names()
    backends.deregister(registered[0])


def test_built_in_backends_stay() -> None:
    ring = next(backend for backend in backends.available() if backend.name == "ring")
    with pytest.raises(OSError, match="built in") as caught:
        backends.deregister(ring)
    assert caught.value.errno == errno.EBUSY
    assert "ring" in names()


def test_the_first_that_takes_the_suite_is_chosen(registered: list[Fake]) -> None:
    chosen, provider = backends.choose(4, GCM, 16)
    assert (chosen, provider.name) == (registered[0], "ring")
    registered[0].works = False
    assert backends.choose(4, GCM, 16)[0] is registered[2]
    registered[2].willing = False
    assert backends.choose(4, GCM, 16)[0].name in ("aws-lc", "ring")


def test_backend_fixed_by_hand_is_chosen(registered: list[Fake]) -> None:
    ktls.sysctl[BACKEND] = "slow"
    assert backends.choose(4, GCM, 16)[0] is registered[1]
    registered[1].works = False
    with pytest.raises(OSError, match="'slow': as the test says") as caught:
        backends.choose(4, GCM, 16)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_name_that_is_no_backend_is_refused(registered: list[Fake]) -> None:
    names = "'', fast, fast-too, aws-lc, ring, openssl, slow"
    with pytest.raises(OSError, match=f"{BACKEND} cannot be 'isa-l'; it is one of {names}$") as e:
        ktls.sysctl[BACKEND] = "isa-l"
    assert e.value.errno == errno.EINVAL
    assert ktls.sysctl[BACKEND] == ""
    assert f"one of {names}): " in ktls.sysctl.describe(BACKEND)


def test_fixed_backend_that_is_gone_lists_what_there_is(registered: list[Fake]) -> None:
    ktls.sysctl[BACKEND] = "slow"
    backends.deregister(registered[1])
    with pytest.raises(OSError, match=r"'slow', which is not registered; available: .*ring") as e:
        backends.choose(4, GCM, 16)
    assert e.value.errno == errno.EOPNOTSUPP


@pytest.mark.rule("freebsd.md row 16")
@pytest.mark.parametrize(
    ("minor", "cipher", "key_len"), [(4, CBC, 16), (3, CBC, 24), (2, GCM, 16), (4, GCM, 24)]
)
def test_suite_that_no_backend_takes_is_refused(minor: int, cipher: int, key_len: int) -> None:
    with pytest.raises(OSError, match=f"no backend seals TLS 1.{minor - 1} AES") as caught:
        backends.choose(minor, cipher, key_len)
    assert caught.value.errno == errno.EPROTONOSUPPORT


def test_the_priority_may_change_at_any_time(registered: list[Fake]) -> None:
    registered[1].prio = 100
    assert names()[0] == "slow"
    assert backends.registered()[0] is registered[1]


@pytest.mark.parametrize("theirs", [0, 2, 5])
def test_another_api_version(theirs: int) -> None:
    fake = Fake("old", 3, api_version=theirs)
    with pytest.raises(OSError, match=rf"version mismatch \({theirs} vs 1\) for old") as caught:
        backends.register(fake)
    assert caught.value.errno == errno.EINVAL
    assert fake not in backends.registered()


def test_without_allow_unload_a_backend_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = Fake("stranger", 1)
    backends.deregister(stranger)
    fake = Fake("stays", 1)
    backends.register(fake)
    with pytest.raises(OSError, match="Deregistering crypto method stays is not supported") as e:
        backends.deregister(fake)
    assert e.value.errno == errno.EBUSY
    assert fake in backends.registered()
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)
    backends.deregister(fake)
    assert fake not in backends.registered()


def test_allow_unload_is_a_tunable() -> None:
    assert ktls.sysctl["kern.ipc.tls.allow_unload"] == 0
    assert ktls.sysctl.node("kern.ipc.tls.allow_unload").flags == "RDTUN"


@pytest.mark.parametrize("name", ["", "Ring", "a b", "-x", "x" * 33, "stats.x"])
def test_names_that_would_not_do_in_the_tree(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a backend"):
        backends.register(Fake(name, 1))


def test_one_without_a_provider() -> None:
    class Nothing:
        name = "nothing"
        prio = 1
        api_version = 1

    with pytest.raises(TypeError, match="'nothing' has no provider"):
        backends.register(Nothing())


def test_a_provider_that_was_not_compiled_in_is_never_chosen(allow_unload: None) -> None:
    fake = Fake("absent", 1000, provider="isa-l")
    backends.register(fake)
    assert backends.choose(4, GCM, 16)[0] is not fake
    backends.deregister(fake)


def test_the_log_says_who_registers(caplog: pytest.LogCaptureFixture, allow_unload: None) -> None:
    fake = Fake("told", 7)
    with caplog.at_level(logging.INFO, "ktls.backends"):
        backends.register(fake)
    backends.deregister(fake)
    assert caplog.messages == ["KTLS: Registering crypto method told with prio 7"]
