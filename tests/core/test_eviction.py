"""Which local copies may go: the whole table, one fact and every pair of facts at a time; and how much has to go."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiofs.core.eviction import NO_LIMITS, TABLE, Hold, Limits, LocalCopy, excess, hold
from tests.depth import examples

#: An attached file of the agreed version, whole and unchanged, that nobody uses.
CLEAN = LocalCopy(
    known=True, local=True, attached=True, open=False, busy=False, removed=False, dirty=False, hashed=True,
    orphan=False, rebuilt=False, readable=True, stored=True, missed=False, pinned=False, there=True, unchanged=True,
    ours=True,
)  # fmt: skip

#: What each fact means when it is not as with CLEAN: what users read, written down once more.
EXPECTED = {
    "known": Hold.GONE, "local": Hold.NOT_HERE, "attached": Hold.NO_FILE, "open": Hold.OPEN, "busy": Hold.BUSY,
    "removed": Hold.REMOVED, "dirty": Hold.DIRTY, "hashed": Hold.UNHASHED, "orphan": Hold.ORPHAN,
    "rebuilt": Hold.REBUILT, "readable": Hold.UNREADABLE, "stored": Hold.UNSENT, "missed": Hold.MISSED,
    "pinned": Hold.PINNED, "there": Hold.MISSING, "unchanged": Hold.CHANGED, "ours": Hold.OTHER_OWNER,
}  # fmt: skip


def but(*facts: str) -> LocalCopy:
    return replace(CLEAN, **{fact: not getattr(CLEAN, fact) for fact in facts})


def test_a_clean_copy_that_nobody_uses_may_go() -> None:
    assert hold(CLEAN) is None


def test_there_is_a_row_for_each_fact_and_a_reason_for_each_row() -> None:
    names = {field.name for field in fields(LocalCopy)}
    assert names == set(EXPECTED) == {fact for fact, _, _ in TABLE}
    assert len(TABLE) == len(names)
    assert {why for _, _, why in TABLE} == set(Hold)
    assert len({why.value for why in Hold}) == len(Hold)


@pytest.mark.parametrize("fact", EXPECTED)
def test_each_fact_alone_keeps_it(fact: str) -> None:
    assert hold(but(fact)) is EXPECTED[fact]


def test_no_two_facts_make_good_what_each_of_them_spoils() -> None:
    for a, b in itertools.combinations(EXPECTED, 2):
        assert hold(but(a, b)) in (EXPECTED[a], EXPECTED[b])


def test_in_all_of_the_table_only_one_row_lets_go() -> None:
    names = list(EXPECTED)
    going = [
        facts
        for facts in itertools.product((False, True), repeat=len(names))
        if hold(LocalCopy(**dict(zip(names, facts, strict=True)))) is None
    ]
    assert [LocalCopy(**dict(zip(names, facts, strict=True))) for facts in going] == [CLEAN]


def test_what_is_both_dirty_and_pinned_is_told_to_be_unsent() -> None:
    """The reason that is told first is the one that says what could be lost."""
    assert hold(but("dirty", "pinned", "ours")) is Hold.DIRTY
    assert hold(but("open", "dirty")) is Hold.OPEN


@pytest.mark.parametrize(
    ("limits", "kept", "free", "coming", "expected"),
    [
        (NO_LIMITS, 10**12, 0, 0, 0),
        (Limits(kept=100), 100, 0, 0, 0),
        (Limits(kept=100), 101, 0, 0, 1),
        (Limits(kept=100), 90, 1000, 20, 10),
        (Limits(free=50), 10**6, 50, 0, 0),
        (Limits(free=50), 10**6, 49, 0, 1),
        (Limits(free=50), 0, 60, 20, 10),
        (Limits(kept=100, free=50), 130, 40, 0, 30),
        (Limits(kept=100, free=50), 105, 20, 0, 30),
        (NO_LIMITS, 0, 10, 11, 1),
        (NO_LIMITS, 0, 11, 11, 0),
    ],
)
def test_how_much_has_to_go(limits: Limits, kept: int, free: int, coming: int, expected: int) -> None:
    assert excess(limits, kept=kept, free=free, coming=coming) == expected


_bytes = st.integers(0, 1 << 40)


@settings(max_examples=examples(100))
@given(limits=st.builds(Limits, kept=_bytes, free=_bytes), kept=_bytes, free=_bytes, coming=_bytes)
def test_with_so_much_gone_nothing_is_in_excess(limits: Limits, kept: int, free: int, coming: int) -> None:
    more = excess(limits, kept=kept, free=free, coming=coming)
    assert more >= 0
    assert excess(limits, kept=kept - more, free=free + more, coming=coming) == 0
    if more:
        assert excess(limits, kept=kept - more + 1, free=free + more - 1, coming=coming) == 1
