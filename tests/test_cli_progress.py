"""Transfers as text, and waiting with progress shown: what people read, whatever the mount says."""

from __future__ import annotations

import io
import itertools
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs import control, errors
from oaiofs.cli import live, progress, waiting, words

ODD: list[Any] = [None, True, -1, 1e300, float("nan"), "7", [], {}, [None], "\x1b[31m[red]", {"x": 1}]
odd = st.sampled_from(ODD)


def transfer(**changes: Any) -> dict[str, Any]:
    plain = {"object": "notes", "path": "a/b.txt", "direction": "up", "done": 1 << 20, "total": 4 << 20}
    return {**plain, "rate": 512 * 1024, "remaining": 6.0, **changes}


def line(width: int = 100, **changes: Any) -> str:
    (found,) = progress.transfer_lines({"transfers": [transfer(**changes)]}, width)
    return found


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (120, ["notes/a/b.txt", "up    [##--------]   25%      1.0 MiB of 4.0 MiB     512 KiB/s       6 s left"]),
        (90, ["notes/a/b.txt", "up     25%      1.0 MiB of 4.0 MiB     512 KiB/s       6 s left"]),
        (70, ["notes/a/b.txt", "up     25%      1.0 MiB of 4.0 MiB     512 KiB/s"]),
        (50, ["notes/…b.txt", "up     25%      1.0 MiB of 4.0 MiB"]),
        (30, ["notes/a/b.txt", "up     25%"]),
        (10, ["notes/…b.txt", "up     25%"]),
    ],
)
def test_a_transfer_says_what_there_is_room_for(width: int, expected: list[str]) -> None:
    assert line(width).split(maxsplit=1) == expected


def test_what_nobody_knows_is_not_told() -> None:
    assert line(total=None, remaining=None).split() == ["notes/a/b.txt", "up", "1.0", "MiB", "512", "KiB/s"]
    assert line(rate=None, remaining=None, done=0).split()[-5:] == ["0", "B", "of", "4.0", "MiB"]
    assert line(done=9 << 20).split()[3] == "100%"
    assert line(total=0, done=0).split() == ["notes/a/b.txt", "up", "[----------]", "0", "B", "of", "0", "B", "512",
                                             "KiB/s", "6", "s", "left"]  # fmt: skip
    assert "…" not in line(path="")


def test_many_transfers_are_counted() -> None:
    lines = progress.transfer_lines({"transfers": [transfer(path=str(number)) for number in range(30)]}, 80)
    assert len(lines) == 9
    assert lines[-1] == "  … and 22 more"


@given(
    st.dictionaries(st.sampled_from(["object", "path", "direction", "done", "total", "rate", "remaining"]), odd),
    st.integers(1, 130),
)
def test_a_mount_of_another_version_is_no_error(changes: dict[str, Any], width: int) -> None:
    (found,) = progress.transfer_lines({"transfers": [transfer(**changes), None, 3]}, width)
    assert "\x1b" not in found
    assert words.cells(found) <= max(width, 30)


@given(
    st.dictionaries(st.sampled_from(["moved", "to_go", "pending", "incoming", "steps", "waiting", "transfers"]), odd),
    st.integers(1, 130),
)
def test_so_is_one_that_waits(brief: dict[str, Any], width: int) -> None:
    found = progress.waiting_line(brief, 0, width)
    assert "\x1b" not in found
    assert words.cells(found) <= width


@pytest.mark.parametrize(
    ("brief", "expected"),
    [
        ({}, "looking at the server"),
        ({"pending": 2, "incoming": 1}, "3 objects to go"),
        (
            {"moved": 3 << 20, "to_go": 3 << 20, "pending": 1, "transfers": [transfer(), transfer(rate=None)]},
            "[####------] 2.0 MiB of 5.0 MiB, 512 KiB/s, 6 s left, 1 object to go",
        ),
        ({"moved": 2 << 20, "to_go": 1 << 20}, "[#####-----] 1.0 MiB of 2.0 MiB"),
        ({"moved": 0, "to_go": 1 << 20}, "[----------] 0 B of 1.0 MiB"),  # it went back below the beginning
        (
            {"pending": 1, "steps": [{"object": "a\x1b[2J", "step": "announcing"}]},
            "1 object to go, announcing (a\N{REPLACEMENT CHARACTER}[2J)",
        ),
        ({"steps": [{"object": "a", "step": "announcing"}], "transfers": [transfer()]}, "looking at the server"),
        (
            {
                "pending": 3,
                "waiting": [
                    {"why": "retry", "objects": 2, "seconds": 7.6},
                    {"why": "quiet", "objects": 1, "seconds": 2.0},
                    {"why": "brake", "message": "…"},
                    {"why": "offline", "message": "…", "seconds": 240.0},
                    {"why": "something new"},
                ],
            },
            (
                "3 objects to go, 2 objects failed, tried again in 8 s, 1 object just changed, sent in 2 s, "
                "a brake holds removals: see `oaiofs status`, the server can't be reached, tried again in 4 min"
            ),
        ),
    ],
)
def test_what_is_waited_for(brief: dict[str, Any], expected: str) -> None:
    assert progress.waiting_line(brief, 1 << 20, 250) == expected


