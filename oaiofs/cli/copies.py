"""The commands about which files are on this machine: keep them here, or let them go for now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import logs, report
from .places import ask, named, place_options
from .words import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_paths = click.argument("words", metavar="PATH…", nargs=-1, required=True)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@_paths
@_json_option
@place_options
@logs.verbose_option
def pin(words: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Keep files on this machine: downloaded by themselves, and never evicted.

    PATH is a file, a folder, an object (also by its id) or the mountpoint; what is in it is pinned with it, also what
    comes to be there later. Offline the downloads wait.
    """
    _do("pin", pinned_lines, words, mountpoint, client_root, as_json=as_json)


@click.command()
@_paths
@_json_option
@place_options
@logs.verbose_option
def unpin(words: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Take the pin of PATH away, and those of what is in it.

    The files stay until their room is needed (see --cache-size of `oaiofs mount`), or `oaiofs evict` lets them go.
    """
    _do("unpin", unpinned_lines, words, mountpoint, client_root, as_json=as_json)


@click.command()
@_paths
@_json_option
@place_options
@logs.verbose_option
def evict(words: tuple[str, ...], as_json: bool, mountpoint: Path | None, client_root: Path | None) -> None:
    """Free this machine's disk of copies of PATH's files.

    Opening one downloads it again. What only this machine has stays, whatever it is; so does what is pinned or open.
    How much stays, and why, is told.
    """
    _do("evict", evicted_lines, words, mountpoint, client_root, as_json=as_json)


def _do(
    verb: str, as_text: Callable[[Mapping[str, Any]], Iterator[str]], words: Sequence[str], mountpoint: Path | None,
    client_root: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    paths, within = named(words, mountpoint, client_root)
    answer = ask(verb, path=within, mountpoint=mountpoint, client_root=client_root, paths=paths)
    text = json.dumps(answer, indent=2) if as_json else "\n".join(as_text(answer))
    click.echo(text)


# -- as text -------------------------------------------------------------------------------------------------


def pinned_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for path in answer["pinned"]:
        yield f"{_name(path)} is pinned."
    missing = answer["missing"]
    if missing:
        when = "now" if answer["mounted"] else "once it is mounted"
        yield f"{_files(missing)} of what is pinned {'is' if missing == 1 else 'are'} not here yet: downloaded {when}."


def unpinned_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for one in answer["unpinned"]:
        yield f"{_name(one['path'])} " + ("is not pinned any more." if one["pins"] else "had no pin.")
    for one in answer["held"]:
        yield f"{_name(one['path'])} stays pinned with {_name(one['by'])}: `oaiofs unpin` that."


def evicted_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_files(answer['files'])} evicted, {amount(answer['bytes'])} freed."
    if answer["away"]:
        yield f"{_files(answer['away'])} not downloaded before."
    for why, number in answer["kept"].items():
        yield f"{_files(number)} kept: {report.printable(why)}."


def _name(path: str) -> str:
    return report.printable(path) if path else "the whole mount"


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
