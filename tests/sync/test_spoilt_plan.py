"""Whole devices that decide by a spoilt table: what the stories ask in the end notices each row that loses something.

``core/test_plan`` spoils the tables against an oracle of its own; here everything around them is real, and what is
asked is only what users would ask: is each edit there, have all the same, does it come to rest. With ``--long`` each
row that a story meets is spoilt in each way, and what no story notices must be known in ``HARMLESS``.
"""

from __future__ import annotations

import logging
import multiprocessing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import pytest

from oaiofs.core import plan
from oaiofs.core.plan import Change, FileVerb, ObjectVerb
from tests.depth import is_long

from .test_devices import play

APART: list[tuple[Any, ...]] = [("offline", 1, True)]
TOGETHER: list[tuple[Any, ...]] = [("wait", 12.0), ("offline", 1, False), ("wait", 12.0)]
#: What two devices do, the second of them offline first where it says so. Both have A/f, and the value k.
STORIES: dict[str, list[tuple[Any, ...]]] = {
    "both edit a file": [*APART, ("write", 0, "A/f", False), ("write", 1, "A/f", False), *TOGETHER],
    "one edits a file, the other another": [
        *APART, ("write", 0, "A/f", False), ("write", 1, "A/g", False), *TOGETHER, ("write", 1, "A/d/h", False),
    ],
    "one edits a file that the other deletes": [*APART, ("delete", 0, "A/f"), ("write", 1, "A/f", True), *TOGETHER],
    "one deletes a file that the other edits": [*APART, ("write", 0, "A/f", True), ("delete", 1, "A/f"), *TOGETHER],
    "one deletes a file, the other edits another": [
        ("write", 0, "A/g", False), ("wait", 12.0), *APART, ("write", 0, "A/g", False), ("delete", 1, "A/f"), *TOGETHER,
    ],
    "a file is deleted, another is edited": [
        *APART, ("delete", 0, "A/f"), ("write", 1, "A/g", False), *TOGETHER, ("wait", 40.0), ("write", 0, "A/g", False),
    ],
    "both delete a file": [*APART, ("delete", 0, "A/f"), ("delete", 1, "A/f"), *TOGETHER],
    "both set a value": [*APART, ("set_value", 0, "A", "k"), ("set_value", 1, "A", "k"), *TOGETHER],
    "both set values": [*APART, ("set_value", 0, "A", "k"), ("set_value", 1, "A", "l"), *TOGETHER],
    "both make an object": [*APART, ("make", 0, "B"), ("write", 0, "B/f", False), ("make", 1, "B"), *TOGETHER],
    "one removes an object": [("remove_object", 0, "A"), ("wait", 40.0), ("wait", 40.0)],
    "one removes an object that the other edits": [
        *APART, ("remove_object", 0, "A"), ("write", 1, "A/f", False), *TOGETHER, ("wait", 40.0), ("wait", 40.0),
    ],
    "one edits an object that the other removes": [
        *APART, ("write", 0, "A/f", False), ("remove_object", 1, "A"), *TOGETHER, ("wait", 40.0),
    ],
    "both remove an object": [*APART, ("remove_object", 0, "A"), ("remove_object", 1, "A"), *TOGETHER, ("wait", 40.0)],
    "an answer is lost": [
        ("fault", 0, "upload", True), ("write", 0, "A/f", False), ("wait", 2.06), ("write", 0, "A/g", False),
        ("wait", 12.0), ("wait", 40.0),
    ],
}  # fmt: skip


