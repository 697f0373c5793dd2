"""Each tool has a man page, which has every option of its ``--help`` and no other."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from ktls.cli.commands import NAMES, ktls
from ktls.cli.switch_tls import HELP

MAN = Path(__file__).parents[2] / "docs" / "man"
PAGES = {"ktls": "ktls.1", "switch_tls": "switch_tls.8"} | {
    name: f"ktls-{name}.1" for name in NAMES
}


def help_options(name: str) -> set[str]:
    """The options that the help of a tool lists."""
    if name == "switch_tls":
        return set(re.findall(r"^  (-\w)", HELP, re.MULTILINE)) | {"--help"}
    command: click.Command | None = ktls
    context = click.Context(ktls, info_name="ktls", **ktls.context_settings)
    if name != "ktls":
        command = ktls.get_command(context, name)
        assert command is not None
        context = click.Context(command, context, info_name=name)
    parameters = command.get_params(context)
    return {option for each in parameters if isinstance(each, click.Option) for option in each.opts}


def page_options(text: str) -> set[str]:
    """The tags of the section of options."""
    section = text.partition(".SH OPTIONS\n")[2].partition("\n.SH ")[0]
    tags = re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE)
    return {option for tag in tags for option in re.findall(r"(?<!\w)--?\w[\w-]*", plain(tag))}


def plain(text: str) -> str:
    return text.replace("\\-", "-")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_the_options_of_the_help(name: str) -> None:
    text = (MAN / PAGES[name]).read_text()
    assert page_options(text) == help_options(name)
    title, section = PAGES[name].rsplit(".", 1)
    assert re.search(rf"^\.TH {title.upper()} {section} ", text, re.MULTILINE)
    assert f"{plain(text).partition('.SH NAME')[2].split()[0]}" == title


def test_there_is_no_other_page() -> None:
    assert {path.name for path in MAN.iterdir()} == set(PAGES.values())


def test_the_first_page_names_every_command() -> None:
    text = (MAN / "ktls.1").read_text()
    for name in NAMES:
        command = ktls.get_command(click.Context(ktls), name)
        assert command is not None
        assert f".B {name}\n{command.short_help}\n" in text
        assert f".BR ktls\\-{name} (1)" in text


@pytest.mark.parametrize("page", PAGES.values())
def test_groff_has_nothing_to_say(page: str) -> None:
    command = ["groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rCHECKSTYLE=1", str(MAN / page)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert result.stderr == ""
    assert "OPTIONS" in result.stdout
