"""What strangers send: no request fills the disk, is read in two ways, leads out of its folder or ends in a 500."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oaiofs.server.intake import RESERVE, STRANGERS_FILE, House, refusal, without_charset
from tests.serverkit import ServerKit

from .clients import Oaio, Storage, context, error_of, wire_object

PUT = "/content/api/v2/mounts/primary/files/put"
HUGE = 1 << 40


def house(tmp_path: Path) -> House:
    return House(largest_object=1000, spool=str(tmp_path), is_known=lambda header: header == "Token good")


@pytest.mark.parametrize(
    ("path", "authorization", "size", "code"),
    [
        ("/api/login/", "", 1000, ""),
        ("/api/login/", "", 1_000_000, "TooLarge"),
        ("/api/upload/", "Token good", 1_000_000, "TooLarge"),
        (PUT, "", STRANGERS_FILE, ""),
        (PUT, "", STRANGERS_FILE + 1, "Unauthorized"),
        (PUT, "Token bad", STRANGERS_FILE + 1, "Unauthorized"),
        (PUT, "Token good", STRANGERS_FILE + 1, ""),
        (PUT.replace("v2", "v2.1"), "Token good", STRANGERS_FILE + 1, ""),
        (PUT, "Token good", HUGE, "QuotaExceeded"),
        (PUT + "/x", "Token good", STRANGERS_FILE + 1, "TooLarge"),
        ("/api/../" + PUT, "Token good", STRANGERS_FILE + 1, "TooLarge"),
    ],
)
def test_bodies_are_let_in_by_address_credentials_and_room(
    tmp_path: Path, path: str, authorization: str, size: int, code: str
) -> None:
    refused = refusal(house(tmp_path), path, authorization, size)
    assert (refused.code if refused else "") == code
    assert RESERVE > 0


def raw(kit: ServerKit, *parts: bytes) -> bytes:
    """Everything that the server answers to these bytes before it ends the connection or falls silent."""
    host, _, port = kit.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent
        answer = b""
        try:
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except OSError:
            pass  # ended by the server
        return answer


def status(answer: bytes) -> int:
    """The answer's status; 0 where the connection was ended instead."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("address", "code"), [(b"/api/login/", 413), (b"/nothing", 413), (PUT.encode() + b"?path=/&filename=f", 413)]
)
def test_nobody_announces_a_body_that_would_fill_the_disk(oaio_server: ServerKit, address: bytes, code: int) -> None:
    answer = raw(oaio_server, HEAD % address + b"Content-Length: %d\r\n\r\n" % HUGE)
    assert status(answer) == code
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]


def test_a_body_without_a_length_ends_at_the_limit(oaio_server: ServerKit) -> None:
    chunk = b"80000\r\n" + b"x" * 0x80000 + b"\r\n"
    head = HEAD % b"/api/login/" + b"Transfer-Encoding: chunked\r\n\r\n"
    sent = 0

    def parts() -> Any:
        nonlocal sent
        yield head
        while sent < 400:
            sent += 1
            yield chunk

    raw(oaio_server, *parts())
    assert not [path for path in (oaio_server.data / "tmp").iterdir() if path.stat().st_size > 16 << 20]


def test_large_files_of_strangers_are_not_taken(oaio_server: ServerKit, new_storage: Callable[..., Storage]) -> None:
    storage = new_storage()
    head = HEAD % (PUT.encode() + b"?path=/&filename=f") + b"Authorization: Basic eDp5\r\n"
    answer = raw(oaio_server, head + b"Content-Length: %d\r\n\r\n" % (STRANGERS_FILE + 1))
    assert status(answer) == 401
    storage.names("/")
    assert storage.put_raw("/", b"x" * (STRANGERS_FILE + 1), filename="f").status_code == 200


SMUGGLED = b"GET /api/current_stamp/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5 \x0b\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused_whole(oaio_server: ServerKit, head: bytes) -> None:
    answer = raw(oaio_server, HEAD % b"/api/login/" + head + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert status(answer) in (400, 413, 501)
    assert answer.count(b"HTTP/1.") == 1, "what comes behind it is no request"


def test_the_older_http_has_no_chunks(oaio_server: ServerKit) -> None:
    head = b"POST /api/login/ HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
    assert status(raw(oaio_server, head + b"0\r\n\r\n")) == 400


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 300_000, b"X: y\r\n" * 60_000])
def test_heads_without_end_are_refused(oaio_server: ServerKit, line: bytes) -> None:
    head = b"GET /api/login/ HTTP/1.1\r\nHost: localhost\r\n"
    assert status(raw(oaio_server, head + line + b"\r\n\r\n")) in (0, 400, 431)


