"""When to try again: pure decisions."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.remote.retry import NO_RETRY, RetryPolicy, parse_retry_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=99, first_delay=1, max_delay=8, total=1000)
    assert [policy.delay(failures, 0, 0.999999) for failures in range(1, 7)] == pytest.approx(
        [1, 2, 4, 8, 8, 8], rel=1e-5
    )


def test_half_of_a_delay_is_jitter() -> None:
    assert RetryPolicy(first_delay=1).delay(1, 0, 0.0) == 0.5


def test_attempts_are_bounded() -> None:
    policy = RetryPolicy(attempts=3)
    assert policy.delay(2, 0, 0) is not None
    assert policy.delay(3, 0, 0) is None
    assert NO_RETRY.delay(1, 0, 0) is None


def test_time_is_bounded() -> None:
    policy = RetryPolicy(attempts=99, first_delay=1, max_delay=1, total=10)
    assert policy.delay(1, 9.0, 0.5) == 0.75
    assert policy.delay(1, 9.5, 0.5) is None


def test_the_server_is_obeyed_or_the_caller_is_told() -> None:
    policy = RetryPolicy(first_delay=1, total=60)
    assert policy.delay(1, 0, 0, asked=30) == 30
    assert policy.delay(1, 0, 0, asked=0) == 0.5
    assert policy.delay(1, 0, 0, asked=61) is None


@given(
    failures=st.integers(1, 50),
    elapsed=st.floats(0, 1000),
    chance=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 1e6),
)
def test_no_try_begins_after_the_total(failures: int, elapsed: float, chance: float, asked: float | None) -> None:
    policy = RetryPolicy(attempts=1000)
    delay = policy.delay(failures, elapsed, chance, asked)
    assert delay is None or (delay > 0 and elapsed + delay <= policy.total)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 11:00:30 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 5000, 999999999.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds
