"""The token bucket: never more than rate × time + burst, and never much less where there is enough to send."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import bucket

RATES = st.floats(bucket.SLOWEST, 1e9)


def departures(rate: float, asked: list[tuple[float, float]]) -> tuple[bucket.Bucket, list[tuple[float, int]]]:
    """When which amounts went, that were *asked* for: (seconds after the one before, share of a piece)."""
    pot = first = bucket.full(rate, 100.0)
    now, gone = 100.0, []
    for pause, share in asked:
        now += pause
        amount = max(1, int(share * bucket.piece(rate)))
        pot, wait = pot.take(amount, now)
        gone.append((now + wait, amount))
    return first, gone


@given(RATES, st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=60))
def test_in_no_time_goes_more_than_the_rate_and_the_burst(rate: float, asked: list[tuple[float, float]]) -> None:
    first, gone = departures(rate, asked)
    for begin, end in itertools.combinations_with_replacement(range(len(gone)), 2):
        amount = sum(amount for _, amount in gone[begin : end + 1])
        seconds = gone[end][0] - gone[begin][0]
        assert amount <= rate * seconds * (1 + 1e-6) + first.burst + 1


@given(RATES, st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=60))
def test_who_asks_first_goes_first(rate: float, asked: list[tuple[float, float]]) -> None:
    _, gone = departures(rate, asked)
    times = [when for when, _ in gone]
    assert all(earlier <= later + 1e-6 for earlier, later in itertools.pairwise(times))


@given(RATES, st.integers(1, 200))
def test_a_hurried_sender_gets_the_whole_rate(rate: float, pieces: int) -> None:
    first, gone = departures(rate, [(0.0, 1.0)] * pieces)
    amount = sum(amount for _, amount in gone)
    expected = max(0.0, amount - first.burst) / rate
    assert gone[-1][0] - 100.0 == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(RATES)
def test_a_pause_is_not_saved_up(rate: float) -> None:
    pot, _ = bucket.full(rate, 0.0).take(bucket.piece(rate), 0.0)
    later, wait = pot.take(0, 1e6)
    assert (later.level, wait) == (later.burst, 0.0)


@given(RATES, st.integers(1, 100_000), st.floats(0, 3))
def test_what_did_not_go_holds_nobody_up(rate: float, amount: int, pause: float) -> None:
    pot, _ = bucket.full(rate, 0.0).take(bucket.piece(rate), 0.0)
    spent, _ = pot.take(amount, 0.0)
    assert spent.give_back(amount).take(1, pause)[1] == pytest.approx(pot.take(1, pause)[1], abs=1e-6)
    assert pot.give_back(10**12).level == pot.burst


@given(RATES)
def test_pieces_fit_into_the_burst_and_are_a_second_s_worth_at_most(rate: float) -> None:
    assert 0 < bucket.piece(rate) <= bucket.full(rate, 0.0).burst
    assert bucket.piece(rate) <= rate


def test_a_clock_that_went_back_gives_nothing_away() -> None:
    pot, _ = bucket.full(8192, 100.0).take(4096, 100.0)
    earlier, wait = pot.take(1024, 40.0)
    assert (earlier.level, earlier.at) == (-1024, 100.0)
    assert wait == pytest.approx(1024 / 8192)
