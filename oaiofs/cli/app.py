"""The command group: which commands there are, and how one of them is run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from .. import errors
from . import (
    accounts,
    adding,
    checking,
    conflicts,
    copies,
    doctoring,
    failures,
    history,
    importing,
    logs,
    mounting,
    objects,
    serving,
    sharing,
    trash,
    values,
    watching,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: tuple[click.Command, ...] = (
    mounting.demo,
    accounts.login,
    mounting.mount,
    mounting.umount,
    watching.sync,
    watching.status,
    objects.ls,
    adding.add,
    objects.rm,
    values.get,
    values.set_,
    sharing.users,
    sharing.share,
    sharing.unshare,
    accounts.wipe_user,
    checking.check,
    doctoring.doctor,
    conflicts.conflicts,
    copies.pin,
    copies.unpin,
    copies.evict,
    trash.trash,
    history.versions,
    history.restore,
    history.diff,
    importing.import_,
    serving.server,
)

_EXIT_CODES = """\b
Exit codes:
  0  done                       4  user name or password not accepted
  1  failed                     5  server unreachable
  2  the command's words        6  timed out, changes still pending
  3  not mounted                7  refused, nothing done: --yes releases it
"""


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from .. import __version__

        click.echo(f"oaiofs {__version__}")
        context.exit()


@click.group(
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@logs.verbose_option
def oaiofs() -> None:
    """Your oaio objects as directories.

    `oaiofs demo` shows it without any account; `oaiofs login HOST --user NAME` and `oaiofs mount MOUNTPOINT` begin
    with yours.
    """


for command in COMMANDS:
    oaiofs.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is its exit code, and what went wrong has been said on standard error."""
    verbosity = logs.Verbosity()
    try:
        answer = oaiofs.main(arguments, prog_name="oaiofs", standalone_mode=False, obj=verbosity)
    except BrokenPipeError:
        _drop_output()
        return errors.OaiofsError.exit_code
    except (Exception, KeyboardInterrupt) as error:
        return failures.explain(error, verbosity.level)
    return answer if isinstance(answer, int) else 0


def _drop_output() -> None:
    """Whoever read our output has enough: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
