"""The index from rule to test: how the mark `rule` is written, and the table of all marks.

A mark names where a rule stands, over a test that fails when the library breaks the rule: in Python
`@pytest.mark.rule("RFC 8446 5.5", "freebsd.md row 7")`, in Rust the comment `// rule: RFC 8446 5.5`
over `#[test]`, with commas between several.  As a program this file writes `rules.md`.  It reads
the sources and runs nothing, so a mark stands over a function and its rules are literals.
Marks are not coverage: many tests hold more than they name.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
INDEX = TESTS / "rules.md"
RUST = TESTS.parent / "rust"
COMMAND = "python tests/rule_index.py"
FREEBSD = TESTS.parent / "docs" / "freebsd.md"

_MANUAL = r"(?P<page>ktls|tcp|socket|send|recv|sendfile|shutdown|close|fork|poll|epoll)"
FORMATS = (
    re.compile(r"freebsd\.md row (?P<row>[1-9]\d*)"),
    re.compile(_MANUAL + r"\((?P<chapter>[1-9])\) (?P<topic>[A-Za-z0-9_.]+)"),
    re.compile(r"PEP (?P<pep>[1-9]\d*)"),
    re.compile(r"RFC (?P<rfc>[1-9]\d*)(?: (?P<section>(?:[1-9]\d*|[A-Z])(?:\.[1-9]\d*)*))?"),
)
"""What a rule may look like, in the order of the index."""
EXAMPLES = '"freebsd.md row 7", "ktls(4) TCP_TXTLS_ENABLE", "PEP 475" or "RFC 8446 5.5"'

_COMMENT = re.compile(r" *// *rules?: *(?P<rules>.*)")
_TEST = re.compile(r" *#\[test\]\n(?: *#\[.*\n)* *fn (?P<name>\w+)\(")

_HEADER = f"""\
# Rules and the tests that hold them

Written by `{COMMAND}` from the marks of the tests; [README.md](README.md) says how
they are written. `freebsd.md` is [docs/freebsd.md](../docs/freebsd.md), `name(n)` a manual page:
`ktls(4)` FreeBSD's, the others Linux's.

| rule | tests |
| -- | -- |
"""


def check(rules: tuple[object, ...]) -> str | None:
    """What is wrong with the arguments of one mark, or None."""
    if not rules:
        return f"a mark names one rule or more, such as {EXAMPLES}"
    for rule in rules:
        if not isinstance(rule, str) or not any(form.fullmatch(rule) for form in FORMATS):
            return f"{rule!r} is no rule; write {EXAMPLES}"
    if len(set(rules)) < len(rules):
        return f"a rule comes twice in {rules}"
    return None


def order(rule: str) -> tuple[object, ...]:
    """Sections by number: 5.4 comes before 5.10, and the appendix behind both."""
    for place, form in enumerate(FORMATS):
        if form.fullmatch(rule):
            words = re.findall(r"\d+|[^\d.]+", rule)
            return place, *((0, int(word)) if word.isdigit() else (1, word) for word in words)
    raise ValueError(f"{rule!r} is no rule; write {EXAMPLES}")


def is_mark(node: ast.AST) -> bool:
    """Whether this is `pytest.mark.rule`."""
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.rule"


def marks_of(source: str, path: str) -> Iterator[tuple[str, str]]:
    """The rules of a file of tests, each with the name of its test."""
    tree = ast.parse(source)
    mentioned = sum(is_mark(node) for node in ast.walk(tree))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in function.decorator_list:
                if not (isinstance(mark, ast.Call) and is_mark(mark.func)):
                    continue
                mentioned -= 1
                place = f"{path}:{mark.lineno}"
                if not function.name.startswith("test_"):
                    raise ValueError(f"{place}: {function.name} is no test; mark tests alone")
                rules = tuple(
                    part.value if isinstance(part, ast.Constant) else ast.unparse(part)
                    for part in mark.args
                )
                wrong = check(rules) if not mark.keywords else "a mark takes no keywords"
                if wrong:
                    raise ValueError(f"{place}: {wrong}")
                yield from ((str(rule), function.name) for rule in rules)
    if mentioned:
        raise ValueError(f"{path}: pytest.mark.rule stands over a function and nowhere else")


def marks_of_rust(source: str, path: str) -> Iterator[tuple[str, str]]:
    """The same for a file of Rust."""
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        if not (comment := _COMMENT.match(line)):
            continue
        place = f"{path}:{number}"
        rules = tuple(comment["rules"].split(", "))
        if wrong := check(rules):
            raise ValueError(f"{place}: {wrong}")
        function = _TEST.match("\n".join(lines[number : number + 5]))
        if not function:
            raise ValueError(f"{place}: no test; the comment stands directly over #[test]")
        yield from ((rule, function["name"]) for rule in rules)


def collect() -> dict[str, dict[str, list[str]]]:
    """Rule, file and names of tests, in the order of the index."""
    found: dict[str, dict[str, list[str]]] = {}
    for folder, pattern, marks in (
        (TESTS, "test_*.py", marks_of),
        (RUST, "*.rs", marks_of_rust),
    ):
        for path in sorted(folder.rglob(pattern)):
            name = str(path.relative_to(TESTS.parent))
            for rule, test in marks(path.read_text(), name):
                found.setdefault(rule, {}).setdefault(name, []).append(test)
    return {rule: found[rule] for rule in sorted(found, key=order)}


def table() -> str:
    """The whole of rules.md."""
    lines = []
    for rule, files in collect().items():
        tests = ("; ".join(f"`{test}`" for test in names) for names in files.values())
        cells = (f"{name}: {names}" for name, names in zip(files, tests, strict=True))
        lines.append(f"| {rule} | {'<br>'.join(cells)} |\n")
    return _HEADER + "".join(lines)


def rows_of_freebsd() -> dict[int, str]:
    """The rows of the first table of docs/freebsd.md, each with what is said of it here."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", FREEBSD.read_text(), re.MULTILINE)
    return {int(number): here for number, here in rows}


if __name__ == "__main__":
    INDEX.write_text(table())
