"""Stamps: text that sorts as time does."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import stamps
from oaiofs.core.model import OLDEST_STAMP, Stamp

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
