"""Requests that are held until there is something new for their user, without a thread for each.

A listing with ``If-None-Match`` and ``Prefer: wait=S`` (RFC 7240) that would be answered "not modified" is put aside
instead: its connection goes back to waitress' loop and waits in the ``WaitingRoom``, at the price of a socket. Changes
for the user, the end of its time, or a client that hangs up take it out again, and then the request is made anew from
its beginning, session and all. Where the room is full it is answered at once, as by any server.

Must not know what an answer holds. Who has a change is found out from the rows that are saved and deleted (``watch``).
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

#: Tells clients for how many seconds a request may be held.
HOLD_HEADER = "X-OAIO-hold"
#: Proxies give up after 60 s, many of them.
LONGEST_HOLD = 55.0
#: Held at once: all together (each is one of the server's connections, see ``service``), and of one account.
MOST = 400
MOST_OF_ONE = 40
#: The key of a ``Hold`` in a request's WSGI environment.
HOLD_KEY = "oaiofs.hold"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)
_NOT_MODIFIED = 304


@dataclass(slots=True)
class Hold:
    """What is known of one request that may be held; the same for each time that it is made anew.

    *user* is whose changes it waits for, *version* how many the user had when the answer was begun, *account* whose
    session it is, *deadline* (steady clock) when it is answered at the latest. *wanted* says that the answer is to be
    held back, *held* that it was.
    """

    user: int | None = None
    version: int = 0
    account: int = 0
    deadline: float | None = None
    wanted: bool = False
    held: bool = False


class PutAside(BaseException):
    """Leaves a request as it is, unanswered: through all that would take an Exception for a failure to be answered."""

    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self.hold = hold


class WaitingRoom:
    """Who is waiting for which user's changes. Safe to use from several threads.

    A guest is called, from any thread, when it is time to make its request anew.
    """

    def __init__(
        self, most: int = MOST, most_of_one: int = MOST_OF_ONE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._clock = clock
        self._lock = threading.Condition()
        self._guests: dict[Callable[[], None], Hold] = {}
        self._taken: Counter[int] = Counter()  # seats by account, also of those who are on their way in
        self._versions: defaultdict[int, int] = defaultdict(int)
        self._keeper: threading.Thread | None = None

    def version(self, user: int) -> int:
        """How many changes *user* has had."""
        with self._lock:
            return self._versions[user]

    def changed(self, users: Iterable[int]) -> None:
        """There is something new for these *users*."""
        with self._lock:
            for user in users:
                self._versions[user] += 1
            called = self._take(lambda hold: hold.user is not None and self._versions[hold.user] != hold.version)
        _call(called)

    def reserve(self, hold: Hold) -> bool:
        """Take a seat, if there is one left: to be followed by ``enter``."""
        with self._lock:
            if self._taken.total() >= self._most or self._taken[hold.account] >= self._most_of_one:
                return False
            self._taken[hold.account] += 1
            hold.held = True
            return True

    def enter(self, guest: Callable[[], None], hold: Hold) -> None:
        """Wait, with a seat reserved; a change since the answer was begun calls at once."""
        with self._lock:
            self._guests[guest] = hold
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="waiting room", daemon=True)
                self._keeper.start()
            self._lock.notify_all()
            called = self._take(lambda one: one is hold and self._versions[hold.user or 0] != hold.version)
        _call(called)

    def leave(self, guest: Callable[[], None]) -> bool:
        """Give up the seat; False where *guest* was called already."""
        with self._lock:
            hold = self._guests.pop(guest, None)
            if hold is not None:
                self._give_back(hold)
            return hold is not None

    def occupied(self) -> int:
        """How many are waiting."""
        with self._lock:
            return len(self._guests)

    def _take(self, concerned: Callable[[Hold], bool]) -> list[Callable[[], None]]:
        """Have those guests out; with the lock held."""
        called = [guest for guest, hold in self._guests.items() if concerned(hold)]
        for guest in called:
            self._give_back(self._guests.pop(guest))
        return called

    def _is_over(self, hold: Hold) -> bool:
        return (hold.deadline or 0.0) <= self._clock()

    def _give_back(self, hold: Hold) -> None:
        self._taken[hold.account] -= 1
        if not self._taken[hold.account]:
            del self._taken[hold.account]

    def _keep(self) -> None:
        """Call those whose time is over, for as long as there is anybody."""
        while True:
            with self._lock:
                called = self._take(self._is_over)
                if not called:
                    if not self._guests:
                        self._keeper = None
                        return
                    first = min(hold.deadline or 0.0 for hold in self._guests.values())
                    self._lock.wait(min(max(0.0, first - self._clock()), 2 * LONGEST_HOLD))
            _call(called)


def _call(guests: Iterable[Callable[[], None]]) -> None:
    for guest in guests:
        guest()


#: The one of this process: Django's settings are per process as well.
room = WaitingRoom()


def hold_of(request: HttpRequest) -> Hold:
    """That of a request; one that nobody looks at where what serves it can't put requests aside."""
    hold = request.environ.get(HOLD_KEY) if hasattr(request, "environ") else None
    return hold if isinstance(hold, Hold) else Hold()


