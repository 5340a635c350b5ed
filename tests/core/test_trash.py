"""Notes of the trash: read as they are written, hostile ones, and what follows from them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from oaiofs.core import trash
from oaiofs.core.model import FileFact, OaioId, Stamp
from oaiofs.core.trash import Kept, Note, What
from oaiofs.errors import NotFound, StateError, UsageError

NOW = 1_780_000_000.0
DAY = 86_400.0
NOTE = Note(
    What.OBJECT, "Größe", NOW, "removed here", oaio_id=OaioId("an id"), stamp=Stamp("20260101000000000000"),
    values={"_name": "Größe", "n": 1.0, "deep": {"a": [None, True]}}, shown={"_name": "Größe"},
    files={"a.txt": Kept(FileFact(5, "0" * 32, 7)), "d/b": Kept(FileFact(1, "", 0), "Digi/id/20260101000000000000/b")},
    csh_id="Digi", sidecar="values~.json", device_id="one",
)  # fmt: skip


def written(**changes: Any) -> bytes:
    return json.dumps({**json.loads(trash.dump(NOTE)), **changes}).encode()


def test_a_note_is_read_as_it_was_written() -> None:
    assert trash.load(trash.dump(NOTE)) == NOTE
    surrogates = Note(What.FILES, "x", NOW, "w", values={"k": "\ud800"})
    assert trash.load(trash.dump(surrogates)) == surrogates


def test_a_note_of_the_first_version_is_read() -> None:
    raw = {
        "name": "Notes", "oaio_id": None, "stamp": None, "values": {"_name": "Notes"}, "csh_id": "Digi",
        "files": {"a": [1, "ab", 2]}, "removed_at": NOW, "why": "removed here",
    }  # fmt: skip
    note = trash.load(json.dumps(raw).encode())
    assert (note.what, note.name, note.problems) == (What.OBJECT, "Notes", ())
    assert note.files == {"a": Kept(FileFact(1, "ab", 2))}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"what": "planet"}', b'{"what": []}', b"[" * 100_000,
        b'{"values": {"k": NaN}}', b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'"' + b"x" * trash.MAX_NOTE_BYTES + b'"',
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_what_is_no_note_is_told(data: bytes) -> None:
    with pytest.raises(StateError, match="its note"):
        trash.load(data)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "", "a/../../b", "a\0b", "a//b", "./a", "x" * 5000, "a.txt/b", ".versions/x"]
)
def test_a_path_that_leads_elsewhere_is_left_out_and_told(path: str) -> None:
    note = trash.load(written(files={"a.txt": [1, "", 0], path: [1, "", 0]}))
    assert set(note.files) == {"a.txt"}
    assert "1 of its files" in note.problems[0]


@pytest.mark.parametrize(
    "fact",
    [
        None, {}, [], [1], [1, ""], [1, "", "0"], [-1, "", 0], [1, "XY", 0], [2**70, "", 0], [1, "", 2**70],
        [1, "", 0, 5], [1, "", 0, "x"], [1, "", 0, "Digi/id/../../x"], [1, "", 0, "", ""], ["1", "", 0],
    ],
    ids=repr,
)  # fmt: skip
def test_facts_that_are_none_are_left_out_and_told(fact: object) -> None:
    note = trash.load(written(files={"a.txt": fact}))
    assert note.files == {}
    assert note.problems


@pytest.mark.parametrize("wrong", [5, [], {"a": 1}, True, "\ud800", "x" * 5000], ids=lambda wrong: repr(wrong)[:20])
@pytest.mark.parametrize("key", ["oaio_id", "csh_id", "dialect", "sidecar", "device_id"])
def test_texts_that_are_none_are_not_used(key: str, wrong: object) -> None:
    note = trash.load(written(**{key: wrong}))
    assert getattr(note, key) in ("", None, "classic")
    assert note.problems


@pytest.mark.parametrize("name", ["a.txt", "../values.json", "values.json/x", "d/values.json"])
def test_only_a_sidecar_is_taken_for_one(name: str) -> None:
    assert trash.load(written(sidecar=name)).sidecar == ""


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "a\0\n\x1b[31m", "x" * 4000])
def test_a_hostile_name_is_made_one(name: str) -> None:
    shown = trash.load(written(name=name)).name
    assert "/" not in shown
    assert shown not in ("", ".", "..")
    assert shown.isprintable()
    assert len(shown.encode()) <= 255


def test_values_that_are_none_are_not_used() -> None:
    note = trash.load(written(values=[1], shown="x", files=7))
    assert (note.values, note.shown, note.files) == ({}, {}, {})
    assert len(note.problems) == 3


# ---------------------------------------------------------------------------------------- what follows


def removed(at: float) -> Note:
    return Note(What.OBJECT, "x", at, "")


@pytest.mark.parametrize(
    ("at", "days", "expected"),
    [
        (NOW, 30, NOW + 30 * DAY),
        (NOW, 0.5, NOW + DAY / 2),
        (NOW, 0, None),  # for ever
        (math.nan, 30, None),
        (0.0, 30, None),  # a clock that had not been set
        (1.6e9, 30, None),  # 2020: before there were any stamps
        (NOW + 1e9, 30, NOW + 1e9 + 30 * DAY),
    ],
)
def test_purge_time(at: float, days: float, expected: float | None) -> None:
    assert trash.purge_time(removed(at), days) == expected


@pytest.mark.parametrize("raw", [None, "yesterday", True, [], 1e300])
def test_a_removal_at_an_unknown_time_is_never_long_ago(raw: object) -> None:
    note = trash.load(written(removed_at=raw))
    assert trash.purge_time(note, 30) is None
    assert note.problems


def test_names_and_entries_are_told_apart() -> None:
    entries = {"Notes.1": "Notes", "Notes.4": "Notes", "Diary.2": "Diary", "x": "Notes.1"}
    assert trash.choose("Diary", entries) == "Diary.2"
    assert trash.choose("Diary.2", entries) == "Diary.2"
    assert trash.choose("Notes.1", entries) == "Notes.1", "an entry's own name comes first"
    with pytest.raises(UsageError, match=r"'Notes\.1', 'Notes\.4'"):
        trash.choose("Notes", entries)
    with pytest.raises(NotFound, match="trash list"):
        trash.choose("../Notes", entries)


def test_an_entry_without_a_note_is_called_after_its_folder() -> None:
    note = trash.unknown("Meeting notes.v2.17", "it has no note")
    assert (note.name, note.values) == ("Meeting notes.v2", {"_name": "Meeting notes.v2"})
    assert note.problems == ("it has no note",)
    assert trash.purge_time(note, 30) is None
