"""Stamps: text that sorts as time does."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import stamps
from oaiofs.core.model import OLDEST_STAMP, Stamp
from oaiofs.errors import Unsupported

moments = st.datetimes(datetime(2023, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@given(moments, moments)
def test_stamps_sort_as_time_does(a: datetime, b: datetime) -> None:
    assert (stamps.make(a) < stamps.make(b)) == (a < b)


@given(moments)
def test_there_and_back(moment: datetime) -> None:
    stamp = stamps.make(moment)
    assert stamps.parse(stamp) == stamp
    assert stamps.to_datetime(stamp) == moment
    assert stamps.to_ns(stamp) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def test_a_stamp_is_in_utc() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone(timedelta(hours=2)))
    assert stamps.make(moment) == "20260304030607000089"
    assert stamps.to_ns(Stamp("20260304030607000089")) == 1772593567000089000


@pytest.mark.parametrize(
    "text",
    [
        None,
        20260304030607000089,
        "",
        "2026030403060700008",
        "202603040306070000890",
        "2026030403060700008x",
        " 0260304030607000089",
        "20261304030607000089",  # month 13
        "20260230030607000089",  # 30 February
        "20260304250607000089",  # hour 25
        "٢٠٢٦٠٣٠٤٠٣٠٦٠٧٠٠٠٠٨٩",  # digits, but not the wire's
        "20221231111111012344",  # older than the oldest
        "00000000000000000000",
    ],
)
def test_no_stamps(text: object) -> None:
    assert stamps.parse(text) is None


def test_the_oldest_is_one() -> None:
    assert stamps.parse(OLDEST_STAMP) == OLDEST_STAMP


@given(moments, moments)
def test_a_new_version_sorts_after_the_one_it_is_made_from(base: datetime, now: datetime) -> None:
    stamp = stamps.after(stamps.make(base), now)
    assert stamp > stamps.make(base)
    assert stamp >= stamps.make(now)
    assert stamps.parse(stamp) == stamp


def test_a_first_version_has_the_time_it_was_made() -> None:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    assert stamps.after("", now) == stamps.make(now)


LAST = Stamp("99991231235959999999")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_years_that_no_clock_shows_are_within_what_systems_hold() -> None:
    assert stamps.parse(LAST) == LAST
    assert stamps.to_ns(LAST) == (1 << 63) - 1
    assert stamps.to_datetime(LAST).year == 9999


def test_near_the_end_of_time_there_is_as_much_room_as_is_left() -> None:
    almost = Stamp("99991231235959999990")
    assert stamps.after(almost, LONG_AGO, step=5) == "99991231235959999995"
    assert stamps.after(almost, LONG_AGO, step=1_000_000) == LAST


def test_after_the_last_stamp_there_is_none() -> None:
    with pytest.raises(Unsupported, match="new object"):
        stamps.after(LAST, LONG_AGO)


@given(st.datetimes(datetime(2023, 1, 1)), st.integers(1, 1_000_000))  # noqa: DTZ001
def test_any_stamp_but_the_last_has_one_after_it(moment: datetime, step: int) -> None:
    base = stamps.make(moment.replace(tzinfo=UTC))
    if base < LAST:
        stamp = stamps.after(base, LONG_AGO, step)
        assert base < stamp == stamps.parse(stamp)
