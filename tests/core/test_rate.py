"""The smoothed rate: right for a steady flow, honest about a standing one, and silent where it can't know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import rate

STEP = st.floats(0.01, 0.5)
SPEED = st.floats(1.0, 1e9)


def flowing(speed: float, step: float, seconds: float, begin: float = 0.0) -> tuple[rate.Rate, float]:
    """The rate after a steady flow of *speed* in pieces of *step* seconds, and the time then."""
    seen, now = rate.begin(begin), begin
    while now < begin + seconds:
        now += step
        seen = seen.after(speed * step, now)
    return seen, now


@given(SPEED, STEP, st.floats(2.0, 60.0))
def test_a_steady_flow_is_told_as_it_is(speed: float, step: float, seconds: float) -> None:
    seen, now = flowing(speed, step, seconds)
    assert seen.per_second(now) == pytest.approx(speed, rel=0.08)


@given(SPEED, st.floats(-1e9, 1e9))
def test_only_the_time_that_passed_counts(speed: float, begin: float) -> None:
    seen, now = flowing(speed, 0.25, 10.0, begin)
    twin, then = flowing(speed, 0.25, 10.0)
    assert seen.per_second(now) == pytest.approx(twin.per_second(then), rel=1e-3)


@given(SPEED, st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_a_standing_flow_fades_and_never_below_nothing(speed: float, first: float, more: float) -> None:
    seen, now = flowing(speed, 0.25, 10.0)
    sooner, later = seen.per_second(now + first), seen.per_second(now + first + more)
    assert sooner is not None
    assert later is not None
    assert 0 <= later <= sooner


def test_a_change_of_speed_is_seen_within_seconds() -> None:
    seen, now = flowing(1000.0, 0.25, 60.0)
    for _ in range(60):
        now += 0.25
        seen = seen.after(25.0, now)
    assert seen.per_second(now) == pytest.approx(100.0, rel=0.5)


def test_what_buffers_swallow_at_once_is_no_rate() -> None:
    seen = rate.begin(5.0).after(10_000_000, 5.0)
    assert seen.per_second(5.9) is None
    assert seen.per_second(6.0) is not None


def test_a_clock_that_went_back_stands_still() -> None:
    seen = rate.begin(50.0).after(100, 60.0)
    assert seen.after(100, 10.0).at == 60.0
    assert seen.per_second(0.0) == seen.per_second(60.0)


@pytest.mark.parametrize(
    ("done", "total", "per_second", "expected"),
    [
        (0, 100, 10.0, 10.0),
        (100, 100, 10.0, 0.0),
        (100, 100, 0.0, 0.0),
        (120, 100, 10.0, 0.0),  # the file grew while it was sent
        (0, None, 10.0, None),
        (0, 100, None, None),
        (0, 100, 0.0, None),
        (0, 100, 1e-9, None),
    ],
)
def test_remaining(done: int, total: int | None, per_second: float | None, expected: float | None) -> None:
    assert rate.remaining(done, total, per_second) == expected