SAME, EDITED, GONE = Change.SAME, Change.EDITED, Change.GONE
#: What each side did to a path, or why an object's row says what it says -> the stories that meet this row.
Row: TypeAlias = "tuple[Change, Change] | str"
MET: dict[Row, tuple[str, ...]] = {
    (SAME, SAME): ("both edit a file", "both set values"),
    (SAME, EDITED): ("both edit a file", "one edits a file, the other another"),
    (SAME, GONE): ("a file is deleted, another is edited",),
    (EDITED, SAME): ("one edits a file, the other another",),
    (EDITED, EDITED): ("both edit a file",),
    (EDITED, GONE): ("one edits a file that the other deletes",),
    (GONE, SAME): ("one deletes a file, the other edits another",),
    (GONE, EDITED): ("one deletes a file that the other edits",),
    (GONE, GONE): ("both delete a file",),
    "gone on both sides": ("both remove an object",),
    "somebody's edit is worth more than this deletion": ("one edits an object that the other removes",),
    "removed here, unchanged there": ("one removes an object", "both remove an object"),
    "made here and never seen there": ("both make an object",),
    "what nobody else has is never dropped": ("one removes an object that the other edits",),
    "deleted there or no longer shared; the trash can restore it": ("one removes an object",),
    "our own version: its reply was lost": ("an answer is lost",),
    "only the other side moved": ("both edit a file", "one edits a file, the other another"),
    "both sides moved": ("both set a value", "both edit a file"),
    "both sides are as agreed": ("both edit a file",),
    "only this side moved": ("both edit a file", "both set values"),
}

_V, _F = ObjectVerb, FileVerb
#: Rows spoilt so that an edit is lost, or devices stay different for good.
HARMFUL: list[tuple[Row, FileVerb | ObjectVerb]] = [
    ((SAME, EDITED), _F.KEEP),
    ((SAME, EDITED), _F.NOTHING),
    ((EDITED, SAME), _F.TAKE),
    ((EDITED, SAME), _F.DROP),
    ((EDITED, EDITED), _F.TAKE),
    ((EDITED, EDITED), _F.KEEP),
    ((EDITED, EDITED), _F.DROP),
    ((EDITED, GONE), _F.DROP),
    ((EDITED, GONE), _F.NOTHING),
    ((GONE, EDITED), _F.KEEP),
    ((GONE, EDITED), _F.NOTHING),
    ("somebody's edit is worth more than this deletion", _V.DELETE),
    ("made here and never seen there", _V.LEAVE),
    ("what nobody else has is never dropped", _V.LEAVE),
    ("what nobody else has is never dropped", _V.FORGET),
    ("our own version: its reply was lost", _V.NOTHING),
    ("only the other side moved", _V.NOTHING),
    ("both sides moved", _V.LEAVE),
    ("both sides moved", _V.PUSH),
    ("both sides moved", _V.NOTHING),
    ("only this side moved", _V.LEAVE),
]


#: Rows spoilt so that no edit is lost and all come to rest: nothing asks for the verb, the next look puts it right,
#: what left the mount comes back by itself, or at worst a deletion is undone. ``core/test_plan`` notices those too.
HARMLESS: dict[Row, frozenset[FileVerb | ObjectVerb]] = {
    (SAME, SAME): frozenset({_F.TAKE, _F.MOVE, _F.ADOPT, _F.KEEP}),
    (SAME, GONE): frozenset({_F.NOTHING, _F.MOVE, _F.ADOPT, _F.KEEP}),
    (EDITED, SAME): frozenset({_F.NOTHING, _F.MOVE, _F.ADOPT}),
    (GONE, SAME): frozenset({_F.TAKE, _F.KEEP_BOTH}),
    (GONE, EDITED): frozenset({_F.KEEP_BOTH}),
    (GONE, GONE): frozenset({_F.MOVE, _F.ADOPT, _F.KEEP}),
    "gone on both sides": frozenset({_V.LEAVE, _V.KEEP_ORPHAN, _V.RESURRECT}),
    "somebody's edit is worth more than this deletion": frozenset({_V.LEAVE, _V.KEEP_ORPHAN, _V.FORGET}),
    "removed here, unchanged there": frozenset({_V.LEAVE, _V.KEEP_ORPHAN, _V.RESURRECT, _V.FORGET}),
    "made here and never seen there": frozenset({_V.PUSH}),
    "deleted there or no longer shared; the trash can restore it": frozenset({_V.KEEP_ORPHAN}),
    "our own version: its reply was lost": frozenset({_V.PULL, _V.MERGE}),
    "only the other side moved": frozenset({_V.MERGE, _V.LEAVE}),
    "both sides moved": frozenset({_V.PULL}),
    "both sides are as agreed": frozenset(_V) - {_V.NOTHING},
    "only this side moved": frozenset({_V.REGISTER}),
}


