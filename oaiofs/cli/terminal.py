"""The user at the terminal, where there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(*, confirm: bool = False) -> Callable[[str], str] | None:
    """How to ask the user for a secret, twice where *confirm*; None where nobody is there to answer."""
    if not sys.stdin.isatty():
        return None

    def prompt(question: str) -> str:
        answer: str = click.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
        return answer

    return prompt
