"""An oaio server that answers as told, and a session on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import trio

from oaiofs.core import dialect
from oaiofs.core.model import Outgoing
from oaiofs.remote.http import Surroundings
from oaiofs.remote.oaio import HttpOaioServer
from oaiofs.remote.retry import NO_RETRY
from tests.remote.scripted import Reply, Request, ScriptedServer, json_reply

PASSWORD = "top5ecret"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CUT = Reply(raw=b"")


async def no_sleep(_seconds: float) -> None:
    await trio.lowlevel.checkpoint()


class Django:
    """The part of a Django site that clients meet: CSRF tokens that rotate, sessions that end, and *endpoints*."""

    def __init__(self, **endpoints: Callable[[Request], Reply]) -> None:
        self.endpoints = endpoints
        self.posts = {"login", "logout", "register", "upload", "delete", "subscribe"}
        self.token = 0
        self.session = 0
        self.logins = 0
        self.over = 403
        self.over_text = "CSRF verification failed. Request aborted."

    def end_session(self) -> None:
        self.session += 1

    def __call__(self, request: Request) -> Reply:
        name = request.path.removeprefix("/api/").split("/")[0]
        if request.method == "GET" and name in self.posts:
            self.token += 1
            return json_reply({}, Set_Cookie=f"csrftoken=token{self.token}; Path=/")
        if request.method == "POST" and not self._token_is_right(request):
            return Reply(403, b"<html>CSRF verification failed. Request aborted.</html>")
        if name == "login":
            return self._login(request)
        if name == "logout":
            return json_reply({})
        if f"sessionid=session{self.session}" not in request.headers.get("cookie", ""):
            return Reply(self.over, self.over_text.encode())
        return self.endpoints[name](request) if name in self.endpoints else Reply(404)

    def _token_is_right(self, request: Request) -> bool:
        cookie = request.headers.get("cookie", "")
        token = request.headers.get("x-csrftoken")
        right = f"csrftoken={token}" in cookie and token == f"token{self.token}"
        return right and request.headers["referer"].endswith(request.target)

    def _login(self, request: Request) -> Reply:
        self.logins += 1
        if request.json != {"username": "jörg", "password": PASSWORD}:
            return json_reply({"error": f"{request.json['password']} is wrong"}, 401)
        self.token += 1  # a login rotates the token
        raw = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
            b"Set-Cookie: csrftoken=token%d; Path=/\r\nSet-Cookie: sessionid=session%d; Path=/; HttpOnly\r\n\r\n{}"
        )
        return Reply(raw=raw % (self.token, self.session))


def client(server: ScriptedServer, password: str = PASSWORD, **changes: Any) -> HttpOaioServer:
    around = Surroundings(**{"retry": NO_RETRY, "clock": lambda: NOW, "sleep": no_sleep, **changes})
    return HttpOaioServer(server.url, "jörg", password, device_id="pc", app_id="", surroundings=around)


def listed(*objects: object) -> Callable[[Request], Reply]:
    return lambda _: json_reply(list(objects))


def wire(new: Outgoing, **changes: Any) -> dict[str, Any]:
    return {**dialect.write_object(new, username="jörg", device_id="pc", app_id=""), **changes}
