"""The oaio endpoints: who is asking, what is asked, and the answer as JSON; what it means is in ``objects``.

Must not know SQL or the storage host's files. The wire is described by the existing client (ae_oaio_client 0.3.19); the
headers X-OAIO-base, X-OAIO-merged and X-OAIO-features are this server's own and told by X-OAIO-server in each answer,
endpoints of its own (oaio_log) by X-OAIO-features there; X-OAIO-hold tells in a listing's that the next one may be
waited for, see ``waiting``.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.views.decorators.http import conditional_page, require_GET, require_http_methods

from ..core import literals, stamps
from . import bodies, history, objects
from .answers import Refusal, json_answer, members_of, raw_json_answer, read_body
from .models import StorageAccount, StorageHost
from .objects import Caller
from .storage.logins import Login, password_of
from .throttle import Throttle
from .waiting import answer_begins, may_hold

#: Bytes of the bodies that hold no values.
_SMALL_BODY = 64 * 1024
_LONGEST_CONTEXT = 8000
_LONGEST_USERNAME = 150
_LONGEST_KEY = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Args = ParamSpec("Args")

_logins = Throttle()


def throttled(throttle: Throttle, key: tuple[str, str], check: Callable[[], Any]) -> Any:
    """What *check* answers if that is true, else None; Raises Refusal 429 while *key* has to wait."""
    key = (key[0][:_LONGEST_KEY], key[1])  # what is remembered of a guesser is bounded in length as well
    wait = throttle.wait(key)
    if wait > 0:
        seconds = math.ceil(wait)
        raise Refusal(
            429,
            "TooManyRequests",
            f"Too many failed logins; try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )
    found = check()
    if found:
        throttle.passed(key)
    else:
        throttle.failed(key)
    return found


def caller_of(request: HttpRequest) -> Caller:
    """The user that a request acts for. Raises Refusal 401 without a session, 403 for another's name."""
    session_user = request.user
    if not isinstance(session_user, User):
        raise Refusal(401, "Unauthorized", "Log in first.")
    name = _context(request, "X-OAIO-user")
    user = session_user
    if name not in ("", session_user.username):
        if not session_user.is_superuser:
            raise Refusal(403, "Forbidden", "X-OAIO-user names another user than the one who is logged in.")
        user = _named_user(name)
    device_id, app_id = _context(request, "X-OAIO-dvc"), _context(request, "X-OAIO-app")
    return Caller(user, device_id, app_id, session_user.is_superuser, _asks_for(request, "lineage"))


def _named_user(name: str) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        raise Refusal(403, "Forbidden", "X-OAIO-user names no user of this server.")
    return user


def _context(request: HttpRequest, header: str) -> str:
    """A context header's text; it is spelled as a Python bytes literal of UTF-8."""
    literal = request.headers.get(header, "")
    if not literal:
        return ""
    try:
        value = literals.parse(literal, _LONGEST_CONTEXT)
        text = value.decode() if isinstance(value, bytes) else None
    except ValueError:
        text = None
    if text is None:
        raise Refusal(400, "BadRequest", f"{header} must be a bytes literal of UTF-8 text, like b'alice'.")
    return text


def reads(view: Callable[Concatenate[Caller, HttpRequest, Args], HttpResponse]) -> Callable[..., HttpResponse]:
    """An endpoint for GET that needs a session."""

    @functools.wraps(view)
    def endpoint(request: HttpRequest, *args: Args.args, **kwargs: Args.kwargs) -> HttpResponse:
        return view(caller_of(request), request, *args, **kwargs)

    return require_GET(endpoint)


