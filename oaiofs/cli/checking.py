"""The command that looks whether a client root is in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import logs, places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@click.command()
@click.argument("path", metavar="[MOUNTPOINT]", required=False, type=click.Path(path_type=Path))
@places.place_options
@click.option("--repair", is_flag=True, help="Mend what is wrong; what may be an edit is never deleted.")
@click.option("--deep", is_flag=True, help="Also read every file here and compare its checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@logs.verbose_option
def check(
    path: Path | None, mountpoint: Path | None, client_root: Path | None, repair: bool, deep: bool, as_json: bool
) -> int:
    """Look whether everything kept on this machine is in order.

    It works on a running mount and without one. Exit code 0: all is well, or was repaired; 1: it is not.
    """
    answer = places.ask(
        "check", path=path, mountpoint=mountpoint, client_root=client_root, repair=repair, deep=deep
    )  # fmt: skip
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else "\n".join(lines(answer)))
    return 1 if answer["problems"] else 0


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """The answer as sentences."""
    yield from answer["notes"]
    for one in answer["repaired"]:
        yield f"{one['where']}: {one['what']}. Repaired."
    for one in answer["problems"]:
        advice = f" --repair would {one['repair']}." if one["repair"] else ""
        yield f"{one['where']}: {one['what']}.{advice}"
    found = len(answer["problems"])
    yield f"Objects looked at: {answer['objects']}. {f'Problems: {found}' if found else 'All is well'}."
