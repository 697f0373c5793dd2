"""The tree of switches, tunables and counters."""

import errno
import os
import subprocess
import sys
import threading

import pytest

import ktls
from ktls.sysctl import Node, Tree

PREFIX = "kern.ipc.tls."


def test_both_switches_are_off_until_enable() -> None:
    code = (
        "import ktls;"
        "print(ktls.sysctl['kern.ipc.tls.enable'], ktls.sysctl['kern.ipc.mb_use_ext_pgs'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KTLS_SYSCTL"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_enable_turns_both_on_and_off() -> None:
    ktls.enable()
    assert ktls.sysctl[PREFIX + "enable"] is True
    assert ktls.sysctl["kern.ipc.mb_use_ext_pgs"] is True
    ktls.enable(False)
    assert ktls.sysctl[PREFIX + "enable"] is False
    assert ktls.sysctl["kern.ipc.mb_use_ext_pgs"] is False


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("maxlen", 16384),
        ("cbc_enable", True),
        ("rx_enable", True),
        ("bind_threads", 0),
        ("workers", 0),
        ("backend", ""),
        ("tls10_fragment", "auto"),
        ("flush_unit", 262144),
        ("sendspace", 1048576),
        ("sendspace_max", 16777216),
        ("sendlowat", 524288),
        ("inline_max", 65536),
        ("gather_max", 32768),
        ("pipeline_depth", 3),
        ("handoff_min", 524288),
        ("spin_us", 50),
        ("stream_gap_us", 5),
        ("stream_run", 4),
        ("quantum", 1048576),
        ("io_threads", 1),
        ("debug.seal_delay_us", 0),
        ("close_timeout", 10),
    ],
)
def test_defaults_of_sysctls(name: str, default: object) -> None:
    assert ktls.sysctl.node(PREFIX + name).default == default
    assert ktls.sysctl[PREFIX + name] == default


@pytest.mark.parametrize(
    "name",
    [
        *("enable_calls", "offload_total", "active", "failed_crypto", "threads", "sw_tx_inqueue"),
        *("switch_to_ifnet", "switch_to_sw", "switch_failed"),
    ],
)
def test_statistics_are_there_and_read_only(name: str) -> None:
    node = ktls.sysctl.node(f"{PREFIX}stats.{name}")
    assert node.type in ("counter", "gauge", "int")
    assert isinstance(ktls.sysctl[node.name], int)
    with pytest.raises(OSError, match="read-only") as caught:
        ktls.sysctl[node.name] = 0
    assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize("name", ["sw.cbc", "sw.gcm", "sw.chacha20"])
def test_gauges_of_software_sessions(name: str) -> None:
    assert ktls.sysctl.node(PREFIX + name).type == "gauge"
    assert ktls.sysctl[PREFIX + name] >= 0  # type: ignore[operator]


def test_every_node_says_what_it_is() -> None:
    for name in ktls.sysctl:
        described = ktls.sysctl.describe(name)
        assert described.startswith(name)
        assert len(ktls.sysctl.node(name).help) > 15, name
    assert "uint RWTUN, default 16384, 512..16384" in ktls.sysctl.describe(PREFIX + "maxlen")


def test_sysctl_tree_is_a_mapping() -> None:
    names = list(ktls.sysctl)
    assert names == sorted(names)
    assert len(names) == len(ktls.sysctl)
    assert PREFIX + "enable" in ktls.sysctl
    assert "kern.ipc.tls" not in ktls.sysctl
    assert dict(ktls.sysctl)[PREFIX + "maxlen"] == 16384
    assert ktls.sysctl.get("no.such.node", 7) == 7


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(KeyError, match=r"kern\.ipc\.tls\.maxlen"):
        ktls.sysctl[PREFIX + "maxlne"]
    with pytest.raises(KeyError, match=r"all begin with kern\.ipc\.tls"):
        ktls.sysctl["zzz"] = 1
    with pytest.raises(KeyError):
        ktls.sysctl.describe("zzz")
    with pytest.raises(KeyError):
        ktls.sysctl[7]  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable", 2),
        ("enable", -1),
        ("maxlen", 511),
        ("maxlen", 16385),
        ("flush_unit", 16383),
        ("flush_unit", 1048577),
        ("pipeline_depth", 0),
        ("close_timeout", -1),
    ],
)
def test_sysctl_value_out_of_range_is_refused(name: str, value: int) -> None:
    before = ktls.sysctl[PREFIX + name]
    with pytest.raises(OSError, match=rf"{name} cannot be {value}") as caught:
        ktls.sysctl[PREFIX + name] = value
    assert caught.value.errno == errno.EINVAL
    assert ktls.sysctl[PREFIX + name] == before


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("enable", "1", "str"), ("maxlen", 4096.0, "float"), ("backend", 5, "int")],
)
def test_sysctl_value_of_a_wrong_type_is_refused(name: str, value: object, kind: str) -> None:
    with pytest.raises(TypeError, match=f"not {kind}"):
        ktls.sysctl[PREFIX + name] = value  # type: ignore[assignment]


