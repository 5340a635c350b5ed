"""The storage host's endpoints: parameters in, refusals and records out; what happens to files is ``tree``'s.

Must not touch files itself, nor know rights: each view asks ``access`` first. A call is ``modern`` where version 2.1 is
spoken (by prefix or X-Koofr-Version): then "already there" is 409, where plain v2 says 400.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from ...core.storedfiles import Doing
from .. import bodies
from ..answers import Refusal, json_answer, json_text, members_of, read_body
from ..site import DataDir
from . import accounts, paths
from .access import Access
from .disk import DraftWriter, StorageError
from .logins import Login
from .places import tree_of
from .records import PRIMARY, content_type, file_record, mount_record, user_record
from .refusals import refused
from .tree import Condition, Entry, PutRule, Tree
from .uploads import receive

_SMALL_BODY = 1024 * 1024
#: The last millisecond of the year 9999.
_LATEST = 253_402_300_799_999
_LARGEST = 1 << 60
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

Args = ParamSpec("Args")


@dataclass(frozen=True)
class Call:
    """One request of a known login."""

    request: HttpRequest
    login: Login
    modern: bool

    @cached_property
    def tree(self) -> Tree:
        return tree_of(self.login.account)

    @cached_property
    def access(self) -> Access:
        return Access(self.login)

    @property
    def path(self) -> paths.Parts:
        path = self.request.GET.get("path")
        if path is None:
            raise Refusal(400, "BadRequest", "The parameter path is missing.")
        return paths.parse(path)

    def allowed(self, doing: Doing) -> paths.Parts:
        """The path, at which the login may do that. Raises Refusal 403, 404."""
        path = self.path
        self.access.check(doing, path)
        return path

    def body(self) -> dict[str, Any]:
        return members_of(bodies.parse_json(read_body(self.request, _SMALL_BODY)))

    def flag(self, name: str) -> bool:
        """Whether a parameter is set; an empty value counts, as clients send it so."""
        return self.request.GET.get(name, "false").lower() in ("", "true", "1")

    def number(self, name: str, largest: int = _LARGEST) -> int | None:
        return _number(name, self.request.GET.get(name), largest)

    def condition(self, prefix: str) -> Condition:
        """The parameters PREFIXHash, PREFIXSize and PREFIXModified."""
        get = self.request.GET.get
        return Condition(get(f"{prefix}Hash"), self.number(f"{prefix}Size"), self.number(f"{prefix}Modified"))


def endpoint(
    method: str,
) -> Callable[[Callable[Concatenate[Call, Args], HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """A view of *method* for a known login, on its account's mount where the address names one."""

    def decorate(view: Callable[Concatenate[Call, Args], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Args.args, **kwargs: Args.kwargs) -> HttpResponseBase:
            modern = bool(kwargs.pop("modern", False)) or request.headers.get("X-Koofr-Version", "").startswith("2.1")
            try:
                if request.method != method:
                    raise Refusal(405, "BadRequest", f"This address takes {method} only.", headers={"Allow": method})
                call = Call(request, accounts.login_of(request), modern)
                if "mount" in kwargs and kwargs.pop("mount") not in (call.login.account.directory, PRIMARY):
                    raise Refusal(404, "NotFound", "There is no mount of that id.")
                return view(call, *args, **kwargs)
            except (Refusal, StorageError, paths.BadPath, bodies.BadBody) as error:
                return refused(error, modern)

        return csrf_exempt(answer)

    return decorate


def _number(name: str, value: object, largest: int) -> int | None:
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > largest:
        raise Refusal(400, "BadRequest", f"{name} must be a number of 0 to {largest}.")
    return int(text)


@csrf_exempt
def token(request: HttpRequest) -> HttpResponseBase:
    """GET with the credentials as headers, POST with them as JSON, DELETE to revoke."""
    try:
        if request.method == "DELETE":
            accounts.revoke_token(request)
            return HttpResponse(status=204)
        login = accounts.log_in(request, *_credentials(request))
    except (Refusal, bodies.BadBody) as error:
        return refused(error, modern=True)
    text = accounts.new_token(login)
    answer = json_answer({"token": text})
    answer["X-Koofr-Token"] = text
    answer["X-User-ID"] = login.account.directory
    return answer


def _credentials(request: HttpRequest) -> tuple[str, str]:
    email: object = request.headers.get("X-Koofr-Email")
    password: object = request.headers.get("X-Koofr-Password")
    if request.method == "POST":
        body = members_of(bodies.parse_json(read_body(request, _SMALL_BODY)))
        email, password = body.get("email"), body.get("password")
    elif request.method != "GET":
        allowed = "GET, POST, DELETE"
        raise Refusal(405, "BadRequest", f"This address takes {allowed}.", headers={"Allow": allowed})
    if not isinstance(email, str) or not isinstance(password, str):
        raise Refusal(401, "Unauthorized", "Email and password are missing.")
    return email, password


@endpoint("GET")
def mounts(call: Call) -> HttpResponse:
    return json_answer({"mounts": [_mount(call)]})


@endpoint("GET")
def places(call: Call) -> HttpResponse:
    return json_answer({"places": [_mount(call)]})


@endpoint("GET")
def mount(call: Call) -> HttpResponse:
    return json_answer(_mount(call))


def _mount(call: Call) -> dict[str, Any]:
    return mount_record(call.login, *call.tree.space())


@endpoint("GET")
def user(call: Call) -> HttpResponse:
    return json_answer(user_record(call.login))


@endpoint("GET")
def authenticated(call: Call) -> HttpResponse:
    return HttpResponse(status=204)


@endpoint("GET")
def info(call: Call) -> HttpResponse:
    return json_answer(_record(call, call.allowed(Doing.READ)))


@endpoint("GET")
def list_folder(call: Call) -> HttpResponse:
    return json_answer({"files": _records_in(call, call.allowed(Doing.READ))})


@endpoint("GET")
def bundle(call: Call) -> HttpResponse:
    path = call.allowed(Doing.READ)
    files = _records_in(call, path)
    return json_answer({"file": _record(call, path), "files": files})


def _record(call: Call, path: paths.Parts) -> dict[str, Any]:
    return file_record(call.access.masked(path, call.tree.info(path)))


def _records_in(call: Call, folder: paths.Parts) -> list[dict[str, Any]]:
    return [file_record(entry) for entry in call.access.shown(folder, call.tree.entries(folder))]


def _walk(call: Call) -> Iterator[tuple[str, Entry | StorageError]]:
    return call.tree.walk(call.allowed(Doing.READ), call.access.shown, call.access.masked)


@endpoint("GET")
def tree(call: Call) -> HttpResponse:
    nodes: dict[str, dict[str, Any]] = {}
    for path, entry in _walk(call):
        if isinstance(entry, StorageError):
            raise entry
        node = file_record(entry)
        if entry.is_folder:
            node["children"] = []
            nodes[path] = node
        if path != "/":
            nodes[path.rpartition("/")[0] or "/"]["children"].append(node)
    try:
        return json_answer(nodes["/"])
    except RecursionError:
        raise Refusal(400, "BadRequest", "The folders are nested too deep for one answer; use listrecursive.") from None


@endpoint("GET")
def list_recursive(call: Call) -> StreamingHttpResponse:
    items = _walk(call)
    # the first item is made now, so that a missing folder is a 404 and not a broken stream
    first = next(items)
    lines = (_line(path, entry) for path, entry in itertools.chain([first], items))
    return StreamingHttpResponse(lines, content_type="application/x-ndjson")


def _line(path: str, entry: Entry | StorageError) -> bytes:
    if isinstance(entry, StorageError):
        record: dict[str, Any] = {"type": "error", "path": path, "error": {"code": entry.code, "message": str(entry)}}
    else:
        record = {"type": "file", "path": path, "file": file_record(entry)}
    return json_text(record).encode() + b"\n"


@endpoint("POST")
def make_folder(call: Call) -> HttpResponse:
    parent, name = call.path, paths.checked_name(call.body().get("name"))
    call.access.check(Doing.MAKE_FOLDER, (*parent, name))
    return json_answer(file_record(call.access.masked((*parent, name), call.tree.make_folder(parent, name))), 201)


@endpoint("DELETE")
def remove(call: Call) -> HttpResponse:
    call.tree.remove(call.allowed(Doing.REMOVE), call.condition("removeIf"), call.flag("removeIfEmpty"))
    return json_answer({})


@endpoint("PUT")
def rename(call: Call) -> HttpResponse:
    name = paths.checked_name(call.body().get("name"))
    return _moved(call, (*call.path[:-1], name), Condition())


@endpoint("PUT")
def move(call: Call) -> HttpResponse:
    body = call.body()
    return _moved(call, _target(call, body), _body_condition(body))


def _moved(call: Call, target: paths.Parts, condition: Condition) -> HttpResponse:
    source = call.allowed(Doing.REMOVE)
    call.access.check(Doing.WRITE, target)
    return json_answer({"name": call.tree.move(source, target, condition).name})


@endpoint("PUT")
def copy(call: Call) -> HttpResponse:
    body = call.body()
    source, target = call.path, _target(call, body)
    modified, condition = _number("modified", body.get("modified"), _LATEST), _body_condition(body)
    call.access.check_copy(source)
    call.access.check(Doing.WRITE, target)
    return json_answer({"name": call.tree.copy(source, target, modified, condition).name})


def _target(call: Call, body: dict[str, Any]) -> paths.Parts:
    if body.get("toMountId") not in (call.login.account.directory, PRIMARY):
        raise Refusal(404, "NotFound", "There is no mount of the id toMountId.")
    path = body.get("toPath")
    if not isinstance(path, str):
        raise Refusal(400, "BadRequest", "toPath is missing.")
    return paths.parse(path)


def _body_condition(body: dict[str, Any]) -> Condition:
    md5 = body.get("ifHash")
    if md5 is not None and not isinstance(md5, str):
        raise Refusal(400, "BadRequest", "ifHash must be a text.")
    return Condition(
        md5, _number("ifSize", body.get("ifSize"), _LARGEST), _number("ifModified", body.get("ifModified"), _LATEST)
    )


@endpoint("POST")
def put(call: Call) -> HttpResponse:
    rule = _put_rule(call)
    folder, modified = call.path, call.number("modified", _LATEST)
    name = call.request.GET.get("filename", "")
    # rights and conditions are looked at twice: now, to spare the bytes, and again when they are all here
    call.access.check(Doing.WRITE, (*folder, name))
    if name:
        call.tree.check_put(folder, paths.checked_name(name), rule, call.number("size") or 0)
    else:
        call.tree.check_folder(folder)
    with DraftWriter(DataDir(settings.OAIO_DATA).spool) as writer:
        draft, own_name = receive(call.request, writer)
        size = call.number("size")
        if size is not None and size != draft.size:
            raise Refusal(400, "BadRequest", f"{draft.size} bytes came instead of {size}.")
        name = paths.checked_name(name or own_name)
        time_ms = modified if modified is not None else time.time_ns() // 1_000_000
        call.access.check(Doing.WRITE, (*folder, name))
        entry = call.tree.put(folder, name, draft, rule, time_ms)
    return json_answer(file_record(entry) if call.flag("info") else [{"name": entry.name}])


def _put_rule(call: Call) -> PutRule:
    """As the vendor's own fake server reads them: any overwrite parameter means overwrite, and no other name."""
    condition = call.condition("overwriteIf")
    overwrite = call.flag("overwrite") or bool(condition)
    missing_ok = any(call.flag(f"overwriteIgnoreNonexist{ending}") for ending in ("ing", "ent"))
    autorename = not overwrite and call.request.GET.get("autorename", "true").lower() != "false"
    return PutRule(overwrite, autorename, condition, missing_ok)


@endpoint("GET")
def redirect_to_content(call: Call) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": f"/content{call.request.get_full_path()}"})


@endpoint("GET")
def get(call: Call) -> HttpResponseBase:
    file, entry = call.tree.open(call.allowed(Doing.READ))
    answer = FileResponse(file, content_type=content_type(entry))
    wanted = _range(call.request.headers.get("Range"), entry.size)
    if wanted is not None and not wanted:
        answer.close()
        refusal = Refusal(
            416, "BadRequest", "That range is not in the file.", headers={"Content-Range": f"bytes */{entry.size}"}
        )
        return refused(refusal, call.modern)
    if wanted is not None:
        file.seek(wanted.start)
        answer.status_code = 206
        answer["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{entry.size}"
    answer["Content-Length"] = str(entry.size if wanted is None else len(wanted))
    answer["Accept-Ranges"] = "bytes"
    answer["X-File-Info"] = json.dumps(file_record(entry))
    if call.flag("force"):
        answer["Content-Disposition"] = f"attachment; filename*=UTF-8''{urllib.parse.quote(entry.name, safe='')}"
    return answer


def _range(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for: None for the whole file, an empty range for what can't be given."""
    if header is None or not header.startswith("bytes="):
        return None
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return range(0)
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    start, end = int(match[1]), int(match[2]) if match[2] else size - 1
    return range(start, min(end + 1, size)) if start <= end else range(0)
