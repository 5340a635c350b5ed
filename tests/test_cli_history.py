"""The words of `oaiofs versions`, `restore` and `diff`: what the verbs tell in, lines out; and what is refused."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from oaiofs.cli import history
from tests.clikit import home, oaiofs, refused

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")

S1, S2 = "20260301120000000001", "20260302120000000002"
NOTHING: dict[str, Any] = {"added": [], "removed": [], "changed": [], "values": [], "more": 0}
ONE: dict[str, Any] = {
    "stamp": S1, "time": "", "current": False, "user": "alice", "device": "laptop", "app": "", "values_known": True,
    "incomplete": False, "files": 1, "bytes": 2048, "changes": {**NOTHING, "added": ["a", "b"], "values": ["_name"]},
}  # fmt: skip
EVIL = "\x1b[2J\x9b\u202e"


def test_versions_as_text_the_newest_last() -> None:
    names = [f"f{n}" for n in range(9)]
    other = {
        **ONE, "stamp": S2, "user": "", "device": "", "values_known": False, "incomplete": True, "current": True,
        "changes": {**NOTHING, "changed": names, "removed": ["a"]},
    }  # fmt: skip
    answer = {"object": "Notes", "path": "", "versions": [other, ONE]}
    assert list(history.version_lines(answer, UTC)) == [
        f"{S1}  2026-03-01 12:00:00  1 file, 2.0 KiB",
        "    by alice on laptop",
        "    + a, b",
        "    = values _name",
        f"{S2}  2026-03-02 12:00:00  1 file, 2.0 KiB",
        "    values not known; some of its files are gone; the version that is here",
        "    - a",
        "    ~ f0, f1, f2, f3, f4 and 4 more",
    ]
    assert list(history.version_lines({**answer, "path": "a/b", "versions": []})) == [
        "No version of Notes/a/b is known."
    ]  # fmt: skip


def test_restores_as_text() -> None:
    answer = {
        "object": "Notes", "version": S1, "restored_files": 0, "removed_files": 0, "values": False,
        "values_known": False,
    }  # fmt: skip
    assert list(history.restored_lines(answer)) == [
        f"Notes: as in version {S1}: nothing had to be changed.",
        "The values of that version are known neither to the server nor here: they are as they were.",
    ]


def test_differences_as_text() -> None:
    answer = {
        "object": "Notes", "from": S1, "to": "",
        "files": [
            {"path": "a", "what": "added", "size": 5}, {"path": "b", "what": "removed", "size": 2048},
            {"path": "c", "what": "changed", "size": 2, "old_size": 1, "binary": True},
            {"path": "d", "what": "changed", "size": 2, "old_size": 1, "large": True},
            {"path": "e", "what": "changed", "size": 2, "old_size": 1, "old": "1\n2\n", "new": "1\n3\n"},
            {"path": "f", "what": "changed", "size": 2, "old_size": 1, "old": "1\n", "new": "1"},
            {"path": "g", "what": "changed", "size": 2, "old_size": 1, "old": "\n" * 3000, "new": "1"},
        ],
        "values": {"path": "values.json", "old": "{}\n", "new": "{1}\n"},
    }  # fmt: skip
    assert list(history.diff_lines(answer)) == [
        "Only in now: a (5 B)", f"Only in {S1}: b (2.0 KiB)", "Binary files c differ (1 B and 2 B)",
        "Large files d differ (1 B and 2 B)",
        f"--- e   {S1}", "+++ e   now", "@@ -1,2 +1,2 @@", " 1", "-2", "+3",
        "Files f differ in how their lines end", "Large files g differ (more than 2000 lines)",
        f"--- values.json {S1}", "+++ values.json now", "@@ -1 +1 @@", "-{}", "+{1}",
    ]  # fmt: skip
    unknown = {**answer, "files": [], "values": {"unknown": [S1, ""]}}
    assert list(history.diff_lines(unknown)) == [f"Values can't be compared: those of {S1}, now are not known"]


def test_what_others_named_and_wrote_can_not_move_the_terminal() -> None:
    changes = {**NOTHING, "added": [EVIL], "values": [EVIL]}
    text = [
        *history.version_lines(
            {"object": EVIL, "path": "", "versions": [{**ONE, "user": EVIL, "device": EVIL, "changes": changes}]}
        ),
        *history.version_lines({"object": EVIL, "path": EVIL, "versions": []}),
        *history.diff_lines({
            "object": EVIL, "from": S1, "to": "", "values": {}, "files": [
                {"path": EVIL, "what": "added", "size": 1},
                {"path": EVIL, "what": "changed", "size": 1, "old_size": 1, "old": EVIL, "new": "a"},
            ],
        }),
        *history.restored_lines({
            "object": EVIL, "version": S1, "restored_files": 1, "removed_files": 1, "values": 1, "values_known": True,
        }),
    ]  # fmt: skip
    assert not set("\x1b\x9b\u202e") & set("".join(text))


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["versions"], 2, "Say what is meant"),
        (["versions", "a", "b"], 2, "Say what is meant"),
        (["versions", "a", "--yes"], 2, "for `oaiofs versions prune"),
        (["versions", "prune", "a", "--keep", "0"], 2, "--keep"),
        (["versions", "prune", "a", "--older-than", "-1"], 2, "--older-than"),
        (["versions", "a", "--mountpoint", "nowhere"], 3, "not mounted"),
        (["restore", "a", "--version", S1, "--mountpoint", "nowhere"], 3, "not mounted"),
    ],
)
def test_what_is_refused(words: list[str], code: int, part: str) -> None:
    refused(oaiofs(*words), code, part)
