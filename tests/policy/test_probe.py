"""What ``ktls.probe`` says."""

import threading

import pytest

import ktls
from support import descriptors


def test_probe_says_something_about_every_layer() -> None:
    probe = ktls.probe()
    for name in (
        *("enabled", "build", "backend ring", "backend aws-lc", "workers", "file reads"),
        *("hand-over", "host kernel TLS", "ifnet", "receive"),
    ):
        layer = probe[name]
        assert isinstance(layer.ok, bool)
        assert layer.reason
        assert layer.reason in str(probe)
    assert len(str(probe).splitlines()) == len(probe.layers)


def test_probe_says_which_switch_is_off() -> None:
    ktls.enable(False)
    off = ktls.probe()["enabled"]
    assert not off.ok
    assert "kern.ipc.tls.enable" in off.reason
    assert "ktls.enable()" in off.reason
    ktls.enable()
    assert ktls.probe()["enabled"].ok


def test_probe_says_which_backend_is_not_chosen() -> None:
    assert ktls.probe()["backend ring"].ok
    ktls.sysctl["kern.ipc.tls.backend"] = "ring"
    other = ktls.probe()["backend aws-lc"]
    assert not other.ok
    assert ktls.probe()["backend ring"].ok


def test_probe_says_what_is_not_there_yet() -> None:
    assert not ktls.probe()["ifnet"].ok
    assert ktls.probe()["receive"].ok


def test_an_unknown_layer_lists_the_known() -> None:
    with pytest.raises(KeyError, match="backend ring"):
        ktls.probe()["nic"]


def test_probe_leaves_nothing_behind() -> None:
    ktls.probe()
    before = descriptors.settled()
    threads = threading.active_count()
    ktls.probe()
    assert descriptors.count() == before
    assert threading.active_count() == threads


def test_receiving_can_be_off() -> None:
    try:
        ktls.sysctl["kern.ipc.tls.rx_enable"] = 0
        layer = ktls.probe()["receive"]
        assert not layer.ok
        assert "rx_enable" in layer.reason
    finally:
        ktls.sysctl["kern.ipc.tls.rx_enable"] = 1
