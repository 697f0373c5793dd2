"""The tables of the tree against what they describe: the engine's own lists, and the documents."""

import importlib.util
import re
from pathlib import Path

import ktls
from ktls import _core
from ktls.sysctl import nodes

PREFIX = "kern.ipc.tls."
ROOT = Path(__file__).resolve().parents[2]


def test_every_tunable_of_the_engine_has_its_line_and_no_line_is_left_over() -> None:
    assert sorted(name for name, _, _ in nodes.TUNABLES) == sorted(_core.tunables())


def test_every_counter_of_the_engine_has_its_node_and_no_line_is_left_over() -> None:
    counted = {name for name in _core.counters() if name.startswith(("stats.", "sw."))}
    assert {name for name, _, _ in nodes.COUNTERS} <= counted
    assert {name for name in counted if PREFIX + name not in ktls.sysctl} == set()


def test_defaults_and_ranges_are_the_engines() -> None:
    for name, (default, low, high) in _core.tunables().items():
        node = ktls.sysctl.node(PREFIX + name)
        assert (node.default, node.low, node.high) == (default, low, high), name
        assert low <= default <= high, name


def test_no_name_stands_in_two_tables() -> None:
    names = [node.name for node in nodes.all_nodes()]
    assert sorted(names) == sorted(set(names))


def test_help_is_one_line_of_one_sentence() -> None:
    for name in ktls.sysctl:
        text = ktls.sysctl.node(name).help
        assert 15 < len(text) < 100, name
        assert "\n" not in text, name
        assert ". " not in text, name
        assert not text.endswith("."), name


def test_every_number_that_may_be_set_has_its_reason() -> None:
    text = (ROOT / "docs" / "tuning.md").read_text()
    headings = re.findall(r"^### `([a-z0-9_.]+)`$", text, re.MULTILINE)
    ours = {name for name, *_ in (*nodes.TUNABLES, *nodes.NUMBERS)} | {"tls10_fragment"}
    assert sorted(headings) == sorted(ours)


def test_the_engine_takes_every_value_of_its_range() -> None:
    for name, (default, low, high) in _core.tunables().items():
        for value in (low, high, default):
            _core.set_tunable(name, value)


def test_the_page_is_the_trees() -> None:
    path = ROOT / "docs" / "sysctl_page.py"
    spec = importlib.util.spec_from_file_location("sysctl_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "sysctl.md").read_text()
    assert text == module.page(), "docs/sysctl.md is stale: make docs-sysctl"
    for names, why in module.ABSENT:
        assert len(why) > 15, names
        for name in names.split(", "):
            assert name not in ktls.sysctl, f"{name} is there"