ESCAPES = [
    "%2e%2e/%2e%2e/secret.key", "..%2f..%2fsecret.key", "%252e%252e/secret.key", "..%5c..%5csecret.key", "%00", "a%00b",
    "..%c0%afsecret.key", "%ff%fe", "/..//../secret.key", "....//secret.key", "%2e%2e%2f" * 20 + "etc/passwd", "~root",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("call", ["files/info", "files/list", "files/tree"])
def test_no_encoding_leads_out_of_the_account(storage: Storage, path: str, call: str) -> None:
    answer = storage.http.get(f"/api/v2/mounts/primary/{call}?path={path}")
    assert answer.status_code in (400, 404), answer.text
    content = storage.http.get(f"/content/api/v2/mounts/primary/files/get?path={path}")
    assert content.status_code in (400, 404), content.text
    assert storage.http.get(f"/api/v2/mounts/{path}/files/list?path=/").status_code in (400, 404)


CHARSETS = ["undefined", "hex", "rot13", "zlib", "idna", "utf-7", "utf-16", "mbcs", "x" * 5000, "\xff", ""]


@pytest.mark.parametrize("charset", CHARSETS)
def test_no_charset_is_a_failure(oaio_server: ServerKit, storage: Storage, charset: str) -> None:
    kind = {b"Content-Type": f"text/plain; charset={charset}".encode("latin-1")}
    for url in ("/api/v2/mounts/primary/files/list?path=/a%ffb", "/api/current_stamp/?x=%ff", "/api/login/?x=%ff"):
        assert storage.http.get(url, headers=kind).status_code < 500
        assert storage.http.post(url, headers=kind, content=b"x=%ff&y").status_code < 500


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ('multipart/form-data; Charset = "hex" ; boundary=x', "multipart/form-data ; boundary=x"),
        ("text/plain; charset*=utf-8''hex", "text/plain"),
        ("text/plain;\x0bcharset=hex", ""),
    ],
)
def test_a_charset_is_taken_out(sent: str, kept: str) -> None:
    assert without_charset(sent) == kept


LITERALS = [
    "(" * 7000, "-" * 7000 + "1", "[" * 3000 + "]" * 3000, "b'" + "\\" * 7000, "b'\\xff'", "1" * 6000, "b'a'" * 1500,
]  # fmt: skip


@pytest.mark.parametrize("literal", LITERALS)
def test_no_context_header_is_a_failure(log_in: Callable[..., Oaio], literal: str) -> None:
    assert log_in().get("oaio_stampz/", X_OAIO_user=literal).status_code in (400, 403)


# ---- fuzzing

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["", "..", "C", "x", "CaR", "20260101000000000001", "99991231235959999999", "\ud800", "a\0b", "'"]),
)  # fmt: skip
JSON = st.recursive(
    ODD, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
)
KEYS = [
    "oaio_id", "client_stamp", "client_values", "csh_id", "device_id", "app_id", "username", "password", "access_right",
    "Uid", "csh_access_right", "server_stamp",
]  # fmt: skip
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8).map(json.dumps).map(str.encode),
    JSON.map(json.dumps).map(str.encode),
    st.binary(max_size=40),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4)
    .map(lambda change: json.dumps(wire_object() | change))
    .map(str.encode),
)
SLUGS = ["register/", "upload/", "delete/", "subscribe/", "wipe_user/", "logout/", "user_subz/x", "csh_args/Digi"]
FUZZING = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_no_body_is_a_failure_or_touches_what_others_own(log_in: Callable[..., Oaio]) -> None:
    owner, stranger = log_in("owner"), log_in("stranger")
    precious = owner.register({"_name": "precious", "word": "uncommonword"})
    before = owner.listing()

    @FUZZING
    @given(st.sampled_from(SLUGS), BODIES, st.booleans())
    def fuzz(slug: str, body: bytes, aimed: bool) -> None:
        if aimed:
            body = body.replace(b'"oaio_id": ', b'"oaio_id": "%s", "was": ' % precious["oaio_id"].encode())
        answer = stranger.post_text(slug, body)
        assert answer.status_code < 500, (slug, body, answer.text)
        assert "uncommonword" not in answer.text
        if slug == "logout/":
            stranger.log_in(f"secret of {stranger.name}")

    fuzz()
    assert owner.listing() == before


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])
CALLS = st.sampled_from(
    ["info", "list", "tree", "bundle", "folder", "remove", "rename", "move", "copy", "get", "put", "listrecursive", "x"]
)
PATHS = st.text(st.sampled_from("/.\\ a\0\n%ü\ud800:~*"), max_size=12)
PARAMETERS = st.dictionaries(
    st.sampled_from(["path", "filename", "modified", "size", "overwrite", "autorename", "info", "removeIfEmpty"]),
    PATHS | st.sampled_from(["-1", "9" * 30, "true", "1e3", "٣"]),
    max_size=5,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Range", "X-Koofr-Version", "Content-Type", "If-None-Match", "X-OAIO-user", "Referer"]),
    st.sampled_from(
        ["bytes=0-", "bytes=-0", "bytes=9999999999999999999-", "2.1", "multipart/form-data", "\"", "b'x'",
         "multipart/form-data; boundary=" + "x" * 300, "application/json; charset=undefined"]
    ),
    max_size=3,
)  # fmt: skip


