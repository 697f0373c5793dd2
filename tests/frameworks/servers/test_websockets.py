"""websockets.sync in both roles, against itself and against stock."""

import json
import subprocess
from pathlib import Path

import pytest

from .document import sections
from .program import Program

NAME = "websockets"
VERSIONS = {"1.2": "maximum_version", "1.3": "minimum_version"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stock", ["neither", "server", "client"])
def test_websocket_messages_come_back(
    stock: str, version: str, shared: Path, tmp_path: Path
) -> None:
    number = f"ssl.TLSVersion.TLSv{version.replace('.', '_')}"
    settings = f"ctx.{VERSIONS[version]} = {number}\n"
    if stock == "client":
        # In one connection of some hundreds, stock client threads lose the request where a ticket
        # comes at the same time, from stock servers as well.
        settings += "ctx.num_tickets = 0\n"
    section = sections()[NAME].with_settings(settings)
    if stock != "neither":
        files = {f"{stock}.py": section.stock().files[f"{stock}.py"]}
        section.files |= files
    _, talk = section.commands
    with Program(section, tmp_path, shared) as program:
        client = program.start(talk, subprocess.PIPE)
        said, _ = client.communicate(timeout=50)
        assert client.returncode == 0, said + program.said()
        ends = dict(zip(("server", "client"), map(json.loads, said.splitlines()), strict=True))
    for role, end in ends.items():
        mode = "STOCK" if role == stock else "SW"
        assert (end["mode"], end["rx_mode"]) == (mode, mode), (role, end["why"])
        assert end["version"] == f"TLSv{version}"


def test_ctrl_c_ends_the_websocket_server_like_stock(shared: Path, tmp_path: Path) -> None:
    section = sections()[NAME]
    status = []
    for each in (section, section.stock()):
        directory = tmp_path / str(len(status))
        directory.mkdir()
        with Program(each, directory, shared) as program:
            status.append((program.interrupt(), program.said().count("Traceback")))
    assert status[0] == status[1]
