"""``ktls probe``: what this machine offers, layer by layer, with reasons."""

import json
from dataclasses import asdict

import click

import ktls


@click.command(short_help="what this machine offers, layer by layer")
@click.option("--json", "as_json", is_flag=True, help="A list of layers: name, ok, reason.")
def command(as_json: bool) -> None:
    """Say what this machine offers to KTLS, layer by layer, with reasons.

    It looks and tries, in a process of its own with everything turned on; nothing stays.
    """
    ktls.enable()
    found = ktls.probe()
    if as_json:
        click.echo(json.dumps([asdict(layer) for layer in found], indent=1))
    else:
        click.echo(str(found))
