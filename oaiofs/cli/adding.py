"""The command that makes objects of what is elsewhere on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import control, errors, rootpaths
from . import logs
from .places import ask, inside, place_options
from .words import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_LEFT_OUT = 10


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--name", metavar="NAME", help="What the object is called, instead of as its file, folder or _name.")
@click.option("--values", "values", metavar="FILE|-", help="The values: a JSON object in this file, or from stdin.")
@click.option("--root-path", metavar="FOLDER", help="The existing client keeps the files in FOLDER on every device.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@place_options
@logs.verbose_option
def add(
    paths: tuple[str, ...], name: str | None, values: str | None, root_path: str | None, as_json: bool,
    mountpoint: Path | None, client_root: Path | None,
) -> None:  # fmt: skip
    """Make new objects of files, folders or values.

    Of each PATH comes one, of a folder with all that is in it; without PATH one of values alone.

    \b
    oaiofs add ~/Pictures/norway                    the folder's files, an object called norway
    oaiofs add letter.pdf --name "Last letter"      with this one file
    echo '{"x": 1}' | oaiofs add --values - --name settings
    oaiofs add --root-path ~/Documents/letters      the folder's files, and other clients have them there too

    Everything is copied, and what is at PATH stays as it is. The servers get it after the quiet time. Links and what
    is neither file nor folder are left out, and told.

    With --root-path the object's _root_path is FOLDER in a form that every device reads as its own ({doc}/letters), or
    as you give it with a placeholder: {usr} {doc} {app} {ado}. PATH is then a file or folder in FOLDER.
    """
    if not paths and values is None and root_path is None:
        raise errors.UsageError("Say what is to be added: a file, a folder, or --values.")
    if len(paths) > 1 and (name is not None or values is not None or root_path is not None):
        raise errors.UsageError("--name, --values and --root-path are for one object: give one PATH with them.")
    root_path = None if root_path is None else _whole(root_path)
    place: dict[str, Any] = {"mountpoint": mountpoint, "client_root": client_root}
    for path in (*paths, *([rootpaths.resolve(root_path, "")] if root_path else [])):
        _check(Path(path))
    answers = []
    with _values_file(values) as file:
        for one in paths or (None,):
            whole = None if one is None else os.path.abspath(one)
            answers.append(ask("add", **place, **_given(source=whole, name=name, values=file, root_path=root_path)))
    if as_json:
        click.echo(json.dumps({"added": answers}, indent=2))
    else:
        click.echo("\n".join(line for answer in answers for line in lines(answer)))


def _given(**arguments: str | None) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _whole(root_path: str) -> str:
    """A root path that means the same in the mount's process: placeholders that last stay, all else is absolute."""
    own = root_path.replace("{cwd}", os.getcwd(), 1) if root_path.startswith("{cwd}") else root_path
    return own if own.startswith("{") else os.path.abspath(os.path.expanduser(own))


def _check(path: Path) -> None:
    for mount in control.running():
        if inside(mount, path) is not None:
            raise errors.UsageError(f"{path} is in the mount already: copy it there with cp.")


@contextlib.contextmanager
def _values_file(values: str | None) -> Iterator[str | None]:
    """The absolute path of the values' file; what comes from stdin is in one that only this user can read."""
    if values != "-":
        yield None if values is None else os.path.abspath(values)
        return
    with tempfile.NamedTemporaryFile(dir=control.runtime_dir(), suffix=".values") as file:
        file.write(sys.stdin.buffer.read())
        file.flush()
        yield file.name


# -- as text -------------------------------------------------------------------------------------------------


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What has been made, and what could not be in it."""
    files = f" with {plural(answer['files'], 'file')}" if answer["files"] else ""
    when = "" if answer["mounted"] else "; the servers get it with the next mount"
    yield f"{printable(answer['object'])} is a new object{files}{when}."
    left_out = answer["left_out"]
    for one in left_out[:_MOST_LEFT_OUT]:
        yield f"Left out: {printable(one['path'])}, {printable(one['why'])}."
    if len(left_out) > _MOST_LEFT_OUT:
        yield f"Left out: {len(left_out) - _MOST_LEFT_OUT} more."
