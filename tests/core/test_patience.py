"""How long to wait after which failure, as a table."""

from __future__ import annotations

import pytest

from oaiofs import errors
from oaiofs.core import patience

YEAR = 365 * 86_400.0
RARE = [errors.StorageFull, errors.Forbidden, errors.AccessDenied, errors.Unsupported]
SOON = [errors.Unreachable, errors.TimedOut, errors.ServerFault, errors.Protocol, errors.Corrupt, errors.Conflict]


@pytest.mark.parametrize("kind", SOON)
def test_what_may_pass_is_tried_soon_then_less_often_never_more_than_minutes_apart(
    kind: type[errors.OaiofsError],
) -> None:
    waits = [patience.after_failure(kind("it fails"), failures) for failures in range(1, 100)]
    assert waits[0] == patience.Wait(1.0)
    assert [wait.seconds for wait in waits] == sorted(wait.seconds for wait in waits)
    assert waits[-1].seconds == 300.0
    assert not any(wait.parked for wait in waits)


@pytest.mark.parametrize("kind", RARE)
def test_what_does_not_pass_by_itself_is_parked_for_minutes_at_most_an_hour(kind: type[errors.OaiofsError]) -> None:
    waits = [patience.after_failure(kind("it fails"), failures) for failures in range(1, 20)]
    assert (waits[0].seconds, waits[-1].seconds) == (300.0, 3600.0)
    assert all(wait.parked for wait in waits)


def test_a_full_storage_and_a_missing_right_say_what_to_do() -> None:
    assert "Make room" in patience.after_failure(errors.StorageFull("full"), 1).advice
    assert "Ask the owner" in patience.after_failure(errors.Forbidden("no"), 1).advice


def test_a_bug_is_no_reason_to_try_more_often() -> None:
    assert patience.after_failure(ZeroDivisionError(), 3) == patience.Wait(4.0)


@pytest.mark.parametrize(("asked", "least"), [(None, 0.0), (7.0, 7.0), (1000.0, 1000.0), (YEAR, 3600.0)])
def test_as_long_as_a_server_asks_it_is_left_alone_but_not_for_a_year(asked: float | None, least: float) -> None:
    error = errors.RateLimited("wait", asked)
    assert patience.after_failure(error, 1).least == least
    assert patience.after_failed_look(error, 1, 15.0).least == least


def test_an_account_that_is_not_accepted_is_not_tried_until_it_is_locked() -> None:
    refused = errors.Unauthorized("wrong password")
    begun = [patience.after_failed_look(refused, failures, 15.0).seconds for failures in range(1, 5)]
    assert begun == [5.0, 10.0, 20.0, 40.0]
    assert patience.after_failed_look(refused, 99, 15.0).seconds == 600.0


def test_an_unreachable_server_is_looked_at_each_minute_or_as_often_as_always() -> None:
    gone = errors.Unreachable("gone")
    assert patience.after_failed_look(gone, 99, 15.0).seconds == 60.0
    assert patience.after_failed_look(gone, 99, 900.0).seconds == 900.0
    assert patience.after_failed_look(gone, 1, 900.0).seconds == 1.0


@pytest.mark.parametrize(
    ("kind", "passing"),
    [
        (errors.Unreachable, True), (errors.ServerFault, True), (errors.Corrupt, True), (errors.Protocol, True),
        (errors.TimedOut, False), (errors.RateLimited, False), (errors.StorageFull, False), (errors.Conflict, False),
        (errors.Forbidden, False), (errors.Unauthorized, False), (errors.RemoteNotFound, False),
        (errors.RemoteExists, False), (errors.ClockSkew, False),
    ],
)  # fmt: skip
def test_which_calls_are_worth_another_try_at_once(kind: type[errors.RemoteError], passing: bool) -> None:
    assert patience.is_passing(kind("it fails")) is passing
