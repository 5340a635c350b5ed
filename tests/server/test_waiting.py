"""Held requests: what ends them, what does not, who may hold, and that nobody else is kept waiting by them."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oaiofs.server import process, service
from oaiofs.server.waiting import MOST_OF_ONE, Hold, WaitingRoom, wanted_wait
from tests.serverkit import ServerKit

from .clients import Oaio, stamp

LogIn = Callable[..., Oaio]
#: Not used; made anew for each client it would take longer than the requests.
TLS = ssl.create_default_context()
#: Longer than any test runs, and than any hold.
PATIENCE = 90.0


class Waiter:
    """Requests of one session that wait for something new, each on a connection of its own."""

    def __init__(self, session: Oaio, pool: ThreadPoolExecutor) -> None:
        self.session = session
        self.etag = session.get("oaio_stampz/").headers["etag"]
        self._pool = pool

    def ask(self, wait: int = 50) -> httpx.Response:
        headers = dict(self.session.http.headers) | {"If-None-Match": self.etag, "Prefer": f"wait={wait}"}
        with httpx.Client(headers=headers, cookies=self.session.http.cookies, timeout=PATIENCE, verify=TLS) as http:
            return http.get(f"{self.session.http.base_url}oaio_stampz/")

    def begin(self, wait: int = 50) -> Future[httpx.Response]:
        return self._pool.submit(self.ask, wait)


def was_held(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Preference-Applied") == "wait")


@pytest.fixture
def waiter() -> Iterator[Callable[[Oaio], Waiter]]:
    with ThreadPoolExecutor(200) as pool:
        yield lambda session: Waiter(session, pool)


def woken(waiter: Waiter, change: Callable[[], object]) -> httpx.Response:
    """The answer to a request that was held when *change* was made.

    Nobody sees from outside that a request is held by now, so again until one was, each time after more other requests.
    """
    for number in range(50):
        asked = waiter.begin()
        for _ in range(4 * number):
            waiter.session.get("current_stamp/")
        change()
        answer = asked.result(PATIENCE)
        assert answer.status_code == 200
        if was_held(answer):
            return answer
        waiter.etag = answer.headers["etag"]
    raise AssertionError("no request was ever held")


# ---------------------------------------------------------------------------------------- what ends a hold


def test_an_upload_from_another_session_ends_it(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    here, other = log_in(), log_in()
    made = here.register()
    here.share(made["oaio_id"], other.name, "U")
    numbers = itertools.count(2)
    latest: list[str] = []

    def upload() -> None:
        latest.append(stamp(next(numbers)))
        answer = other.post("upload/", made | {"client_stamp": latest[-1]})
        assert answer.status_code == 200, answer.text

    answer = woken(waiter(here), upload)
    assert [one["client_stamp"] for one in answer.json()] == [latest[-1]]


def test_a_new_object_and_a_deleted_one_end_it(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    session = log_in()
    made: list[str] = []
    answer = woken(waiter(session), lambda: made.append(session.register()["oaio_id"]))
    assert {one["oaio_id"] for one in answer.json()} == set(made)
    made += [session.register()["oaio_id"] for _ in range(20)]
    answer = woken(waiter(session), lambda: session.post("delete/", {"oaio_id": made.pop()}))
    assert {one["oaio_id"] for one in answer.json()} == set(made)


def test_sharing_and_its_end_end_it(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    owner, guest = log_in(), log_in()
    oaio_id = owner.register()["oaio_id"]
    rights = itertools.cycle("rUDx")
    given: list[str] = []

    def share() -> None:
        given.append(next(rights))
        assert owner.share(oaio_id, guest.name, given[-1]).status_code == 200

    waits = waiter(guest)
    for _ in range(4):
        answer = woken(waits, share)
        waits.etag = answer.headers["etag"]
        assert [one["csh_access_right"] for one in answer.json()] == [right for right in given[-1:] if right != "x"]


def test_a_removed_user_takes_the_objects_along(
    oaio_server: ServerKit, log_in: LogIn, waiter: Callable[[Oaio], Waiter]
) -> None:
    root, guest = log_in(superuser=True), log_in()
    owners = [log_in() for _ in range(20)]
    for owner in owners:
        owner.share(owner.register()["oaio_id"], guest.name, "r")
    answer = woken(waiter(guest), lambda: root.post("wipe_user/", {"Uid": owners.pop().name}))
    assert len(answer.json()) == len(owners)


def test_its_time_ends_it(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    session = log_in()
    session.register()
    answer = waiter(session).ask(wait=1)
    assert (answer.status_code, answer.content, was_held(answer)) == (304, b"", True)


def test_a_session_that_is_over_by_then_is_told_nothing(
    oaio_server: ServerKit, log_in: LogIn, waiter: Callable[[Oaio], Waiter]
) -> None:
    for wait in (2, 10, 40):
        session = log_in()
        asked = waiter(session).begin(wait)
        service.set_password(oaio_server.data, session.name, "another one")
        in_time = not asked.done()
        answer = asked.result(PATIENCE)
        if in_time:
            break
        assert answer.elapsed.total_seconds() >= wait, "nothing else has ended it"
    assert answer.status_code == 401


def test_the_end_of_the_server_ends_it_at_once(tmp_path: Path, waiter: Callable[[Oaio], Waiter]) -> None:
    child = process.spawn(tmp_path / "data")
    try:
        child.wait_ready()
        kit = ServerKit(child.url, tmp_path / "data", child.process.pid)
        with Oaio(kit, *kit.fresh_user()) as session:
            waits = waiter(session)
            asked = [waits.begin() for _ in range(20)]
            assert session.get("current_stamp/").status_code == 200
    finally:
        child.stop()
    assert child.process.returncode == 0, "in good order, not killed after its time was over"
    for one in asked:
        with pytest.raises(httpx.HTTPError):
            one.result(PATIENCE)


# ---------------------------------------------------------------------------------------- what does not


def test_what_others_do_neither_ends_it_nor_shows(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    session, stranger, guest = log_in(), log_in(), log_in()
    mine = session.register()["oaio_id"]
    waits = waiter(session)
    for wait in (2, 10, 40):
        asked = waits.begin(wait)
        theirs = stranger.register()
        stranger.post("upload/", theirs | {"client_stamp": stamp(9)})
        stranger.share(theirs["oaio_id"], guest.name, "U")
        session.share(mine, guest.name, "r")  # what a guest may do is not in the owner's listing
        stranger.post("delete/", {"oaio_id": theirs["oaio_id"]})
        in_time = not asked.done()
        answer = asked.result(PATIENCE)
        assert (answer.status_code, was_held(answer)) == (304, True)
        assert answer.elapsed.total_seconds() >= wait
        if in_time:
            break
    assert in_time, "all of it was done while the request was held"


@pytest.mark.parametrize("prefer", ["", "wait=0", "respond-async", "wait=-5", "wait=x"])
def test_who_does_not_ask_is_answered_at_once(log_in: LogIn, prefer: str) -> None:
    session = log_in()
    etag = session.get("oaio_stampz/").headers["etag"]
    answer = session.get("oaio_stampz/", If_None_Match=etag, Prefer=prefer)
    assert (answer.status_code, was_held(answer)) == (304, False)
    assert float(answer.headers["X-OAIO-hold"]) > 0


def test_something_new_is_answered_at_once(log_in: LogIn) -> None:
    session = log_in()
    session.register()
    for headers in ({}, {"If_None_Match": '"an old one"'}):
        answer = session.get("oaio_stampz/", Prefer="wait=50", **headers)
        assert (answer.status_code, was_held(answer)) == (200, False)


def test_nothing_but_listings_is_held(log_in: LogIn) -> None:
    session = log_in()
    answer = session.get("user_subz/x", If_None_Match="*", Prefer="wait=50")
    assert (answer.status_code, "X-OAIO-hold" in answer.headers) == (200, False)


def test_strangers_hold_nothing(oaio_server: ServerKit) -> None:
    with Oaio(oaio_server, "nobody", "", log_in=False) as session:
        answer = session.get("oaio_stampz/", If_None_Match="*", Prefer="wait=50")
    assert (answer.status_code, was_held(answer), "X-OAIO-hold" in answer.headers) == (401, False, False)


def test_the_connection_goes_on_after_a_hold(log_in: LogIn) -> None:
    session = log_in()
    etag = session.get("oaio_stampz/").headers["etag"]
    for _ in range(2):
        answer = session.get("oaio_stampz/", If_None_Match=etag, Prefer="wait=1")
        assert was_held(answer)
        answer = session.get("oaio_stampz/", If_None_Match=etag)
        assert (answer.status_code, was_held(answer), answer.headers.get("Connection")) == (304, False, None)


def test_requests_sent_behind_a_held_one_are_answered_after_it(log_in: LogIn) -> None:
    session = log_in()
    url = session.http.base_url
    etag = session.get("oaio_stampz/").headers["etag"]
    cookies = "; ".join(f"{name}={value}" for name, value in session.http.cookies.items())
    head = f"Host: {url.host}:{url.port}\r\nCookie: {cookies}\r\n"
    held = f"GET /api/oaio_stampz/ HTTP/1.1\r\n{head}If-None-Match: {etag}\r\nPrefer: wait=1\r\n\r\n"
    last = f"GET /api/current_stamp/ HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    with socket.create_connection((url.host, url.port or 0), PATIENCE) as client:
        client.sendall((held + last).encode())
        text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("HTTP/1.1 ")] == ["304", "200"]
    assert text.index("Preference-Applied") < text.index("current_stamp")


def test_a_connection_ends_after_an_unchanged_listing_where_the_client_wants_that(log_in: LogIn) -> None:
    session = log_in()
    etag = session.get("oaio_stampz/").headers["etag"]
    answer = session.get("oaio_stampz/", If_None_Match=etag, Connection="close")
    assert (answer.status_code, answer.headers["Connection"]) == (304, "close")


# ---------------------------------------------------------------------------------------- many at once


def test_many_holders_keep_nobody_waiting_and_all_hear(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    sessions = [log_in() for _ in range(3)]
    waiters = [waiter(session) for session in sessions]
    asked = [one.begin() for one in waiters for _ in range(MOST_OF_ONE)]
    for session in sessions:
        session.http.timeout = httpx.Timeout(20)
        assert session.get("current_stamp/").status_code == 200
        assert session.get("oaio_stampz/").status_code == 200
    for session in sessions:
        session.register()
    assert [one.result(PATIENCE).status_code for one in asked] == [200] * len(asked)


def test_one_account_has_only_so_many_seats(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    session, other = log_in(), log_in()
    waits = waiter(session)
    asked = [waits.begin() for _ in range(MOST_OF_ONE + 5)]
    answers = _first(asked, 5)
    assert [(one.status_code, was_held(one)) for one in answers] == [(304, False)] * 5
    assert was_held(waiter(other).ask(wait=1)), "others have theirs"
    session.register()
    rest = [one.result(PATIENCE) for one in asked if one.result(PATIENCE) not in answers]
    assert [(one.status_code, was_held(one)) for one in rest] == [(200, True)] * MOST_OF_ONE


def _first(asked: list[Future[httpx.Response]], count: int) -> list[httpx.Response]:
    done: list[httpx.Response] = []
    enough = threading.Event()

    def note(one: Future[httpx.Response]) -> None:
        done.append(one.result())
        if len(done) >= count:
            enough.set()

    for one in asked:
        one.add_done_callback(note)
    assert enough.wait(PATIENCE)
    return done[:count]


def test_who_hangs_up_gives_up_the_seat(log_in: LogIn, waiter: Callable[[Oaio], Waiter]) -> None:
    session = log_in()
    url = session.http.base_url
    waits = waiter(session)
    cookies = "; ".join(f"{name}={value}" for name, value in session.http.cookies.items())
    head = f"Host: {url.host}:{url.port}\r\nCookie: {cookies}\r\nIf-None-Match: {waits.etag}\r\nPrefer: wait=50\r\n"
    for _ in range(3 * MOST_OF_ONE):
        with socket.create_connection((url.host, url.port or 0)) as client:
            client.sendall(f"GET /api/oaio_stampz/ HTTP/1.1\r\n{head}\r\n".encode())
    held = (was_held(waits.ask(wait=1)) for _ in range(30))  # the server hears of it a moment later
    assert any(held)


# ---------------------------------------------------------------------------------------- the room itself


def hold(user: int = 1, account: int = 1, deadline: float = float("inf")) -> Hold:
    return Hold(user=user, account=account, deadline=deadline)


def test_a_change_while_the_answer_was_made_is_not_missed() -> None:
    room, called = WaitingRoom(), threading.Event()
    late = hold()
    late.version = room.version(1)
    assert room.reserve(late)
    room.changed([1])
    room.enter(called.set, late)
    assert called.is_set()
    assert room.occupied() == 0


def test_seats_are_counted_from_their_reservation_on_and_given_back() -> None:
    room = WaitingRoom(most=3, most_of_one=2)
    mine = [hold() for _ in range(3)]
    assert [room.reserve(one) for one in mine] == [True, True, False]
    assert [room.reserve(hold(account=2)) for _ in range(2)] == [True, False]
    guests = [threading.Event() for _ in mine]
    for guest, one in zip(guests[:2], mine, strict=False):
        room.enter(guest.set, one)
    assert room.leave(guests[0].set)
    assert not room.leave(guests[0].set)
    assert room.reserve(mine[2])
    room.enter(guests[2].set, mine[2])
    room.changed([1])
    assert [guest.is_set() for guest in guests] == [False, True, True]
    assert [room.reserve(hold()) for _ in range(3)] == [True, True, False]


def test_only_those_whose_user_has_a_change_are_called() -> None:
    room, mine, theirs = WaitingRoom(), threading.Event(), threading.Event()
    for guest, user in ((mine, 1), (theirs, 2)):
        one = hold(user)
        assert room.reserve(one)
        room.enter(guest.set, one)
    room.changed([2, 3])
    assert (mine.is_set(), theirs.is_set(), room.occupied()) == (False, True, 1)


def test_everybody_is_called_when_the_time_is_over() -> None:
    room = WaitingRoom(clock=lambda: 100.0)
    for deadline in (99.0, 100.0):
        called, one = threading.Event(), hold(deadline=deadline)
        assert room.reserve(one)
        room.enter(called.set, one)
        assert called.wait(PATIENCE)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=50", 50), ("respond-async, wait=10", 10), ('Wait = "7"; foo', 7), ("wait=1;x=2", 1), ("await=5", 0),
        ("wait=5x", 0), ("", 0), ("wait=99999999999999999999", 0), ("return=minimal; foo=wait=3", 0),
    ],
)  # fmt: skip
def test_what_a_client_prefers(prefer: str, seconds: float) -> None:
    assert wanted_wait(prefer) == seconds