def may_hold(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view whose "not modified" is held back where the client prefers to wait; it calls ``answer_begins``."""

    @functools.wraps(view)
    def endpoint(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = view(request, *args, **kwargs)
        hold, wait = hold_of(request), min(wanted_wait(request.headers.get("Prefer", "")), LONGEST_HOLD)
        if hold.user is not None:
            answer[HOLD_HEADER] = f"{LONGEST_HOLD:g}"
            hold.account = request.user.pk or 0
            if hold.deadline is None:
                hold.deadline = time.monotonic() + wait
            if hold.held:
                answer["Preference-Applied"] = "wait"
            hold.wanted = answer.status_code == _NOT_MODIFIED and time.monotonic() < hold.deadline
        return answer

    return endpoint


def answer_begins(request: HttpRequest, user: int) -> None:
    """What is looked up from now on for the answer is *user*'s."""
    hold = hold_of(request)
    hold.user, hold.version = user, room.version(user)


def wanted_wait(prefer: str) -> float:
    """Seconds that a Prefer header asks for; 0.0 where it does not."""
    match = _WAIT.search(prefer)
    return float(match[1]) if match else 0.0


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def putting_aside(application: Application) -> Application:
    """A WSGI application that raises PutAside, with a seat reserved, where the answer is to be held back."""

    def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        hold = environ.get(HOLD_KEY)
        if isinstance(hold, Hold):
            hold.wanted = False  # as it was last time
        answer = application(environ, start_response)
        if isinstance(hold, Hold) and hold.wanted and room.reserve(hold):
            if hasattr(answer, "close"):
                answer.close()
            raise PutAside(hold)
        return answer

    return outer


def _task_class(usual: type[Any]) -> type[Any]:
    class Task(usual):  # type: ignore[misc] # waitress has no types
        def get_environment(self) -> dict[str, Any]:
            environ: dict[str, Any] = super().get_environment()
            # not the channel's: the next request may be at work before this one's thread is done with it
            environ[HOLD_KEY] = self.request.__dict__.setdefault(HOLD_KEY, Hold())
            return environ

        def set_close_on_finish(self) -> None:
            """waitress ends the connection after what has no length; a "not modified" has none, and no body."""
            asked = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
            if asked or not self.status.startswith(f"{_NOT_MODIFIED}"):
                super().set_close_on_finish()

    return Task


def patient(channel_class: type[Any]) -> type[Any]:
    """waitress' channel class, able to put the request that it serves aside."""

    class Channel(channel_class):  # type: ignore[misc]
        task_class = _task_class(channel_class.task_class)

        def __init__(self, *args: Any, **more: Any) -> None:
            self.waits = False
            super().__init__(*args, **more)

        def service(self) -> None:
            try:
                super().service()
            except PutAside as aside:
                self._wait(aside.hold)

        def _wait(self, hold: Hold) -> None:
            self.waits = True  # so from here on the loop notices that the client hangs up
            room.enter(self.make_anew, hold)
            if not self.connected:  # it has done so before
                room.leave(self.make_anew)
            self.server.pull_trigger()

        def make_anew(self) -> None:
            self.waits = False
            self.server.add_task(self)

        def readable(self) -> bool:
            listens = self.waits and len(self.requests) == 1 and not self.will_close
            return listens or super().readable()

        def handle_close(self) -> None:
            room.leave(self.make_anew)
            super().handle_close()

    return Channel


def watch() -> None:
    """Have the room hear of every change from now on, of whatever this process saves or deletes."""
    from django.db import transaction
    from django.db.models.signals import post_delete, post_save

    from .models import OaioObject, Subscription

    def subscription_changed(sender: object, instance: Subscription, **_: object) -> None:
        user = instance.user_id
        transaction.on_commit(lambda: room.changed((user,)))

    def object_changed(sender: object, instance: OaioObject, **_: object) -> None:
        key = instance.pk
        transaction.on_commit(lambda: room.changed(subscribers(key)))

    def subscribers(key: int) -> list[int]:
        return list(Subscription.objects.filter(oaio=key).values_list("user_id", flat=True))

    post_save.connect(object_changed, OaioObject, weak=False, dispatch_uid="waiting")
    post_save.connect(subscription_changed, Subscription, weak=False, dispatch_uid="waiting")
    # of a deleted object all subscriptions are deleted
    post_delete.connect(subscription_changed, Subscription, weak=False, dispatch_uid="waiting")