def test_no_call_of_the_storage_is_a_failure_or_leaves_its_account(
    oaio_server: ServerKit, new_storage: Callable[..., Storage]
) -> None:
    victim, stranger = new_storage(), new_storage()
    assert victim.put("/", "precious", b"uncommonword").status_code == 200
    mounts = [storage.http.get("/api/v2/mounts").json()["mounts"][0]["id"] for storage in (victim, stranger)]

    @FUZZING
    @given(METHODS, CALLS, st.booleans(), st.sampled_from([*mounts, "primary", "..", "."]), PARAMETERS, HEADERS, BODIES)
    def fuzz(
        method: str, call: str, content: bool, mount: str, params: dict[str, str], headers: dict[str, str], body: bytes
    ) -> None:
        url = f"{'/content' if content else ''}/api/v2/mounts/{mount}/files/{call}"
        encoded = httpx.QueryParams({key: text.encode("utf-8", "replace").decode() for key, text in params.items()})
        answer = stranger.http.request(method, url, params=encoded, headers=headers, content=body)
        assert answer.status_code < 500, (method, url, params, headers, body, answer.text)
        assert "uncommonword" not in answer.text
        if mount == mounts[0]:
            assert answer.status_code in (400, 404, 405)

    fuzz()
    assert victim.names("/") == ["precious"]
    assert victim.get("/precious").content == b"uncommonword"


def test_what_registering_tells_of_a_hidden_object_is_that_its_id_is_taken_and_no_more(
    log_in: Callable[..., Oaio],
) -> None:
    """Ids are made by clients and one for all users: that one is taken can't be hidden, all else can."""
    owner, stranger = log_in("owner"), log_in("stranger")
    hidden = owner.register({"_name": "hidden", "word": "uncommonword"})
    answer = stranger.post("register/", wire_object() | {"oaio_id": hidden["oaio_id"]})
    assert error_of(answer) == (409, "AlreadyExists")
    assert owner.name not in answer.text
    assert "uncommonword" not in answer.text
    assert "current" not in answer.json()


@pytest.mark.parametrize("slug", ["register/", "upload/", "delete/", "subscribe/", "wipe_user/"])
def test_nobody_but_a_superuser_acts_for_others(log_in: Callable[..., Oaio], slug: str) -> None:
    owner, stranger = log_in("owner"), log_in("stranger")
    made = owner.register()
    body = made | {"access_right": "C", "Uid": owner.name, "username": stranger.name}
    answers = [stranger.post(slug, body, X_OAIO_user=context(name)) for name in (owner.name, "nobody at all")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert owner.listing() == {made["oaio_id"]: made}


@pytest.mark.parametrize("path", ["/api/login/", "/nothing", "/api/v2/mounts", PUT.replace("put", "get")])
def test_an_answer_to_head_has_no_body(oaio_server: ServerKit, path: str) -> None:
    """One that has is read as the beginning of the next answer."""
    head = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    answer = raw(oaio_server, head)
    assert answer.partition(b"\r\n\r\n")[2] == b""
