"""The commands that look at a running mount and wait for it."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import control
from . import logs, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds between two looks of ``--watch``.
_REPAINT = 1.0
#: Seconds that a mount has for telling its status, which it keeps ready.
_STATUS_TIMEOUT = 10.0
_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.argument("mountpoint", required=False, type=click.Path(path_type=Path))
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="Give up after S seconds, with exit code 6.")
@click.option("--yes", is_flag=True, help="Removing many objects at once is meant: let it happen.")
@logs.verbose_option
def sync(mountpoint: Path | None, timeout: float | None, yes: bool) -> None:
    """Wait until both sides have every change.

    Every local one is on the servers then, and every remote one is here.
    """
    mount = control.find(mountpoint)
    answer = control.call(mount, "sync", timeout, yes=yes)
    if report.count(answer.get("needing_user")):
        click.echo(f"{mount.mountpoint}: what can go is on the servers; `oaiofs status` shows what needs you.")
    else:
        click.echo(f"{mount.mountpoint}: every change is on the servers, and every one of theirs is known here.")


@click.command()
@click.argument("path", metavar="[MOUNTPOINT|PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (with --watch: one a line).")
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@logs.verbose_option
def status(path: Path | None, as_json: bool, watch: bool) -> None:
    """Tell how a mount does, or an object in it.

    For the object, give its PATH or that of a file in it.
    """
    mount = control.find(path)
    arguments = _object_argument(mount, path)

    def look() -> dict[str, Any]:
        return control.call(mount, "status", _STATUS_TIMEOUT, **arguments)

    if watch:
        _watch(look, as_json=as_json, whole=not arguments)
    elif as_json:
        click.echo(json.dumps(look(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_text(look(), whole=not arguments)))


def _object_argument(mount: control.RunningMount, path: Path | None) -> dict[str, str]:
    """What of the mount *path* means: nothing for the mountpoint itself, else the path inside of it."""
    if path is None:
        return {}
    for candidate in (Path(os.path.abspath(path)), control.resolve(path)):
        if candidate.is_relative_to(mount.mountpoint):
            inside = candidate.relative_to(mount.mountpoint)
            return {"path": str(inside)} if inside.parts else {}
    return {}


def _text(answer: Mapping[str, Any], *, whole: bool) -> list[str]:
    now = datetime.now(UTC)
    return report.lines(answer, now) if whole else report.object_lines(answer, now)


def _watch(look: Callable[[], dict[str, Any]], *, as_json: bool, whole: bool) -> None:
    """Repaint a terminal; anything else gets one line for each change."""
    repaint = sys.stdout.isatty() and not as_json
    before = ""
    while True:
        answer = look()
        if repaint:
            now = "\n".join(_text(answer, whole=whole))
            click.echo(_CLEAR + now)
        else:
            now = json.dumps(answer, ensure_ascii=False) if as_json else report.summary(answer, datetime.now(UTC))
            if now != before:
                click.echo(now)
        before = now
        time.sleep(_REPAINT)
