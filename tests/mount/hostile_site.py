"""An oaio server and storage host in one that is as hostile as can be, on loopback: what it lists, sends and says.

It takes any login, so the secrets that it hands out are known, and says them back in its refusals.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SESSION, CSRF, STORAGE_PASSWORD, TOKEN = "sess10n-s3cret", "csrf-s3cret", "st0rage-s3cret", "t0ken-s3cret"
STAMP = "20260301000000000000"
GOOD = b"good bytes"


def wire(oaio_id: object, values: object = None, **more: Any) -> dict[str, Any]:
    return {
        "oaio_id": oaio_id, "client_stamp": STAMP, "server_stamp": STAMP,
        "client_values": {"_name": oaio_id} if values is None else values, "server_values": {}, "csh_id": "Digi",
        "username": "mallory", "device_id": "x", "app_id": "y", "csh_access_right": "C", **more,
    }  # fmt: skip


#: Attached files of the object "files" and how the storage spoils each; opening any of them must fail, and end.
SPOILT = ["bomb", "endless", "short", "redirected", "swollen", "enormous", "error", "html", "cut", "gone"]
PATHS: list[object] = [
    "../../../../escaped", "/escaped", "", "a//b", "nul\0", "x" * 5000, "dup", "dup", "file", "file/below", 5, None,
    "half\ud800", ".versions/x", ["a"], "new\nline",
]  # fmt: skip
#: How many of PATHS can't be: all but one "dup" and "file".
IMPOSSIBLE_PATHS = len(PATHS) - 2


def impossible_objects() -> list[bytes]:
    """Elements of a listing that no object can be made of, as JSON texts."""
    ids = ["..", ".", "a/b", "/abs", "", "nul\0", "x" * 5000, "half\ud800", 5, None, ["a"]]
    stamps = ["", "9" * 20, "2" * 5000, 5, None, "٢" * 20, "20261301000000000000"]
    odd: list[object] = [None, 5, "x", [], {}, *(wire(one) for one in ids)]
    odd += [wire("odd", client_stamp=one) for one in stamps]
    odd_values: list[object] = [[], "x", 5, {"x": float("nan")}, {"x": float("inf")}, {"\udc00": 1}]
    odd += [wire("odd", values) for values in odd_values]
    odd += [wire("odd", csh_access_right=right) for right in (None, "root", ["C"])]
    odd += [wire("odd", {"x": "y" * (9 << 20)})]
    deep = json.dumps(wire("deep", {"x": 0})).replace('"x": 0', '"x": ' + "[" * 10_000 + "]" * 10_000)
    digits = json.dumps(wire("digits", {"x": 0})).replace('"x": 0', '"x": ' + "7" * 5000)
    return [*(json.dumps(one).encode() for one in odd), deep.encode(), digits.encode(), b"nonsense"]


class HostileSite:
    """*requests* is what came to the other host that it redirects to; *fails* has every call refused."""

    def __init__(self) -> None:
        self.good = wire("good", {"_name": "good"})
        self.requests: list[str] = []
        self.uploads = 0
        self.refusals = 0
        self.fails = False
        self.url = ""
        self.elsewhere = ""

    def listing(self) -> bytes:
        files = {"_name": "../files", "_file_paths": [*PATHS, *SPOILT, "fine/deep"]}
        twice = '{"x": 1, "x": 2, "_name": "twice", "_name_VaK": "other"}'
        usable = [
            self.good,
            wire("files", files),
            wire("last", client_stamp="99991231235959999999"),
            wire("good", {"_name": "good", "older": 1}, client_stamp="20260201000000000000"),
        ]
        texts = [json.dumps(one).encode() for one in usable]
        texts.append(json.dumps(wire("twice", "?")).replace('"?"', twice).encode())
        return b"[" + b",".join([*texts, *impossible_objects()]) + b"]"

    def tree(self) -> bytes:
        def line(path: str, **more: object) -> bytes:
            record = {"name": path, "type": "file", "size": len(GOOD), "modified": 1 << 42,
                      "hash": hashlib.md5(GOOD).hexdigest(), **more}  # fmt: skip
            return json.dumps({"type": "file", "path": f"/{path}", "file": record}).encode() + b"\n"

        told_wrong: dict[str, dict[str, object]] = {
            "enormous": {"size": (1 << 62) - 1, "modified": 10**400},
            "short": {"hash": "no hash"},
        }
        listed = [line("", type="dir")]
        listed += [line(path, **told_wrong.get(path, {})) for path in (*SPOILT, "dup", "file", "fine/deep")]
        listed += [line(path) for path in ("../../escaped", "a//b", "x" * 50_000, "nul\0")]
        listed += [line(f"../{number}") for number in range(20_000)]
        return b"".join(listed)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: HostileSite

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass

    def send(self, body: bytes = b"{}", status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # clients leave as they like
            self.answer(b"")

    def do_POST(self) -> None:
        with contextlib.suppress(OSError):
            self.answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def answer(self, body: bytes) -> None:
        address = urlsplit(self.path)
        action = address.path.rstrip("/").rpartition("/")[2]
        if self.site.fails:
            self.site.refusals += 1
            heard = [value for name, value in self.headers.items() if name.lower() not in ("host", "connection")]
            # what this client was told before, and what it sends now
            known = [SESSION, CSRF, STORAGE_PASSWORD] if self.headers["Cookie"] else [TOKEN] * ("Token" in str(heard))
            words = " ".join([*known, *heard, body.decode("utf-8", "replace")])
            self.send(json.dumps({"error": words}).encode(), 500)
        elif action == "login":
            self.send_response(200)
            self.send_header("Set-Cookie", f"sessionid={SESSION}; Path=/")
            self.send_header("Set-Cookie", f"csrftoken={CSRF}; Path=/")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
        elif action == "current_stamp":
            self.send(json.dumps({"current_stamp": f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"}).encode())
        elif action == "oaio_stampz":
            self.send(self.site.listing())
        elif action == "upload":
            self.site.good = json.loads(body)
            self.site.uploads += 1
            self.send(body)
        elif action == "Digi":
            account = {"root_folder": "/r", "email": "e", "password": STORAGE_PASSWORD, "base_url": self.site.url}
            self.send(json.dumps(account).encode())
        elif action == "token":
            self.send(X_Koofr_Token=TOKEN)
        elif action == "mounts":
            record = {"id": "m", "isPrimary": True, "spaceTotal": 1 << 61, "spaceUsed": -1}
            self.send(json.dumps({"mounts": [record]}).encode())
        elif action == "listrecursive":
            self.send(self.site.tree())
        elif action == "get":
            self.content(parse_qs(address.query)["path"][0].rpartition("/")[2])
        else:
            self.send(b'{"spaceTotal": 2305843009213693952}')

    def content(self, name: str) -> None:
        if name == "bomb":
            self.send(gzip.compress(bytes(50 << 20)), Content_Encoding="gzip")
        elif name in ("endless", "enormous"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        elif name == "short":
            self.send(GOOD[:3])
        elif name == "redirected":
            self.send(b"", 302, Location=f"{self.site.elsewhere}/stolen")
        elif name == "swollen":
            self.send(GOOD * 100_000)
        elif name == "error":
            self.send(b"x" * 10_000_000, 404)
        elif name == "html":
            self.send(b"<html></html>", Content_Type="text/html")
        elif name == "cut":
            self.send(GOOD[:3], length=len(GOOD))
        elif name == "gone":
            self.send(b"{}", 410)
        else:
            self.send(GOOD)


@contextlib.contextmanager
def hostile_site() -> Iterator[HostileSite]:
    """The site for as long as the block runs."""
    site = HostileSite()

    class Elsewhere(_Handler):
        def answer(self, body: bytes) -> None:
            site.requests.append(self.path)
            self.send(GOOD)

    handlers = (type("Handler", (_Handler,), {"site": site}), Elsewhere)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler)) for handler in handlers]
        for server in servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        site.url, site.elsewhere = (f"http://127.0.0.1:{server.server_port}" for server in servers)
        yield site
