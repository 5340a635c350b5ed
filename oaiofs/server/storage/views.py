"""The storage host's endpoints: parameters in, refusals and records out; what happens to files is ``tree``'s.

Must not touch files itself. A call is ``modern`` where version 2.1 is spoken (by prefix or X-Koofr-Version): then
"already there" is 409, where plain v2 says 400.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from .. import bodies
from ..answers import Refusal, json_answer, json_text, members_of, read_body, refusal_answer
from ..models import StorageAccount
from ..site import DataDir
from . import accounts, paths
from .disk import DraftWriter, StorageError
from .index import Index
from .records import PRIMARY, content_type, file_record, mount_record, user_record
from .tree import Condition, Entry, PutRule, Shared, Tree
from .uploads import receive

_SMALL_BODY = 1024 * 1024
#: The last millisecond of the year 9999.
_LATEST = 253_402_300_799_999
_LARGEST = 1 << 60
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

_STATUS = {"NotFound": 404, "Conflict": 409, "QuotaExceeded": 413}

_shared: dict[int, Shared] = {}
_shared_lock = threading.Lock()

Args = ParamSpec("Args")


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a known account."""

    request: HttpRequest
    account: StorageAccount
    modern: bool

    @property
    def tree(self) -> Tree:
        place = DataDir(settings.OAIO_DATA)
        with _shared_lock:
            shared = _shared.setdefault(self.account.pk, Shared())
        root = os.path.join(place.storage, self.account.directory)
        return Tree(root, place.spool, Index(self.account.pk), shared, self.account.quota)

    @property
    def path(self) -> paths.Parts:
        path = self.request.GET.get("path")
        if path is None:
            raise Refusal(400, "BadRequest", "The parameter path is missing.")
        return paths.parse(path)

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
    """A view of *method* for a known account, on that account's mount where the address names one."""

    def decorate(view: Callable[Concatenate[Call, Args], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Args.args, **kwargs: Args.kwargs) -> HttpResponseBase:
            modern = bool(kwargs.pop("modern", False)) or request.headers.get("X-Koofr-Version", "").startswith("2.1")
            try:
                if request.method != method:
                    raise Refusal(405, "BadRequest", f"This address takes {method} only.", headers={"Allow": method})
                call = Call(request, accounts.account_of(request), modern)
                if "mount" in kwargs and kwargs.pop("mount") not in (call.account.directory, PRIMARY):
                    raise Refusal(404, "NotFound", "There is no mount of that id.")
                return view(call, *args, **kwargs)
            except (Refusal, StorageError, paths.BadPath, bodies.BadBody) as error:
                return _refuse(error, modern)

        return csrf_exempt(answer)

    return decorate


def _refuse(error: Exception, modern: bool) -> HttpResponse:
    if isinstance(error, StorageError):
        refusal = Refusal(*_wire_error(error.code, modern), str(error))
    elif isinstance(error, Refusal):
        refusal = error
    else:
        code = "InvalidPath" if isinstance(error, paths.BadPath) else "BadRequest"
        refusal = Refusal(400, code, str(error))
    request_id = str(uuid.uuid4())
    refusal.extra["requestId"] = json_text(request_id)
    refusal.headers["X-Request-Id"] = request_id
    return refusal_answer(refusal)


def _wire_error(code: str, modern: bool) -> tuple[int, str]:
    if code == "AlreadyExists":
        return (409 if modern else 400), code
    if code == "Taken":
        return (409, "Conflict") if modern else (400, "AlreadyExists")
    return _STATUS.get(code, 400), code


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
        account = accounts.login(request, *_credentials(request))
    except (Refusal, bodies.BadBody) as error:
        return _refuse(error, modern=True)
    text = accounts.new_token(account)
    answer = json_answer({"token": text})
    answer["X-Koofr-Token"] = text
    answer["X-User-ID"] = account.directory
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
    return mount_record(call.account, *call.tree.space())


@endpoint("GET")
def user(call: Call) -> HttpResponse:
    return json_answer(user_record(call.account))


@endpoint("GET")
def authenticated(call: Call) -> HttpResponse:
    return HttpResponse(status=204)


@endpoint("GET")
def info(call: Call) -> HttpResponse:
    return json_answer(file_record(call.tree.info(call.path)))


@endpoint("GET")
def list_folder(call: Call) -> HttpResponse:
    return json_answer({"files": [file_record(entry) for entry in call.tree.entries(call.path)]})


@endpoint("GET")
def bundle(call: Call) -> HttpResponse:
    files = [file_record(entry) for entry in call.tree.entries(call.path)]
    return json_answer({"file": file_record(call.tree.info(call.path)), "files": files})


@endpoint("GET")
def tree(call: Call) -> HttpResponse:
    nodes: dict[str, dict[str, Any]] = {}
    for path, entry in call.tree.walk(call.path):
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
    items = call.tree.walk(call.path)
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
    name = paths.checked_name(call.body().get("name"))
    return json_answer(file_record(call.tree.make_folder(call.path, name)), status=201)


@endpoint("DELETE")
def remove(call: Call) -> HttpResponse:
    call.tree.remove(call.path, call.condition("removeIf"), call.flag("removeIfEmpty"))
    return json_answer({})


@endpoint("PUT")
def rename(call: Call) -> HttpResponse:
    path = call.path
    name = paths.checked_name(call.body().get("name"))
    return json_answer({"name": call.tree.move(path, (*path[:-1], name), Condition()).name})


@endpoint("PUT")
def move(call: Call) -> HttpResponse:
    body = call.body()
    return json_answer({"name": call.tree.move(call.path, _target(call, body), _body_condition(body)).name})


@endpoint("PUT")
def copy(call: Call) -> HttpResponse:
    body = call.body()
    modified = _number("modified", body.get("modified"), _LATEST)
    return json_answer({"name": call.tree.copy(call.path, _target(call, body), modified, _body_condition(body)).name})


def _target(call: Call, body: dict[str, Any]) -> paths.Parts:
    if body.get("toMountId") not in (call.account.directory, PRIMARY):
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
    modified = call.number("modified", _LATEST)
    name = call.request.GET.get("filename", "")
    if name:
        # conditions are looked at twice: now, to spare the bytes, and again when they are all here
        call.tree.check_put(call.path, paths.checked_name(name), rule, call.number("size") or 0)
    else:
        call.tree.check_folder(call.path)
    with DraftWriter(DataDir(settings.OAIO_DATA).spool) as writer:
        draft, own_name = receive(call.request, writer)
        size = call.number("size")
        if size is not None and size != draft.size:
            raise Refusal(400, "BadRequest", f"{draft.size} bytes came instead of {size}.")
        name = paths.checked_name(name or own_name)
        time_ms = modified if modified is not None else time.time_ns() // 1_000_000
        entry = call.tree.put(call.path, name, draft, rule, time_ms)
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
    file, entry = call.tree.open(call.path)
    answer = FileResponse(file, content_type=content_type(entry))
    wanted = _range(call.request.headers.get("Range"), entry.size)
    if wanted is not None and not wanted:
        answer.close()
        refusal = Refusal(
            416, "BadRequest", "That range is not in the file.", headers={"Content-Range": f"bytes */{entry.size}"}
        )
        return _refuse(refusal, call.modern)
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
