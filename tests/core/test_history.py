"""Versions: which are history, which one a word means, what changed, and which may go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs import errors
from oaiofs.core import history, stamps
from oaiofs.core.history import Changes, Told
from oaiofs.core.model import FileFact, Stamp

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def stamp(day: int) -> Stamp:
    """That many days ago."""
    return stamps.make(NOW - timedelta(days=day))


def shown(
    folders: Sequence[str], told: list[Told], agreed: Stamp | None = None, begin: Stamp | None = None
) -> list[str]:
    return [one.stamp for one in history.listed(folders, told, agreed, logged_from=begin)]


def test_of_a_log_all_that_is_stored_or_never_had_files_is_history() -> None:
    told = [
        Told(stamp(3), file_paths=("a",)), Told(stamp(2), file_paths=()), Told(stamp(1), file_paths=("gone",)),
    ]  # fmt: skip
    folders = [stamp(3), stamp(0), "x", "", stamp(9), f"{stamp(2)[:-1]}"]
    assert shown(folders, told, stamp(1), stamp(3)) == [stamp(9), stamp(3), stamp(2)]
    between = Stamp(f"{int(stamp(3)) + 1}")
    assert shown([*folders, between], told, stamp(1), stamp(3)) == [stamp(9), stamp(3), stamp(2)], "never announced"


def test_without_a_log_nothing_newer_than_the_agreed_version_is() -> None:
    told = [Told(stamp(2), file_paths=("a",)), Told(stamp(5), files=0), Told(stamp(6), files=3)]
    folders = [stamp(8), stamp(4), stamp(2), stamp(1)]
    assert shown(folders, told, stamp(2)) == [stamp(8), stamp(5), stamp(4), stamp(2)]
    assert shown(folders, [], None) == []


def test_only_announced_files_are_a_versions_files() -> None:
    facts = {path: FileFact(1, path) for path in ("a", "b/c", "stray")}
    told = Told(stamp(1), file_paths=("b/c", "a", "missing"))
    assert list(history.stored(told, facts).files) == ["a", "b/c"]
    assert history.stored(told, facts).lacking == 1
    assert history.stored(told, facts).bytes == 2
    unknown = history.stored(Told(stamp(1), files=5), {**facts, "../x": FileFact(1, ""), "a/b": FileFact(1, "")})
    assert list(unknown.files) == ["a", "b/c", "stray"]
    assert [one.what for one in unknown.left_out] == ["'../x'", "'a/b'"]
    assert unknown.lacking == 0


def test_a_recursive_listing_by_version() -> None:
    fact = FileFact(1, "")
    assert history.by_version({"s1/a": fact, "s1/b/c": fact, "s2/a": fact, "file": fact}) == {
        "s1": {"a": fact, "b/c": fact}, "s2": {"a": fact},
    }  # fmt: skip


KNOWN = ["20260101000000000001", "20260101000000000002", "20260201000000000000"]


@pytest.mark.parametrize(("word", "found"), [(KNOWN[0], KNOWN[0]), ("202602", KNOWN[2]), ("20260201", KNOWN[2])])
def test_a_version_by_the_beginning_of_its_stamp(word: str, found: str) -> None:
    assert history.choose(word, KNOWN) == found


def test_words_that_mean_none_or_several() -> None:
    with pytest.raises(errors.UsageError, match=f"{KNOWN[0]}, {KNOWN[1]}$"):
        history.choose("20260101", KNOWN)
    for word in ("", "x", "2027", "2026020100000000000x", "20260201000000000000 "):
        with pytest.raises(errors.NotFound):
            history.choose(word, KNOWN)
    with pytest.raises(errors.UsageError):
        history.choose("202", KNOWN[2:])


def test_what_changed() -> None:
    before = {"a": FileFact(1, "x"), "b": FileFact(1, "x"), "c": FileFact(1, "", 5), "d": FileFact(1, "", 5)}
    after = {"a": FileFact(1, "y"), "b": FileFact(1, "x", 9), "c": FileFact(1, "", 5), "d": FileFact(1, "", 5 * 10**9)}
    assert history.changes(before, {**after, "e": FileFact(0, "")}) == Changes(("e",), (), ("a", "d"))
    assert history.changes(before, {}).removed == ("a", "b", "c", "d")
    assert history.changes({}, {}, {"a": 1, "b": 2, "c": None}, {"a": 1.0, "b": 2, "d": 1}).values == ("a", "c", "d")
    assert not history.changes({}, {}, None, {"a": 1}), "what is not known is no change"
    assert not history.changes(before, before, {"a": 1}, {"a": 1})


def test_what_is_at_a_path() -> None:
    files = {path: FileFact(1, "") for path in ("a", "a/b", "ab", "c/a")}
    assert list(history.below(files, "")) == list(files)
    assert list(history.below(files, "a")) == ["a", "a/b"]
    assert list(history.below(files, "c")) == ["c/a"]


def prunable(versions: list[Told], **changes: Any) -> list[str]:
    usual: dict[str, Any] = {
        "keep": 1, "older_than": timedelta(0), "now": NOW, "announced": versions[-1].stamp, "needed": (),
    }  # fmt: skip
    return list(history.prunable(versions, **{**usual, **changes}))


def test_what_may_go() -> None:
    versions = [Told(stamp(day)) for day in (5, 4, 3, 2, 1)]
    assert prunable(versions) == [stamp(5), stamp(4), stamp(3), stamp(2)]
    assert prunable(versions, keep=3) == [stamp(5), stamp(4)]
    assert prunable(versions, keep=9) == []
    assert prunable(versions, older_than=timedelta(days=3)) == [stamp(5), stamp(4)]
    assert prunable(versions, older_than=timedelta(days=36_500)) == []
    assert prunable(versions, needed={stamp(4)}) == [stamp(5), stamp(3), stamp(2)]
    assert prunable(versions, announced=stamp(3)) == [stamp(5), stamp(4)], "newer ones are somebody's"
    by_devices = [Told(stamp(day), device_id=device) for day, device in ((5, "a"), (4, "b"), (3, "a"), (2, "b"))]
    assert prunable([*by_devices, Told(stamp(1), device_id="a")]) == [stamp(5), stamp(4), stamp(3)]
    ahead = [Told(stamp(2)), Told(stamp(-1)), Told(stamp(-2))]
    assert prunable(ahead) == [stamp(2)], "a clock ahead does not make them old"


@given(st.data())
def test_the_announced_the_newest_the_needed_and_the_young_never_go(data: st.DataObject) -> None:
    days = data.draw(st.lists(st.integers(-3, 60), min_size=1, unique=True).map(lambda found: sorted(found)[::-1]))
    versions = [Told(stamp(day), device_id=data.draw(st.sampled_from(["", "a", "b"]))) for day in days]
    announced = data.draw(st.sampled_from(versions)).stamp
    needed = data.draw(st.sets(st.sampled_from([one.stamp for one in versions])))
    keep, older = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 50))
    gone = prunable(versions, keep=keep, older_than=timedelta(days=older), announced=announced, needed=needed)
    kept = {one.stamp for one in versions[-keep:]} | needed | {announced}
    assert not kept & set(gone)
    assert all(one < min(announced, stamp(older)) for one in gone)
