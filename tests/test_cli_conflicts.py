"""`oaiofs conflicts`: its words, and the command on a client root that nothing mounts."""

from __future__ import annotations

import json
import os
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import objects, records, tree
from oaiofs.cache.records import ConflictRecord
from oaiofs.cache.store import Store
from oaiofs.cli import conflicts
from tests.clikit import home, oaiofs, refused

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")

S1 = "20260301120000000001"
COPY = f"letter (conflict laptop {S1}).txt"

FILE: dict[str, Any] = {
    "id": "3fa2b1c0", "object": "Notes", "oaio_id": "x", "kind": "file", "path": "letter.txt", "copy": COPY,
    "device": "laptop", "here": True, "stamp": S1, "time": "2026-03-01T12:00:05+00:00",
    "mine": {"path": COPY, "size": 7, "time": "2026-03-01T12:00:05+00:00", "local": True},
    "theirs": {"path": "letter.txt", "size": 8, "time": "2026-03-01T12:00:01+00:00", "local": False},
    "base": {"place": f"Digi/x/{S1}/letter.txt", "size": 3, "md5": "0" * 32},
    "texts": {"base": "old\n", "mine": "same\nof mine\n", "theirs": "same\nof\ttheirs\n"},
}  # fmt: skip
VALUE: dict[str, Any] = {
    "id": "1c0ffee0", "object": "Notes", "oaio_id": "x", "kind": "value", "path": ["two", "x"], "key": "two.x",
    "device": "laptop", "here": True, "stamp": S1, "time": "2026-03-01T12:00:05+00:00", "mine": 1.0, "theirs": None,
}  # fmt: skip


def lines(*found: dict[str, Any], whole: bool = False) -> list[str]:
    return conflicts.lines({"conflicts": list(found)}, whole=whole, zone=UTC)


def test_a_files_conflict_as_text() -> None:
    assert lines(FILE) == [
        "3fa2b1c0  Notes: letter.txt",
        f"  mine    {COPY}, 7 bytes, 2026-03-01 12:00:05   (of laptop, this device)",
        "  theirs  letter.txt, 8 bytes, 2026-03-01 12:00:01, not downloaded   (has the name)",
        f"  base    on the storage host: Digi/x/{S1}/letter.txt, 3 bytes",
        "    --- theirs: letter.txt",
        f"    +++ mine: {COPY}",
        "    @@ -1,2 +1,2 @@",
        "     same",
        "    -of     theirs",
        "    +of mine",
        "",
        "1 conflict: `oaiofs conflicts ID… --keep mine|theirs|both` ends them, `--show` shows more.",
    ]
    assert lines(FILE, whole=True)[4:6] == ["  base:", "    old"]
    other = {**FILE, "here": False, "device": "phone", "base": None, "theirs": None, "missing": {"mine": "offline"}}
    assert lines({**other, "texts": {}})[1:5] == [
        f"  mine    {COPY}, 7 bytes, 2026-03-01 12:00:05   (of phone)",
        "  theirs  nothing has the name any more",
        "  base    phone may know it",
        "  mine can't be shown: offline",
    ]


def test_a_values_conflict_as_text() -> None:
    assert lines(VALUE)[:4] == [
        "1c0ffee0  Notes: the value two.x",
        "  mine    1.0   (laptop, this device, 2026-03-01 12:00:05)",
        "  theirs  null   (has the place)",
        "  base    nothing",
    ]


def test_what_others_named_and_wrote_can_not_move_the_terminal() -> None:
    evil = "\x1b[2J\x9b\u202e\ud800"
    told = {**FILE, "object": evil, "path": evil, "device": evil, "texts": {"mine": evil, "theirs": "a"}}
    value = {**VALUE, "mine": evil, "key": evil, "object": evil}
    text = "".join([
        *lines(told, value, whole=True),
        *(conflicts.ended_lines({"resolved": [told, value]}, keep)[0] for keep in ("mine", "theirs", "both")),
    ])  # fmt: skip
    assert not set(evil) - set("[2J") & set(text)


def test_long_values_and_texts_are_cut_unless_all_is_wanted() -> None:
    long = {**VALUE, "mine": "x" * 1000}
    assert len(lines(long)[1]) < 400
    assert "x" * 1000 in lines(long, whole=True)[1]
    many = {**FILE, "texts": {"mine": "".join(f"{n}\n" for n in range(100)), "theirs": ""}}
    assert "  … and 63 more lines" in lines(many)
    assert "    +99" in lines(many, whole=True)
    huge = {**FILE, "texts": {"mine": "\n" * 3000, "theirs": ""}}
    assert lines(huge)[4].startswith("  more than 2000 lines")
    assert lines({**FILE, "texts": {"mine": "a", "theirs": "a\n"}})[4] == "  both have the same lines"