def test_sysctl_values_take_effect() -> None:
    ktls.sysctl[PREFIX + "maxlen"] = 4096
    ktls.sysctl[PREFIX + "flush_unit"] = 65536
    ktls.sysctl[PREFIX + "cbc_enable"] = 0
    assert ktls.sysctl[PREFIX + "maxlen"] == 4096
    assert ktls.sysctl[PREFIX + "flush_unit"] == 65536
    assert ktls.sysctl[PREFIX + "cbc_enable"] is False


def test_no_sysctl_can_be_removed() -> None:
    with pytest.raises(OSError, match="cannot be removed") as caught:
        del ktls.sysctl[PREFIX + "maxlen"]
    assert caught.value.errno == errno.EPERM
    assert PREFIX + "maxlen" in ktls.sysctl


def test_sysctl_assignments_from_text() -> None:
    ktls.sysctl.assign("kern.ipc.tls.maxlen=0x1000")
    ktls.sysctl.assign(" kern.ipc.tls.cbc_enable = false ")
    ktls.sysctl.assign("kern.ipc.tls.backend=ring")
    assert ktls.sysctl[PREFIX + "maxlen"] == 4096
    assert ktls.sysctl[PREFIX + "cbc_enable"] is False
    assert ktls.sysctl[PREFIX + "backend"] == "ring"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kern.ipc.tls.maxlen", "not of the form name=value"),
        ("kern.ipc.tls.maxlen=many", "'many' is not a number"),
        ("kern.ipc.tls.maxlen=", "'' is not a number"),
        ("kern.ipc.tls.maxlen=1", "cannot be 1; it lies in 512..16384"),
        ("kern.ipc.tls.enable=2", "cannot be 2"),
        ("kern.ipc.tls.backend=rnig", "cannot be 'rnig'; it is one of '', .*ring"),
        ("kern.ipc.tls.stats.active=0", "read-only"),
        ("kern.ipc.tls.enabel=1", r"near it: kern\.ipc\.tls\.enable"),
    ],
)
def test_bad_assignments_quote_the_item(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        ktls.sysctl.assign(text)
    assert repr(text) in str(caught.value)


def run_with(value: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KTLS_SYSCTL": value}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_environment_sets_sysctls() -> None:
    done = run_with(
        "kern.ipc.tls.enable=1, kern.ipc.mb_use_ext_pgs=true,,kern.ipc.tls.maxlen=4096",
        "import ktls; print(ktls.sysctl['kern.ipc.tls.enable'],"
        " ktls.sysctl['kern.ipc.mb_use_ext_pgs'], ktls.sysctl['kern.ipc.tls.maxlen'])",
    )
    assert done.stdout.split() == ["True", "True", "4096"], done.stderr


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("kern.ipc.tls.enable=1,nonsense", "KTLS_SYSCTL: 'nonsense' is not of the form name=value"),
        ("kern.ipc.tls.maxlen=7", "KTLS_SYSCTL: 'kern.ipc.tls.maxlen=7': "),
        ("kern.ipc.tls.nope=7", "KTLS_SYSCTL: 'kern.ipc.tls.nope=7': no node"),
    ],
)
def test_a_bad_environment_stops_the_import(value: str, words: str) -> None:
    done = run_with(value, "import ktls")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert words in last


def test_counters_lose_nothing_between_threads() -> None:
    tree = Tree()
    tree.add(Node(name="a.count", type="counter", flags="RD", help="for this test"))

    def count() -> None:
        for _ in range(2000):
            tree.count("a.count")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree["a.count"] == 16000


def test_boot_time_nodes_are_read_only_once_threads_have_run() -> None:
    program = """
import errno, socket
import ktls
ktls.sysctl["kern.ipc.tls.workers"] = 1
near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
far.connect(near.getsockname())
with ktls.Socket(far), near:
    try:
        ktls.sysctl["kern.ipc.tls.workers"] = 2
    except OSError as error:
        assert error.errno == errno.EPERM, error
        assert "before the first ktls.Socket" in str(error), error
    else:
        raise AssertionError("a boot-time node was set")
assert ktls.sysctl["kern.ipc.tls.workers"] == 1
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_string_with_choices() -> None:
    name = PREFIX + "tls10_fragment"
    for choice in ("none", "empty", "split", "auto"):
        ktls.sysctl[name] = choice
        assert ktls.sysctl[name] == choice
    with pytest.raises(OSError, match="cannot be 'beast'; it is one of auto, none, empty") as e:
        ktls.sysctl[name] = "beast"
    assert e.value.errno == errno.EINVAL
    assert "one of auto, none, empty, split" in ktls.sysctl.describe(name)
    with pytest.raises(ValueError, match=r"tls10_fragment=x.*one of"):
        ktls.sysctl.assign(f"{name}=x")
