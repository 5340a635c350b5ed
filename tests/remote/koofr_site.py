"""A Koofr-like host for tests: signing in works, its calls do what a test tells them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import trio

from oaiofs.core.model import FileFact, StorageAccount
from oaiofs.remote.http import Surroundings
from oaiofs.remote.koofr import KoofrHost
from oaiofs.remote.retry import NO_RETRY, RetryPolicy
from tests.remote.scripted import Reply, Request, ScriptedServer, json_reply
from tests.remote.worlds import read_all, source_of

PASSWORD = "stor4ge pässword"
CUT = Reply(raw=b"")
CONTENT = b"0123456789"
MD5 = hashlib.md5(CONTENT).hexdigest()
MISSING = json_reply({"error": {"code": "NotFound", "message": "File not found"}}, 404)
PRIMARY = {"id": "m 1", "name": "Digi Cloud", "isPrimary": True, "spaceTotal": 10240, "spaceUsed": 3}


def file_record(content: bytes = CONTENT, /, **changes: object) -> dict[str, object]:
    made = {
        "name": "f",
        "type": "file",
        "modified": 1_700_000_000_123,
        "size": len(content),
        "contentType": "text/plain",
        "hash": hashlib.md5(content).hexdigest(),
    }
    return {**made, **changes}


def folder_record(name: str = "d", **changes: object) -> dict[str, object]:
    return {"name": name, "type": "dir", "modified": 1, "size": 0, "contentType": "", **changes}


class Koofr:
    """A host with *actions* by name; signing in works and is counted. A handler is a function or one reply for all."""

    def __init__(self, **actions: Reply | Callable[[Request], Reply]) -> None:
        self.actions: dict[str, Reply | Callable[[Request], Reply]] = actions
        self.mounts: list[Any] = [PRIMARY]
        self.token = 0
        self.takes_token = True
        self.takes_basic = False

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            return self._sign_in(request)
        if not self._known(request):
            return Reply(401)
        if request.path == "/api/v2/mounts":
            return json_reply({"mounts": self.mounts})
        if request.path == "/api/v2/mounts/m%201":
            return json_reply(self.mounts[0])
        prefix, _, action = request.path.rpartition("/files/")
        content = action in ("get", "put", "listrecursive")
        assert prefix == ("/content" if content else "") + "/api/v2/mounts/m%201"
        reply = self.actions.get(action, Reply(500, b"unexpected"))
        return reply if isinstance(reply, Reply) else reply(request)

    def _sign_in(self, request: Request) -> Reply:
        if not self.takes_token or request.headers["x-koofr-password"] != PASSWORD:
            return Reply(401)
        self.token += 1
        return Reply(200, headers={"X-Koofr-Token": f"t{self.token}"})

    def _known(self, request: Request) -> bool:
        authorization = request.headers["authorization"]
        basic = "Basic " + base64.b64encode(f"me@example:{PASSWORD}".encode()).decode()
        return authorization == f"Token t{self.token}" or (self.takes_basic and authorization == basic)


async def no_sleep(_seconds: float) -> None:
    await trio.lowlevel.checkpoint()


def account(root_folder: str = "", password: str = PASSWORD, **more: str) -> StorageAccount:
    return StorageAccount(
        "Digi", {"root_folder": root_folder, "email": "me@example", "password": password, **more}
    )


def opened(server: ScriptedServer, retry: RetryPolicy = NO_RETRY, **changes: str) -> KoofrHost:
    return KoofrHost(account(**changes), base_url=server.url, surroundings=Surroundings(retry=retry, sleep=no_sleep))


def actions(server: ScriptedServer) -> list[str]:
    return [request.path.rpartition("/files/")[2] for request in server.requests if "/files/" in request.path]


async def put(host: KoofrHost, path: str = "d/f", content: bytes = CONTENT) -> FileFact:
    return await host.put(path, source_of(content, len(content) // 3 + 1), len(content), 1_700_000_000_123_456_789)


async def get(host: KoofrHost, start: int = 0, length: int | None = None) -> bytes:
    async with host.get("d/f", start, length) as chunks:
        return await read_all(chunks)


def lines(*items: object) -> Reply:
    return Reply(200, b"".join(json.dumps(item).encode() + b"\n" for item in items))


def entry(path: str, record: object) -> dict[str, object]:
    return {"type": "file", "path": path, "file": record}