def test_what_was_done_as_text() -> None:
    def ended(keep: str, *found: dict[str, Any]) -> list[str]:
        return conflicts.ended_lines({"resolved": list(found)}, keep)

    both = {**FILE, "now": "letter (laptop).txt"}
    assert ended("mine", FILE, VALUE) == ["Notes: letter.txt: is what laptop wrote", "Notes: two.x: set to 1.0"]
    assert ended("theirs", FILE, VALUE) == [f"Notes: letter.txt: stays, {COPY} is removed", "Notes: two.x: stays null"]
    alone = {**FILE, "theirs": None}
    assert ended("theirs", alone) == [f"Notes: letter.txt: stays away, {COPY} is removed"], "nothing has the name"
    assert ended("both", both) == ["Notes: letter.txt: stays, and what laptop wrote is letter (laptop).txt"]
    assert ended("both", VALUE) == ["Notes: two.x: holds the items of both lists"]
    assert ended("mine") == ["No conflicts."]


# --------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def root(home: Path) -> Path:
    """A client root with a conflict of a file and one of a value."""
    path = home / "root"
    store = Store(path)
    store.state.set_meta("device_id", "laptop")
    head = objects.create(store, "Notes", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    for name, data in (("letter.txt", b"of phone\n"), (COPY, b"of laptop\n")):
        os.close(tree.create_file(store, head.ino, name, 0o644)[1])
        Path(store.files.absolute(f"objects/{head.folder}/{name}")).write_bytes(data)
    objects.set_values(store, head.key, {"_name": "Notes", "k": "theirs"})
    records.add_conflict(
        store.db, ConflictRecord(head.key, "value", '["k"]', "", '"base"', '"mine \\u001b"', '"theirs"', S1, 0.0)
    )  # fmt: skip
    store.close(clean=True)
    return path


def told(root: Path, *words: str) -> list[dict[str, Any]]:
    done = oaiofs("conflicts", "--client-root", root, "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["conflicts"]
    return found


def test_conflicts_are_shown_and_ended_without_a_mount(root: Path) -> None:
    of_file, of_value = told(root)
    assert (of_file["copy"], of_file["here"], of_value["mine"]) == (COPY, True, "mine \x1b")
    shown = oaiofs("conflicts", "--client-root", root)
    assert shown.returncode == 0, shown.stderr
    assert "    -of phone\n    +of laptop\n" in shown.stdout
    assert "2 conflicts:" in shown.stdout
    assert "\x1b" not in shown.stdout
    done = oaiofs("conflicts", "--client-root", root, of_value["id"][:6], "--keep", "mine")
    assert (done.returncode, done.stderr) == (0, "")
    assert [one["id"] for one in told(root)] == [of_file["id"]]
    done = oaiofs("conflicts", "--client-root", root, "Notes/letter.txt", "--keep=both")
    assert done.stdout == "Notes: letter.txt: stays, and what laptop wrote is letter (laptop).txt\n"
    assert told(root) == []
    assert oaiofs("conflicts", "--client-root", root).stdout == "No conflicts.\n"
    (work,) = (path for path in (root / "objects").iterdir() if path.is_dir())
    assert json.loads((work / "values.json").read_text())["k"] == "mine \x1b"
    assert sorted(path.name for path in work.iterdir()) == ["letter (laptop).txt", "letter.txt", "values.json"]


def test_all_of_them_are_ended_as_json(root: Path) -> None:
    done = oaiofs("conflicts", "--client-root", root, "--all", "--keep", "theirs", "--json")
    assert {one["kind"] for one in json.loads(done.stdout)["resolved"]} == {"file", "value"}
    assert told(root) == []


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--keep", "mine"], 2, "which conflicts are to end"),
        (["--all"], 2, "--all is for ending conflicts"),
        (["Notes", "--all", "--keep", "mine"], 2, "Either name the conflicts or give --all"),
        (["nonsense"], 1, "is no conflict, object or path here"),
        (["--all", "--keep", "both"], 2, "only two lists can be joined"),
        (["--mountpoint", "nowhere"], 3, "not mounted"),
    ],
)
def test_what_is_refused(root: Path, words: list[str], code: int, part: str) -> None:
    place = [] if "--mountpoint" in words else ["--client-root", root]
    refused(oaiofs("conflicts", *place, *words), code, part)
    assert len(told(root)) == 2


def test_the_help_says_who_mine_is() -> None:
    text = " ".join(oaiofs("conflicts", "--help").stdout.split())
    assert "the conflict copy whose name has the device that made it" in text
