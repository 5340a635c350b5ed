"""Guessers of passwords wait, and ever longer."""

from __future__ import annotations

from collections.abc import Callable

from oaiofs.server import throttle
from oaiofs.server.throttle import FIRST_WAIT, FREE_FAILURES, LONGEST_WAIT, Throttle
from tests.serverkit import ServerKit

from .clients import Oaio, Storage, error_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _fail(guard: Throttle, times: int, key: str = "k") -> None:
    for _ in range(times):
        guard.failed(key)


def test_the_first_failures_are_free() -> None:
    guard = Throttle(Clock())
    _fail(guard, FREE_FAILURES - 1)
    assert guard.wait("k") == 0
    _fail(guard, 1)
    assert guard.wait("k") == FIRST_WAIT
    assert guard.wait("other") == 0


def test_each_further_failure_doubles_the_wait_up_to_a_limit() -> None:
    clock = Clock()
    guard = Throttle(clock)
    _fail(guard, FREE_FAILURES)
    clock.now += FIRST_WAIT
    assert guard.wait("k") == 0
    _fail(guard, 1)
    assert guard.wait("k") == 2 * FIRST_WAIT
    _fail(guard, 5000)
    assert guard.wait("k") == LONGEST_WAIT


def test_success_and_time_forgive() -> None:
    clock = Clock()
    guard = Throttle(clock)
    _fail(guard, FREE_FAILURES)
    guard.passed("k")
    _fail(guard, FREE_FAILURES - 1)
    assert guard.wait("k") == 0
    clock.now += LONGEST_WAIT + 1
    _fail(guard, FREE_FAILURES - 1)
    assert guard.wait("k") == 0


def test_memory_is_bounded() -> None:
    guard = Throttle(Clock())
    _fail(guard, FREE_FAILURES, "first")
    for number in range(throttle.MOST_KEYS):
        guard.failed(number)
    assert guard.wait("first") == 0


def test_login_is_throttled(oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user()
    with Oaio(oaio_server, name, password, log_in=False) as session:
        for _ in range(FREE_FAILURES):
            assert error_of(session.log_in("wrong")) == (401, "Unauthorized")
        answer = session.log_in(password)
        assert error_of(answer) == (429, "TooManyRequests")
        assert 0 < int(answer.headers["Retry-After"]) <= FIRST_WAIT


def test_storage_login_is_throttled(new_storage: Callable[..., Storage]) -> None:
    http = new_storage().http
    http.auth = ("nobody@test", "wrong")
    for _ in range(FREE_FAILURES):
        assert error_of(http.get("/api/v2/mounts")) == (401, "Unauthorized")
    assert error_of(http.get("/api/v2/mounts")) == (429, "TooManyRequests")
    headers = {"X-Koofr-Email": "nobody@test", "X-Koofr-Password": "wrong"}
    assert error_of(http.get("/token", headers=headers)) == (429, "TooManyRequests")
