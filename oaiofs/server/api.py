"""The oaio endpoints: who is asking, what is asked, and the answer as JSON; what it means is in ``objects``.

Must not know SQL or the storage host's files. The wire is described by the existing client (ae_oaio_client 0.3.19); the
headers X-OAIO-base and X-OAIO-features are this server's own and told by X-OAIO-server in each answer.
"""

from __future__ import annotations

import ast
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

from ..core import stamps
from . import bodies, objects
from .answers import Refusal, json_answer, members_of, raw_json_answer, read_body
from .models import StorageHost
from .objects import Caller
from .throttle import Throttle

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
    return Caller(user, _context(request, "X-OAIO-dvc"), _context(request, "X-OAIO-app"), session_user.is_superuser)


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
        value = ast.literal_eval(literal) if len(literal) <= _LONGEST_CONTEXT else None
        text = value.decode() if isinstance(value, bytes) else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
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


@conditional_page
@reads
def oaio_stampz(caller: Caller, request: HttpRequest) -> HttpResponse:
    """All objects of the caller; with If-None-Match an idle poll costs a 304 without a body."""
    answer = raw_json_answer(objects.listing(caller.user))
    answer["Cache-Control"] = "private, no-cache"
    return answer


@changes
def register(request: HttpRequest) -> HttpResponse:
    return raw_json_answer(objects.register(caller_of(request), _announcement(request)))


@changes
def upload(request: HttpRequest) -> HttpResponse:
    base = request.headers.get("X-OAIO-base")
    if base is not None and stamps.parse(base) is None:
        raise Refusal(400, "BadRequest", "X-OAIO-base must be a stamp: the UTC time in 20 digits.")
    return raw_json_answer(objects.upload(caller_of(request), _announcement(request), base))


@changes
def delete(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    body = members_of(bodies.parse_json(read_body(request, settings.OAIO_MAX_OBJECT_SIZE)))
    oaio_id = bodies.checked_id(body.get("oaio_id"))
    objects.delete(caller, oaio_id)
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
def csh_args(caller: Caller, request: HttpRequest, csh_id: str) -> HttpResponse:
    hosts = StorageHost.objects.filter(csh_id=csh_id)
    host = hosts.filter(user=caller.user).first() or hosts.filter(user=None).first()
    if host is None:
        raise Refusal(404, "NotFound", "This server knows no storage host of that id.")
    arguments = {"root_folder": host.root_folder, "email": host.email, "password": host.password}
    # the existing client hands every key to its driver, which fails on an unknown one: so only to those who ask
    if "base-url" in (word.strip() for word in request.headers.get("X-OAIO-features", "").split(",")):
        arguments["base_url"] = host.base_url or f"{request.scheme}://{request.get_host()}"
    return json_answer(arguments)


@changes
def wipe_user(request: HttpRequest) -> HttpResponse:
    if not caller_of(request).superuser:
        raise Refusal(403, "Forbidden", "Only a superuser wipes users.")
    name = _username(_small_object(request).get("Uid"))
    if not objects.wipe(name):
        raise Refusal(404, "NotFound", "There is no user of that name.")
    return json_answer({"Uid": name})


def _username(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_USERNAME or _CONTROL.search(value):
        raise Refusal(400, "BadRequest", f"A user name is a text of 1 to {_LONGEST_USERNAME} characters.")
    return value
