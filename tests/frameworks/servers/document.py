"""The programs of docs/frameworks.md, as they stand there: their files and their commands."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "frameworks.md"
_BLOCK = re.compile(r"^```(?P<language>\w+) *(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LOADED = 'ctx.load_cert_chain("server.pem")\n'
_OURS = "ktls.create_default_context"


@dataclass
class Section:
    """What is below one heading."""

    files: dict[str, str] = field(default_factory=dict)
    """Text by name."""
    commands: list[list[str]] = field(default_factory=list)
    settings: str = ""

    def with_settings(self, settings: str) -> "Section":
        """The same with more set on its context."""
        return self.changed(lambda text: _after(text, _LOADED, settings))

    def stock(self) -> "Section":
        """The same with `ssl`'s context, the one line that is changed."""

        def change(text: str) -> str:
            # Behind the monkey patch where there is one.
            missing = "" if "import ssl\n" in text else "import ssl\n"
            return missing + text.replace(_OURS, "ssl.create_default_context")

        return self.changed(change)

    def changed(self, change: Callable[[str], str]) -> "Section":
        """The same with other files."""
        files = {name: change(text) for name, text in self.files.items()}
        assert files != self.files
        return Section(files, self.commands)


def sections() -> dict[str, Section]:
    """By heading."""
    found = {}
    for text in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = text.partition("\n")
        section = found[heading] = Section()
        for block in _BLOCK.finditer(body):
            if block["language"] == "console":
                lines = block["text"].splitlines()
                section.commands += [shlex.split(line.removeprefix("$ ")) for line in lines]
            elif block["kind"] == "settings":
                section.settings = block["text"]
            else:
                first, _, _ = block["text"].partition("\n")
                section.files[first.removeprefix("# ")] = block["text"]
    return found


def _after(text: str, line: str, more: str) -> str:
    """`more` behind each such line, as far to the right; `main` of a program may be a function."""

    def indented(match: re.Match[str]) -> str:
        lines = (match["indent"] + each if each.strip() else each for each in more.splitlines(True))
        return match[0] + "".join(lines)

    return re.sub(rf"^(?P<indent> *){re.escape(line)}", indented, text, flags=re.M)
