"""The command that looks for what keeps oaiofs from working here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from . import logs, terminal
from .places import account_options
from .words import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..doctor import Finding

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@account_options
@click.option("--password-file", metavar="F", help="Take the password from the first line of F.")
@click.option("--client-root", metavar="DIR", help="Where this machine keeps its copies.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@logs.verbose_option
def doctor(as_json: bool, **flags: Any) -> int:
    """Look for what keeps oaiofs from working here.

    FUSE, what is mounted, settings, the place for copies, the password, the server and its storage; with what to do.
    Nothing is changed. Exit code 1 where something is wrong. `oaiofs check` looks at what is kept on this machine.
    """
    from ..doctor import look

    findings = look(flags, terminal.ask())
    if as_json:
        seen = list(findings)
        click.echo(json.dumps({"findings": [asdict(one) for one in seen]}, indent=2))
    else:
        seen = []
        for one in findings:  # said as they are made: servers may take a while
            seen.append(one)
            click.echo("\n".join(_lines(one)))
        click.echo(_summary(seen))
    return 1 if any(one.state == "wrong" for one in seen) else 0


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_MARKS[finding.state]}  {printable(finding.what)}: {printable(finding.says)}"
    if finding.do:
        yield f"       {printable(finding.do)}"


def _summary(findings: Iterable[Finding]) -> str:
    wrong = sum(one.state == "wrong" for one in findings)
    return f"{plural(wrong, 'thing')} wrong." if wrong else "Nothing is wrong."
