"""The index from rule to test: rules.md is that of the marks, and the marks are well made."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rule_index

ROOT = rule_index.TESTS.parent


def rules_of_the_index() -> list[str]:
    """The first column of the table, without its head."""
    text = rule_index.INDEX.read_text()
    return re.findall(r"^\| ([^|]*\d[^|]*) \|", text, re.MULTILINE)


def test_index_of_rules_is_up_to_date() -> None:
    assert rule_index.INDEX.read_text() == rule_index.table(), f"run {rule_index.COMMAND}"


def test_rules_of_the_index_are_sorted_and_come_once() -> None:
    rules = rules_of_the_index()
    assert rules == list(rule_index.collect())
    assert rules == sorted(set(rules), key=rule_index.order)


def test_every_row_of_freebsd_with_a_check_has_a_test() -> None:
    here = rule_index.rows_of_freebsd()
    assert list(here) == list(range(1, len(here) + 1))
    checked = {f"freebsd.md row {row}" for row, words in here.items() if words != "cannot happen"}
    marked = {rule for rule in rule_index.collect() if rule.startswith("freebsd.md")}
    assert marked == checked


@pytest.mark.parametrize(
    "rule",
    [
        "freebsd.md row 7",
        "ktls(4) TCP_TXTLS_ENABLE",
        "PEP 475",
        "RFC 7366",
        "RFC 8446 5.5",
        "RFC 8446 D.4",
        "socket(7) SO_RCVLOWAT",
    ],
)
def test_well_written_rule_is_accepted(rule: str) -> None:
    assert rule_index.check((rule,)) is None


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (8446,),
        ("",),
        ("RFC 8446 §5.5",),
        ("RFC 8446, 5.5",),
        ("RFC 8446 5.",),
        ("RFC8446 5.5",),
        ("rfc 8446 5.5",),
        ("RFC 08446",),
        ("RFC 8446 5.5 ",),
        ("freebsd.md row 07",),
        ("freebsd.md 7",),
        ("ktls(4)",),
        ("nothing(4) AT_ALL",),
        ("RFC 8446 5.5", "RFC 8446 5.5"),
    ],
    ids=repr,
)
def test_badly_written_rule_is_refused(rules: tuple[object, ...]) -> None:
    assert rule_index.check(rules) is not None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('@pytest.mark.rule("RFC 8446 5")\ndef helper(): ...', "helper is no test"),
        ('pytestmark = pytest.mark.rule("RFC 8446 5")', "over a function and nowhere else"),
        ("@pytest.mark.rule\ndef test_it(): ...", "over a function and nowhere else"),
        ("@pytest.mark.rule(RULE)\ndef test_it(): ...", "'RULE' is no rule"),
        ('@pytest.mark.rule(name="RFC 8446")\ndef test_it(): ...', "takes no keywords"),
    ],
    ids=["helper", "module", "bare", "variable", "keyword"],
)
def test_mark_that_the_index_would_miss_is_refused(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(rule_index.marks_of(source, "test_x.py"))


def test_comment_over_a_rust_test_is_a_mark() -> None:
    source = "    // rule: RFC 7366, RFC 8446 5.5\n    #[test]\n    #[ignore]\n    fn holds() {}\n"
    assert list(rule_index.marks_of_rust(source, "x.rs")) == [
        ("RFC 7366", "holds"),
        ("RFC 8446 5.5", "holds"),
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("// rule: RFC 8446, 5.5\n#[test]\nfn holds() {}\n", "'5.5' is no rule"),
        ("// rule: RFC 8446 5.5\nfn holds() {}\n", "directly over #"),
        ("// rule: RFC 8446 5.5\n\n#[test]\nfn holds() {}\n", "directly over #"),
        ("// rules: \n#[test]\nfn holds() {}\n", "'' is no rule"),
    ],
    ids=["format", "no test", "blank line", "empty"],
)
def test_bad_comment_over_a_rust_test_is_refused(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(rule_index.marks_of_rust(source, "x.rs"))


def test_sections_are_sorted_by_number() -> None:
    rules = [
        "freebsd.md row 9",
        "freebsd.md row 10",
        "ktls(4) TCP_TXTLS_ENABLE",
        "PEP 475",
        "RFC 5246",
        "RFC 5246 6.2.3",
        "RFC 5246 6.10",
        "RFC 5246 F.4",
        "RFC 8446 5",
    ]
    rules.reverse()
    assert sorted(rules, key=rule_index.order) == rules[::-1]


def test_badly_written_rule_is_an_error_of_its_test(tmp_path: Path) -> None:
    path = tmp_path / "test_bad.py"
    path.write_text('import pytest\n\n@pytest.mark.rule("RFC 8446, 5.5")\ndef test_it(): ...\n')
    options = ["-c", ROOT / "pyproject.toml", "-p", "conftest", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, path],
        env=os.environ | {"PYTHONPATH": str(rule_index.TESTS)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stderr
    assert "the mark rule: 'RFC 8446, 5.5' is no rule; write" in result.stdout
    assert "1 error in" in result.stdout
