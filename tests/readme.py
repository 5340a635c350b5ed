"""The README as tests read it: its section for developers, and the table there of what the existing client can do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
FOR_DEVELOPERS = README.split("## For developers\n")[1].split("\n## ")[0]


class Row(NamedTuple):
    """What does the same in the library, as a command and in the mount."""

    library: str
    command: str
    mount: str


def interop_table() -> dict[str, Row]:
    """The rows by what the existing client has: a name without arguments, or a few words."""
    _, body = FOR_DEVELOPERS.split("| existing client | library | command | in the mount |\n")
    lines = body.split("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {re.sub(r"\(.*\)", "", first).replace("`", ""): Row(*others) for first, *others in cells}
