"""Plain clients for the server's tests: one for the oaio endpoints, one for the storage host."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any

import httpx

from tests.serverkit import PATIENCE, ServerKit

_numbers = itertools.count(1)


def context(name: str) -> str:
    """*name* as a context header spells it."""
    return repr(name.encode())


def stamp(number: int) -> str:
    """Some valid stamp; a larger number is a later one."""
    return f"2026010100000{number:07d}"


def wire_object(number: int = 1, values: Any = None, **more: Any) -> dict[str, Any]:
    """An object as clients send it, with an id that no other test has."""
    return {
        "oaio_id": f"object-{next(_numbers)}",
        "client_stamp": stamp(number),
        "server_stamp": "",
        "client_values": {"_name": "n"} if values is None else values,
        "server_values": {},
        "csh_id": "Digi",
        "username": "whoever",
        "device_id": "old device",
        "app_id": "old app",
        "csh_access_right": "C",
    } | more


class Oaio:
    """A logged-in session that fetches the CSRF token as clients do."""

    def __init__(self, kit: ServerKit, name: str, password: str, *, log_in: bool = True) -> None:
        self.name = name
        headers = {"X-OAIO-user": context(name), "X-OAIO-dvc": context("desk"), "X-OAIO-app": context("test")}
        self.http = httpx.Client(base_url=f"{kit.url}/api/", headers=headers, timeout=PATIENCE)
        if log_in:
            answer = self.log_in(password)
            assert answer.status_code == 200, answer.text

    def log_in(self, password: str) -> httpx.Response:
        return self.post("login/", {"username": self.name, "password": password})

    def get(self, slug: str, **headers: str) -> httpx.Response:
        return self.http.get(slug, headers=_dashed(headers))

    def post(self, slug: str, body: Any = None, **headers: str) -> httpx.Response:
        if "csrftoken" not in self.http.cookies:
            self.http.get(slug)
        return self.http.post(slug, json=body, headers=self._csrf() | _dashed(headers))

    def post_text(self, slug: str, body: bytes | str) -> httpx.Response:
        return self.http.post(slug, content=body, headers=self._csrf() | {"Content-Type": "application/json"})

    def listing(self) -> dict[str, dict[str, Any]]:
        return {item["oaio_id"]: item for item in self.get("oaio_stampz/").json()}

    def register(self, values: Any = None) -> dict[str, Any]:
        answer = self.post("register/", wire_object(values=values))
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def share(self, oaio_id: str, name: str, right: str) -> httpx.Response:
        return self.post("subscribe/", {"oaio_id": oaio_id, "username": name, "access_right": right})

    def _csrf(self) -> dict[str, str]:
        return {"X-CSRFToken": self.http.cookies["csrftoken"]}

    def __enter__(self) -> Oaio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Storage:
    """One account of the storage host, by Basic login; ``version`` is v2 or v2.1."""

    def __init__(self, kit: ServerKit, email: str, password: str, version: str = "v2", mount: str = "primary") -> None:
        self.http = httpx.Client(base_url=kit.url, auth=(email, password), timeout=PATIENCE)
        self.version = version
        self.mount = mount

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def call(self, method: str, name: str, path: str | None = None, body: Any = None, **params: Any) -> httpx.Response:
        if path is not None:
            params["path"] = path
        url = f"/api/{self.version}/mounts/{self.mount}/files/{name}"
        return self.http.request(method, url, params=params, json=body)

    def put(self, folder: str, name: str, content: bytes, **params: Any) -> httpx.Response:
        files = {"file": (name, content)}
        return self.http.post(self._content("put"), params={"path": folder, "info": "true", **params}, files=files)

    def put_raw(self, folder: str, content: Any, **params: Any) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream"}
        params = {"path": folder, "info": "true", **params}
        return self.http.post(self._content("put"), params=params, content=content, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(self._content("get"), params={"path": path}, headers=headers)

    def list_recursive(self, path: str) -> httpx.Response:
        return self.http.get(self._content("listrecursive"), params={"path": path})

    def folder(self, parent: str, name: str) -> httpx.Response:
        return self.call("POST", "folder", parent, {"name": name})

    def transfer(self, what: str, source: str, target: str, **more: Any) -> httpx.Response:
        """*what* is copy or move."""
        return self.call("PUT", what, source, {"toMountId": "primary", "toPath": target, **more})

    def names(self, path: str) -> list[str]:
        return [item["name"] for item in self.call("GET", "list", path).json()["files"]]

    def _content(self, name: str) -> str:
        return f"/content/api/{self.version}/mounts/{self.mount}/files/{name}"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and error code of a refusal."""
    body = answer.json()
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]