@dataclass(frozen=True)
class Spoilt:
    """One row of a table, with another verb than its own."""

    row: Row
    verb: FileVerb | ObjectVerb

    def __str__(self) -> str:
        if isinstance(self.row, str):
            return f"{self.row}: {self.verb.value} instead of {_object_rows()[self.row].verb.value}"
        here, there = self.row
        return f"{here.value} here, {there.value} there: {self.verb.value} instead of {plan.FILE_TABLE[self.row].value}"

    def put_in_force(self) -> None:
        """For the rest of this process."""
        if isinstance(self.row, str):
            spoilt = replace(_object_rows()[self.row], verb=self.verb)  # type: ignore[arg-type]
            plan.OBJECT_TABLE = tuple(spoilt if row.why == self.row else row for row in plan.OBJECT_TABLE)
            plan._deciding_row.cache_clear()
        else:
            plan.FILE_TABLE = {**plan.FILE_TABLE, self.row: self.verb}  # type: ignore[dict-item]


def _object_rows() -> dict[str, plan.Row]:
    return {row.why: row for row in plan.OBJECT_TABLE}


def every_spoilt_row() -> list[Spoilt]:
    """Of those that the stories meet."""
    files = [Spoilt(row, verb) for row in plan.FILE_TABLE for verb in FileVerb]
    objects = [Spoilt(why, verb) for why in _object_rows() if why in MET for verb in ObjectVerb]
    right = {*plan.FILE_TABLE.items(), *((why, row.verb) for why, row in _object_rows().items())}
    return [one for one in (*files, *objects) if (one.row, one.verb) not in right]


# -- telling stories in another process, which may never come to an end ------------------------------------------------

LIMIT = 30.0  # seconds of a story that takes less than one
NO_END = "it comes to no end"


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


def tell_in_child(pipe: Connection, spoilt: Spoilt | None, stories: tuple[str, ...]) -> None:
    """Say what is wrong at the end of the first story that shows it, '' if nothing is."""
    errors = _Errors()
    logging.getLogger("oaiofs").addHandler(errors)
    if spoilt:
        spoilt.put_in_force()
    wrong = ""
    for story in stories:
        try:
            play(2, STORIES[story])
        except (Exception, pytest.fail.Exception) as error:
            wrong = f"{story}: {type(error).__name__}: {error}"
        wrong = wrong or errors.first
        if wrong:
            break
    pipe.send(wrong)


def noticed(spoilt: Spoilt | None, stories: tuple[str, ...]) -> str:
    """What is wrong at the end of these stories where devices decide by a *spoilt* table, '' if nothing is."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe()
    child = context.Process(target=tell_in_child, args=(there, spoilt, stories))
    child.start()
    there.close()
    try:
        return str(here.recv()) if here.poll(LIMIT * len(stories)) else NO_END
    finally:
        child.kill()
        child.join()
        here.close()


def test_with_the_right_tables_nothing_is_noticed() -> None:
    assert noticed(None, tuple(STORIES)) == ""


@pytest.mark.parametrize(("row", "verb"), HARMFUL, ids=str)
def test_a_row_that_loses_something_is_noticed(row: Row, verb: FileVerb | ObjectVerb) -> None:
    wrong = noticed(Spoilt(row, verb), MET[row])
    assert wrong not in ("", NO_END)


@pytest.mark.skipif(not is_long(), reason="takes minutes: with --long")
def test_each_spoilt_row_is_noticed_or_known_to_be_harmless() -> None:
    unnoticed = {one: noticed(one, MET[one.row]) for one in every_spoilt_row()}
    for one, wrong in unnoticed.items():
        print(f"{one}: {wrong.splitlines()[0] if wrong else 'nothing is noticed'}")
    harmless = {(one.row, one.verb) for one, wrong in unnoticed.items() if not wrong}
    assert harmless == {(row, verb) for row, verbs in HARMLESS.items() for verb in verbs}
