"""When to push, when to try again, and when to stop and ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core.model import OaioId
from oaiofs.core.pace import REPEATED_AFTER, backoff, is_meant, listing_brake, push_due, removal_brake


@pytest.mark.parametrize(
    ("now", "first", "last", "due"),
    [
        (100, 100, 100, 2),
        (101, 100, 100, 1),
        (102, 100, 100, 0),
        (500, 100, 100, 0),
        (105, 100, 105, 2),  # still being written to
        (129, 100, 129, 1),  # for long enough
        (131, 100, 131, 0),
        (100, 200, 300, 0),  # the clock was set back
    ],
)
def test_push_due(now: float, first: float, last: float, due: float) -> None:
    assert push_due(now, first, last, quiet=2, longest=30) == due


seconds = st.floats(0, 1e9)


@given(seconds, seconds, seconds)
def test_a_push_never_waits_longer_than_the_quiet_time(now: float, first: float, last: float) -> None:
    assert 0 <= push_due(now, first, last, quiet=2, longest=30) <= 2


def test_backoff_doubles_up_to_the_cap() -> None:
    assert [backoff(failures) for failures in range(11)] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert backoff(10**9) == 300
    assert backoff(-1) == 0
    assert [backoff(failures, base=0.5, cap=3) for failures in range(6)] == [0, 0.5, 1, 2, 3, 3]


def ids(count: int) -> set[OaioId]:
    return {OaioId(str(number)) for number in range(count)}


@pytest.mark.parametrize(
    ("known", "listed", "obeyed"),
    [
        (0, 0, True),
        (0, 9, True),
        (1, 0, False),  # an empty listing is never taken for a wish
        (100, 0, False),
        (6, 1, True),
        (7, 1, False),
        (100, 80, True),
        (100, 79, False),
        (10_000, 9_950, True),
        (10_000, 9_949, False),
        (100, 200, True),
    ],
)
def test_listing_brake(known: int, listed: int, obeyed: bool) -> None:
    refusal = listing_brake(ids(known), ids(listed), confirmed=False)
    assert (refusal is None) == obeyed
    assert listing_brake(ids(known), ids(listed), confirmed=True) is None


def test_the_listing_brake_counts_what_is_missing_not_what_is_more() -> None:
    listed = {OaioId(f"new {number}") for number in range(50)}
    refusal = listing_brake(ids(20), listed, confirmed=False)
    assert refusal is not None
    assert "20 of 20" in refusal
    assert "--yes" in refusal


@pytest.mark.parametrize(
    ("removed", "known", "obeyed"),
    [(0, 0, True), (5, 5, True), (6, 6, False), (20, 100, True), (21, 100, False), (51, 10**6, False)],
)
def test_removal_brake(removed: int, known: int, obeyed: bool) -> None:
    refusal = removal_brake(removed, known)
    assert (refusal is None) == obeyed
    for word in ("oaiofs sync --yes", "oaiofs trash empty", "oaiofs trash restore"):
        assert refusal is None or word in refusal


@pytest.mark.parametrize(
    ("missing", "repeated_for", "meant"),
    [
        (1, None, False),
        (5, 0.0, True),
        (6, 0.0, False),
        (6, REPEATED_AFTER - 0.1, False),
        (6, REPEATED_AFTER, True),
        (10_000, REPEATED_AFTER, True),
        (10_000, None, False),
    ],
)
def test_what_a_server_says_again_is_meant(missing: int, repeated_for: float | None, meant: bool) -> None:
    assert is_meant(missing, repeated_for) == meant
