"""A status as text: what a user reads, for statuses of all kinds and of other versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from oaiofs.cli import report
from oaiofs.status import refusals

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)


def entry(name: str, state: str = "synced", /, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "state": state, "stamp": "20261122120000000000", "right": "C", **more}


def status(*objects: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "mountpoint": "/home/al/oaio",
        "server": "https://oaio.example.org",
        "user": "alice",
        "device_id": "laptop",
        "online": True,
        "pending": 0,
        "pending_since": None,
        "conflicts": 0,
        "errors": 0,
        "objects": list(objects),
        **more,
    }


def lines(*objects: dict[str, Any], **more: Any) -> list[str]:
    return report.lines(status(*objects, **more), NOW, UTC)


def test_a_mount_in_order() -> None:
    assert lines(entry("notes"), entry("Äpfel", "online-only")) == [
        "/home/al/oaio: alice at https://oaio.example.org, device laptop",
        "online, every change is on the servers",
        "",
        "2 objects: 1 online-only, 1 synced",
        "  notes",
        "  Äpfel",
    ]


def test_how_much_is_here_is_told() -> None:
    sizes = {"total_bytes": 3 << 30, "local_bytes": 1 << 29, "pinned_bytes": 1000}
    text = lines(entry("a"), **sizes, cache_size=1 << 30, cache_free=5 << 30)
    assert text[2] == (
        "  512 MiB of 3.0 GiB on this machine, 1.0 KiB pinned; 1.0 GiB may be here; 5.0 GiB of the disk stays free"
    )
    assert lines(entry("a"), **{**sizes, "pinned_bytes": 0})[2] == "  512 MiB of 3.0 GiB on this machine"
    assert lines(entry("a"), total_bytes=0, local_bytes=0) == lines(entry("a")), "nothing to tell where nothing is"
    [line] = [line for line in report.object_lines(status(entry("a", **sizes)), NOW, UTC) if "files" in line]
    assert line == "  files    512 MiB of 3.0 GiB on this machine, 1.0 KiB pinned"


def test_what_needs_the_user_comes_first_then_what_is_on_its_way() -> None:
    text = lines(
        entry("a"),
        entry("b", "pushing"),
        entry("c", "draft", error="values.json, line 3, column 7: a comma is missing."),
        entry("d", "dirty"),
        entry("e", "conflict"),
        entry("f", "error", error="the storage is full"),
        pending=2,
        pending_since=NOW.timestamp() - 7300,
        conflicts=1,
        errors=2,
    )
    assert text[1] == "online, 2 changes pending since 12:28 (2 hours ago), 1 conflict, 2 errors"
    names = [line.split()[0] for line in text if line.startswith("  ") and line[2] != " "]
    assert names == ["f", "e", "c", "d", "b", "a"]
    assert "the storage is full" in text[4]
    assert any("line 3, column 7" in line for line in text)
    assert text.index("Needs you:") < text.index("On the way:") < text.index("6 objects: 1 synced")


def test_a_long_message_is_wrapped_under_its_column() -> None:
    text = lines(entry("a", "error", error="word " * 60))
    wrapped = [line for line in text if "word" in line]
    assert len(wrapped) > 2
    assert all(len(line) <= 100 for line in wrapped)
    assert len({line.index("word") for line in wrapped}) == 1


def test_thousands_of_objects_are_counted_but_every_troubled_one_is_listed() -> None:
    text = lines(
        *(entry(f"s{number}") for number in range(10_000)),
        *(entry(f"d{number}", "dirty") for number in range(50)),
        *(entry(f"c{number}", "conflict") for number in range(40)),
    )
    assert len([line for line in text if line.startswith("  c")]) == 40
    assert len([line for line in text if line.startswith("  d")]) == 10
    assert "  … and 40 more" in text
    assert "10090 objects: 10000 synced" in text
    assert len(text) < 70


def test_offline_and_for_long() -> None:
    text = lines(online=False, pending=1, pending_since=(NOW - timedelta(days=3)).isoformat())
    assert text[1] == "offline, 1 change pending since 2026-11-19 14:30 (3 days ago)"


def test_errors_of_the_whole_mount_are_shown() -> None:
    text = lines(errors=["The listing was empty: nothing was removed.", {"path": "a/../b", "why": "leaves its object"}])
    assert "  error: The listing was empty: nothing was removed." in text
    assert "  error: a/../b: leaves its object" in text
    assert text[1].endswith("2 errors")


def test_the_error_of_an_object_is_shown_once() -> None:
    text = lines(entry("a", "error", error="too large"), errors=[{"name": "a", "message": "too large"}])
    assert len([line for line in text if "too large" in line]) == 1


def test_what_another_user_wrote_can_not_drive_the_terminal() -> None:
    text = "\n".join(lines(entry("a\x1b[2J\nfake", "error", error="b\x1b]0;c\x07"), errors=["d\x9b1m"]))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\nfake" not in text


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"objects": None},
        {"objects": [3, None, {}]},
        {"objects": [{"name": None, "id": None, "state": 7, "error": {"what": "x"}}]},
        {"pending": "many", "pending_since": "soon", "errors": {"a": 1}, "conflicts": True},
        {"pending": 1, "pending_since": float("nan")},
        {"pending": 1, "pending_since": 1e300},
        {"pending": [1, 2], "pending_since": "20261122120000000000"},
    ],
)
def test_a_status_of_another_version_is_no_error(odd: dict[str, Any]) -> None:
    assert report.lines(odd, NOW, UTC)
    assert report.object_lines(odd, NOW, UTC)
    assert report.summary(odd, NOW, UTC)


def test_one_object_in_full() -> None:
    shown = report.object_lines(status(entry("notes", "dirty", pending=True, error="later")), NOW, UTC)
    assert shown == [
        "notes: dirty (changed here, not on the servers yet)",
        "  id       id-notes",
        "  version  20261122120000000000 (2026-11-22 12:00:00)",
        "  right    C",
        "  error    later",
        "online, every change is on the servers",
    ]
    new = report.object_lines(status(entry("x", "dirty") | {"stamp": ""}), NOW, UTC)
    assert "  version  never on the servers yet" in new


def test_a_stamp_of_the_last_day_is_shown_in_every_time_zone() -> None:
    last = status(entry("x", "synced") | {"stamp": "99991231235959999999"})
    for hours in (-12, 0, 14):
        shown = report.object_lines(last, NOW, timezone(timedelta(hours=hours)))
        assert "99991231235959999999" in "\n".join(shown)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOW.timestamp(), NOW),
        (int(NOW.timestamp()), NOW),
        ("20261122143000000000", NOW),
        ("2026-11-22T14:30:00+00:00", NOW),
        ("2026-11-22T14:30:00Z", NOW),
        ("2026-11-22T14:30:00", NOW),
        (None, None),
        (True, None),
        ("", None),
        ([], None),
    ],
)
def test_times_in_every_shape(value: object, expected: datetime | None) -> None:
    assert report.moment(value) == expected


def test_what_waits_says_until_when_and_how_often_it_failed() -> None:
    text = lines(
        entry("a", "error", error="It stumbles.", failures=3, retry_in=3.6),
        entry("b", "error", error="It is full.", failures=1, retry_in=301.0),
    )
    assert any("It stumbles. (failed 3 times, tried again in 4 s)" in line for line in text)
    assert any("It is full. (failed once, tried again in 5 min)" in line for line in text)
    assert not any("oaiofs sync" in line for line in text), "the server is there"
    text = lines(online=False, errors=[{"message": "no connection"}], failures=2, next_look=0.4)
    assert text[2:4] == ["  error: no connection", "  tried again now (failed twice), or at once by `oaiofs sync`"]


def test_thousands_of_names_that_can_not_be_sent_are_not_all_told() -> None:
    told = [f"'a:{number}' can't be uploaded: rename it." for number in range(12)]
    assert refusals([]) == ""
    assert refusals(told[:10]) == " ".join(told[:10])
    assert refusals(told) == " ".join(told[:10]) + " And 2 more files can't be uploaded."


MOVING = {"object": "a", "path": "f", "direction": "up", "done": 1, "total": 2, "rate": None, "remaining": None}


def test_transfers_are_listed_between_what_needs_the_user_and_the_rest() -> None:
    text = lines(entry("a", "pushing", step="announcing"), entry("b", "draft", error="x"), transfers=[MOVING])
    titles = [line for line in text if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Needs you:", "Transfers:", "On the way:"]
    assert text[text.index("Transfers:") + 1].split()[:2] == ["a/f", "up"]
    assert text[text.index("On the way:") + 1].split() == ["a", "pushing", "announcing"]
    assert "Transfers:" not in lines(entry("a"), transfers=[])


def test_an_object_that_is_being_pushed_shows_its_step_and_transfers() -> None:
    shown = report.object_lines(status(entry("a", "pushing", step="announcing"), transfers=[MOVING]), NOW, UTC)
    assert "  now      announcing" in shown
    assert shown[-2].split()[:2] == ["a/f", "up"]


@pytest.mark.parametrize("width", [1, 5, 20, 40, 79, 99])
def test_narrow_terminals(width: int) -> None:
    some = status(
        entry("a b c", "dirty"), entry("b" * 60, "draft", error="no end of words " * 9), transfers=[MOVING]
    )
    text = report.lines(some, NOW, UTC, width)
    needs = text[text.index("Needs you:") + 1 : text.index("Transfers:") - 1]
    assert needs[0].startswith(f"  {'b' * 60}: draft")
    assert all(len(line) <= max(width, 10) for line in needs[1:])