def test_what_had_travelled_before_is_none_of_it() -> None:
    first = {"moved": 9 << 20, "to_go": 6 << 20, "transfers": [transfer(), transfer()]}
    before = progress.moved_before(first)
    assert before == 7 << 20
    assert progress.waiting_line(first, before, 250).startswith("[##--------] 2.0 MiB of 8.0 MiB")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 B"), (-5, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (102_400, "100 KiB"),
        (1_048_576, "1.0 MiB"), (5 << 40, "5.0 TiB"), (5 << 60, "5242880 TiB"),
    ],
)  # fmt: skip
def test_amounts(number: int, expected: str) -> None:
    assert words.amount(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (-1, "0 s"), (99.4, "99 s"), (100, "2 min"), (5_900, "98 min"), (7_500, "2 h 5 min"),
     (200_000, "2 days")],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected


@given(st.text(), st.integers(0, 50))
def test_a_text_is_made_to_fit_from_both_ends(text: str, width: int) -> None:
    found = words.fitted(text, width)
    assert words.cells(found) <= max(width, 0)
    if words.cells(text) <= width:
        assert found == text
    elif width:
        head, _, tail = found.partition("…") if "…" not in text else (found[:0], "", found[:0])
        assert text.startswith(head)
        assert text.endswith(tail)


@given(st.text(), st.integers(2, 50))
def test_a_folded_text_is_all_there(text: str, width: int) -> None:
    lines = list(words.folded(text, width))
    assert "".join(lines) == text
    assert all(words.cells(line) <= width for line in lines)


def test_letters_that_take_two_cells_or_none() -> None:
    assert [words.cells(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]
    assert words.fitted("日本日本日本", 5) == "日…本"


def test_what_an_encoding_can_not_say() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert live.sayable("Größe … 日", stream) == "Größe ? ?"


def test_a_line_is_said_more_and_more_seldom() -> None:
    assert list(itertools.islice(waiting._silences(), 5)) == [10, 20, 40, 60, 60]


# -- waiting -----------------------------------------------------------------------------------------------------

MOUNT: Any = None


class Mount:
    """Answers as told: the long question once *asked* many short ones were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, asked: int, status: Any, answer: Any) -> None:
        self._left = asked
        self._status = status
        self._answer = answer
        self._over = threading.Event()
        self.heard: list[tuple[str, Any]] = []
        monkeypatch.setattr(control, "call", self.call)
        monkeypatch.setattr(waiting, "_REPAINT", 0.0)
        monkeypatch.setattr(waiting, "_FIRST_WORD", 0.0)

    def call(self, _mount: object, verb: str, timeout: float | None, **arguments: Any) -> dict[str, Any]:
        self.heard.append((verb, arguments))
        if verb != "status":
            assert self._over.wait(10)
            return self._given(self._answer)
        self._left -= 1
        if self._left <= 0:
            self._over.set()
        return self._given(self._status)

    def _given(self, answer: Any) -> dict[str, Any]:
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def test_who_is_no_terminal_hears_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mount = Mount(monkeypatch, 3, {"moved": 0, "to_go": 1 << 20, "pending": 1}, {"pending": 0})
    assert waiting.call(MOUNT, "sync", 5, quiet=False, yes=True) == {"pending": 0}
    said = capsys.readouterr()
    assert said.out == ""
    assert set(said.err.splitlines()) == {"oaiofs: [----------] 0 B of 1.0 MiB, 1 object to go"}
    assert mount.heard[0] == ("sync", {"yes": True})
    assert mount.heard[1] == ("status", {"brief": True})


@pytest.mark.parametrize("error", [errors.UsageError("older"), errors.NotMounted("it ends"), errors.TimedOut("busy")])
def test_a_mount_that_does_not_say_how_far_it_is_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    Mount(monkeypatch, 1, error, {"pending": 0})
    assert waiting.call(MOUNT, "umount", None, quiet=False) == {"pending": 0}
    assert capsys.readouterr().err == ""


def test_what_the_mount_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    Mount(monkeypatch, 2, {}, errors.Refused("a brake holds"))
    with pytest.raises(errors.Refused, match="a brake holds"):
        waiting.call(MOUNT, "sync", None, quiet=False)


def test_quiet_asks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount(monkeypatch, 1, {}, {"pending": 1})
    mount._over.set()
    assert waiting.call(MOUNT, "sync", None, quiet=True) == {"pending": 1}
    assert mount.heard == [("sync", {})]