def changes(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """An endpoint for POST; GET answers 200 with the csrftoken cookie, as clients expect before their first POST."""

    @functools.wraps(view)
    def endpoint(request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            get_token(request)
            return json_answer({})
        try:
            return view(request)
        except bodies.BadBody as error:
            raise Refusal(400, "BadRequest", str(error)) from None

    return require_http_methods(["GET", "POST"])(endpoint)


def _small_object(request: HttpRequest) -> dict[str, Any]:
    return members_of(bodies.parse_json(read_body(request, _SMALL_BODY)))


def _announcement(request: HttpRequest) -> bodies.Announcement:
    return bodies.parse_announcement(read_body(request, settings.OAIO_MAX_OBJECT_SIZE))


@changes
def login(request: HttpRequest) -> HttpResponse:
    body = _small_object(request)
    username, password = body.get("username"), body.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        raise Refusal(400, "BadRequest", "username and password must be texts.")
    key = (username, request.META.get("REMOTE_ADDR", ""))
    user = throttled(_logins, key, lambda: auth.authenticate(request, username=username, password=password))
    if user is None:
        raise Refusal(401, "Unauthorized", "User name or password are wrong.")
    auth.login(request, user)
    return json_answer({"username": username})


@changes
def logout(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return json_answer({})


@reads
def current_stamp(caller: Caller, request: HttpRequest) -> HttpResponse:
    return json_answer({"current_stamp": stamps.make(datetime.now(UTC))})


@may_hold
@conditional_page
@reads
def oaio_stampz(caller: Caller, request: HttpRequest) -> HttpResponse:
    """All objects of the caller; with If-None-Match an idle poll costs a 304 without a body, see also ``waiting``."""
    answer_begins(request, caller.user.pk)
    answer = raw_json_answer(objects.listing(caller))
    answer["Cache-Control"] = "private, no-cache"
    return answer


@changes
def register(request: HttpRequest) -> HttpResponse:
    return raw_json_answer(objects.register(caller_of(request), _announcement(request)))


@changes
def upload(request: HttpRequest) -> HttpResponse:
    base, merged = _stamp_in(request, "X-OAIO-base"), _stamp_in(request, "X-OAIO-merged")
    return raw_json_answer(objects.upload(caller_of(request), _announcement(request), base, merged or ""))


@changes
def delete(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    body = members_of(bodies.parse_json(read_body(request, settings.OAIO_MAX_OBJECT_SIZE)))
    oaio_id = bodies.checked_id(body.get("oaio_id"))
    objects.delete(caller, oaio_id, _stamp_in(request, "X-OAIO-base"))
    return json_answer({"oaio_id": oaio_id})


@changes
def subscribe(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    body = _small_object(request)
    right = bodies.checked_right(body.get("access_right"))
    key, message = objects.subscribe(
        caller, bodies.checked_id(body.get("oaio_id")), _username(body.get("username")), right
    )
    return json_answer({"Pid": key, "message": message})


@reads
def user_subz(caller: Caller, request: HttpRequest, oaio_id: str) -> HttpResponse:
    return json_answer(objects.subscribers(caller, oaio_id))


@reads
def oaio_log(caller: Caller, request: HttpRequest, oaio_id: str) -> HttpResponse:
    """The announced versions of one object, newest first."""
    return raw_json_answer(history.announced_versions(caller, oaio_id))


@reads
def csh_args(caller: Caller, request: HttpRequest, csh_id: str) -> HttpResponse:
    """How to reach a storage host; to one on this server each user gets a login of their own (``storage.logins``)."""
    hosts = StorageHost.objects.filter(csh_id=csh_id)
    host = hosts.filter(user=caller.user).first() or hosts.filter(user=None).first()
    credentials = _credentials(caller.user, host) if host else None
    if host is None or credentials is None:
        raise Refusal(404, "NotFound", "This server knows no storage host of that id.")
    email, password = credentials
    arguments = {"root_folder": host.root_folder, "email": email, "password": password}
    # the existing client hands every key to its driver, which fails on an unknown one: so only to those who ask
    if _asks_for(request, "base-url"):
        arguments["base_url"] = host.base_url or f"{request.scheme}://{request.get_host()}"
    return json_answer(arguments)


def _credentials(user: User, host: StorageHost) -> tuple[str, str] | None:
    """Email and password, None where there is no such account here."""
    if host.base_url:
        return host.email, host.password
    account = StorageAccount.objects.filter(email=host.email).first()
    login = Login(account, user) if account else None
    return (login.email, password_of(login)) if login else None


@changes
def wipe_user(request: HttpRequest) -> HttpResponse:
    if not caller_of(request).superuser:
        raise Refusal(403, "Forbidden", "Only a superuser wipes users.")
    name = _username(_small_object(request).get("Uid"))
    if not objects.wipe(name):
        raise Refusal(404, "NotFound", "There is no user of that name.")
    return json_answer({"Uid": name})


def _stamp_in(request: HttpRequest, header: str) -> str | None:
    """The version that the client names in this header, None where it names none."""
    stamp = request.headers.get(header)
    if stamp is not None and stamps.parse(stamp) is None:
        raise Refusal(400, "BadRequest", f"{header} must be a stamp: the UTC time in 20 digits.")
    return stamp


def _asks_for(request: HttpRequest, feature: str) -> bool:
    """Whether the client can take what goes beyond the existing client's protocol."""
    return feature in (word.strip() for word in request.headers.get("X-OAIO-features", "").split(","))


def _username(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_USERNAME or _CONTROL.search(value):
        raise Refusal(400, "BadRequest", f"A user name is a text of 1 to {_LONGEST_USERNAME} characters.")
    return value
