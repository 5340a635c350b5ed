"""One user's session on an oaio server, over HTTP.

Says the words of ``contract.OaioServer`` in the protocol of ``ae_oaio_client`` 0.3.19 (a Django site: session cookie
and CSRF token). Four things go beyond it, in headers that other servers ignore: ``X-OAIO-base`` asks a self-hosted
server to refuse an upload or a deletion whose base is not its current version, ``X-OAIO-merged`` tells it of one more
version that the new one was made from, ``X-OAIO-features`` asks it for what the existing client could not take, and
``Prefer: wait`` (RFC 7240) to hold a listing until it is another one, where ``X-OAIO-hold`` says that it can.
Must not know storage hosts, the local state or the mount.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio

from .. import errors
from ..core import dialect, stamps
from ..core.model import Listing, OaioId, Outgoing, RemoteObject, Right, Stamp, StorageAccount
from .actions import Actions
from .address import foreign_url, quoted, server_url
from .failures import is_web_page, page_error
from .http import Answer, HttpClient, Surroundings
from .reading import read_listing, read_subscriber, read_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

#: More than this between both clocks, and "newer" means nothing any more (the existing client's limit).
MAX_CLOCK_SKEW: Final = timedelta(seconds=69)

#: What the existing client could not take: a storage account's base URL, and what each version was made from.
_FEATURES = "base-url, lineage"
_CSRF_COOKIE = "csrftoken"
_SESSION_COOKIE = "sessionid"
_LOGOUT_SECONDS = 2.0
_A_DAY = 86400.0
#: After this long a refusal without a reason may be the end of the session.
_SESSION_DOUBT = timedelta(minutes=5)
_SESSION_STATUS = (302, 401, 403)
#: Django's and Django REST framework's words for a token or session that is over.
_SESSION_WORDS = (b"csrf", b"authentication credentials were not provided")


class HttpOaioServer:
    """``contract.OaioServer`` for *username* at *base_url* (anything that ``address.server_url`` takes).

    *acting_for* names the user whose objects are meant when a superuser's session acts for somebody else. Logs in
    with the first call, and once more when the server ends the session; concurrent calls share that.
    """

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        device_id: str,
        app_id: str,
        insecure: bool = False,
        acting_for: str | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        site = server_url(base_url, insecure).removesuffix("/api")
        self._username = username
        self._password = password
        self._user = acting_for or username
        self._device_id = device_id
        self._app_id = app_id
        self._around = surroundings or Surroundings()
        self._host = urlsplit(site).netloc
        self._http = HttpClient(
            f"{site}/api/",
            host=self._host,
            secrets=[password],
            headers={
                "X-OAIO-user": _context(self._user),
                "X-OAIO-dvc": _context(device_id),
                "X-OAIO-app": _context(app_id),
                "X-OAIO-features": _FEATURES,
            },
            surroundings=self._around,
        )
        #: An idle poll is answered by "not modified" where the server can tell (self-hosted ones do).
        self._last_listing = ("", Listing(()))
        self._checks_base = False
        self._actions = Actions(self._call, lambda: self._checks_base)
        self._dialect = "classic"  # that rights are spelled in
        self._longest_hold = 0.0
        self._features: frozenset[str] | None = None  # what the server says that it has beyond the existing protocol
        self._login_lock = trio.Lock()
        self._logins = 0
        self._refusals = 0
        self._login_time = self._around.clock()

    @property
    def checks_base(self) -> bool:
        return self._checks_base

    @property
    def longest_hold(self) -> float:
        return self._longest_hold

    def __repr__(self) -> str:
        return f"<HttpOaioServer {self._user}@{self._host}>"

    # ---- the contract

    async def login(self) -> None:
        await self._log_in(known=self._logins)

    async def current_stamp(self) -> Stamp:
        answer = await self._call("GET", "current_stamp/", "tell its time")
        content = await answer.json()
        stamp = stamps.parse(content.get("current_stamp")) if isinstance(content, dict) else None
        if stamp is None:
            raise errors.Protocol(f"{self._host} answered no time when asked for it: is it an oaio server?")
        skew = stamps.to_datetime(stamp) - answer.middle
        if abs(skew) > MAX_CLOCK_SKEW:
            ahead = "ahead of" if skew < timedelta(0) else "behind"
            raise errors.ClockSkew(
                f"This machine's clock is {abs(skew).total_seconds():.0f} s {ahead} the one of {self._host}: "
                f"set it right, then sync goes on."
            )
        return stamp

    async def list_objects(self) -> Listing:
        return await self._list(0)

    async def next_listing(self, seen: Listing, wait: float) -> Listing:
        # What the server would hold is what differs from the last one here, so that must be the one that was seen.
        current = bool(self._last_listing[0]) and self._last_listing[1] == seen
        return await self._list(int(min(wait, self._longest_hold)) if current else 0)

    async def _list(self, wait: int) -> Listing:
        etag, listing = self._last_listing
        headers = {"If-None-Match": etag} if etag else {}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        answer = await self._call(
            "GET", "oaio_stampz/", "list your objects", headers=headers, accept=(304,), hold=wait
        )
        self._longest_hold = _seconds(answer.headers.get("x-oaio-hold", ""))
        if answer.status != 304 or not etag:
            listing = await trio.to_thread.run_sync(read_listing, await answer.json_array())
            self._last_listing = (answer.headers.get("etag", ""), listing)
            self._dialect = dialect.of_server(listing.objects)
        return listing

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        what = f"register {outgoing.oaio_id}"
        wire = self._wire(outgoing)
        answer = await self._actions.ask("register", what, json=wire, accept=(400, 409))
        if answer.status not in (400, 409):
            return await self._stored(answer, wire)
        current = await self._refused_for(answer) or await self._listed(outgoing.oaio_id)
        if current is not None and _same_content(current, outgoing):
            return current  # an earlier try got through and only its answer was lost: an id is made once
        if current is None and answer.status == 400:
            raise self._http.error(answer, what)
        raise errors.RemoteExists(f"{self._host} has an object {outgoing.oaio_id} already.")

    async def upload(self, outgoing: Outgoing) -> RemoteObject:
        what = f"take the new version of {outgoing.oaio_id}"
        wire = self._wire(outgoing)
        headers = {"X-OAIO-base": outgoing.base, "X-OAIO-merged": outgoing.merged}
        headers = {name: stamp for name, stamp in headers.items() if stamp}
        answer = await self._actions.ask("upload", what, json=wire, headers=headers, accept=(409, 412))
        if answer.status not in (409, 412):
            return await self._stored(answer, wire)
        current = await self._refused_for(answer)
        if current is not None and current.stamp == outgoing.stamp and _same_content(current, outgoing):
            return current  # likewise
        raise errors.Conflict(f"Another device has changed {outgoing.oaio_id} meanwhile: it is merged with that first.")

    async def delete(self, oaio_id: OaioId, base: str = "") -> None:
        headers = {"X-OAIO-base": base} if base else None
        wire = {"oaio_id": oaio_id}
        what = f"delete {oaio_id}"
        answer = await self._actions.ask("delete", what, json=wire, headers=headers, accept=(404, 409, 410, 412))
        if answer.status in (409, 412):
            raise errors.Conflict(f"{oaio_id} has changed on {self._host} since it was removed here.")

    async def subscribe(self, oaio_id: OaioId, username: str, right: Right) -> int:
        wire = {"oaio_id": oaio_id, "username": username, "access_right": dialect.write_right(right, self._dialect)}
        answer = await self._call("POST", "subscribe/", f"change the subscription of {username}", json=wire)
        content = await answer.json()
        key = content.get("Pid") if isinstance(content, dict) else None
        return key if isinstance(key, int) and key > 0 else 0

    async def subscribers(self, oaio_id: OaioId) -> dict[str, Right]:
        answer = await self._call("GET", f"user_subz/{quoted(oaio_id)}", "list the subscribers")
        rights: dict[str, Right] = {}
        for entry in await answer.json_array():
            try:
                rights.update(read_subscriber(entry))
            except errors.Protocol as error:
                log.warning("%s lists a subscriber that is left out: %s", self._host, error)
        return rights

    async def announced_versions(self, oaio_id: OaioId) -> tuple[RemoteObject, ...]:
        what = f"tell the versions of {oaio_id}"
        if self._features is None:
            await self._call("GET", "current_stamp/", "tell its time")  # any answer says what is there
        if "log" not in (self._features or ()):  # others may take an unknown address for the end of the session
            raise errors.Unsupported(f"{self._host} keeps no log of the versions that were announced.")
        answer = await self._call("GET", f"oaio_log/{quoted(oaio_id)}", what, accept=(404,))
        if answer.status == 404:
            raise errors.RemoteNotFound(f"{self._host} has no object {oaio_id} for you.")
        return await trio.to_thread.run_sync(read_versions, oaio_id, await answer.json_array())

    async def storage_account(self, csh_id: str) -> StorageAccount:
        what = f"tell how to reach the storage {csh_id}"
        answer = await self._call("GET", f"csh_args/{quoted(csh_id)}", what)
        arguments = await answer.json()
        if not isinstance(arguments, dict) or not all(isinstance(text, str | None) for text in arguments.values()):
            raise errors.Protocol(f"{self._host} answered no storage account for {csh_id}.")
        if not arguments:
            raise errors.RemoteNotFound(f"{self._host} knows no storage {csh_id}: check --csh-id.")
        self._http.keep_secret(arguments.get("password") or "")
        return StorageAccount(csh_id, {name: text for name, text in arguments.items() if text is not None})

    async def wipe_user(self, username: str) -> None:
        await self._call("POST", "wipe_user/", f"remove the user {username}", json={"Uid": username})

    async def aclose(self) -> None:
        try:
            if self._logins:
                with trio.move_on_after(_LOGOUT_SECONDS):
                    await self._send("POST", "logout/", "log out", {}, {}, ())
        except errors.RemoteError as error:
            log.debug("%s keeps the session until it ends by itself: %s", self._host, error)
        finally:
            with trio.CancelScope(shield=True):
                await self._http.aclose()

    # ---- objects

    def _wire(self, outgoing: Outgoing) -> dict[str, Any]:
        return dialect.write_object(
            outgoing, username=self._user, device_id=self._device_id, app_id=self._app_id
        )

    async def _stored(self, answer: Answer, sent: Mapping[str, Any]) -> RemoteObject:
        """The object as the server says it has stored it; what it does not repeat is as sent."""
        content = await answer.json()
        if not isinstance(content, dict) or content.get("oaio_id") != sent["oaio_id"]:
            raise errors.Protocol(f"{self._host} answered with another object than {sent['oaio_id']}.")
        told = {key: content[key] for key in (*dialect.WIRE_KEYS, "lineage") if content.get(key) not in (None, "")}
        return dialect.read_object({**sent, **told})

    async def _refused_for(self, answer: Answer) -> RemoteObject | None:
        """The server's current version, where a refusal comes with it (self-hosted servers do)."""
        try:
            content = await answer.json()
            return dialect.read_object(content.get("current")) if isinstance(content, dict) else None
        except errors.Protocol:
            return None

    async def _listed(self, oaio_id: OaioId) -> RemoteObject | None:
        listing = await self.list_objects()
        return next((known for known in listing.objects if known.oaio_id == oaio_id), None)

    # ---- the session

    async def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        accept: Iterable[int] = (),
        hold: float = 0.0,
    ) -> Answer:
        if not self._logins:
            await self._log_in(known=0)
        logins = self._logins
        answer = await self._send(method, path, what, json, headers or {}, accept, hold=hold)
        if self._session_over(answer):
            await self._log_in(known=logins)
            answer = await self._send(method, path, what, json, headers or {}, accept, hold=hold)
        if answer.status in _SESSION_STATUS:
            raise self._http.error(answer, what)
        self._checks_base = answer.headers.get("x-oaio-server") == "oaiofs"
        self._features = frozenset(map(str.strip, answer.headers.get("x-oaio-features", "").split(",")))
        return answer

    def _session_over(self, answer: Answer) -> bool:
        """Whether a refusal may be cured by another login, rather than being meant."""
        if answer.status == 403:
            words = answer.body.lower()
            age = self._around.clock() - self._login_time
            return age > _SESSION_DOUBT or any(marker in words for marker in _SESSION_WORDS)
        target = foreign_url(answer.headers.get("location", ""))
        to_login = not target.netloc and "login" in target.path
        return answer.status == 401 or (answer.status == 302 and to_login)

    async def _log_in(self, known: int) -> None:
        """Make a new session, unless another task did since the caller saw the *known* number of logins.

        A refusal is shared likewise: servers lock accounts out after a few wrong passwords.
        """
        refusals = self._refusals
        async with self._login_lock:
            if self._logins != known:
                return
            if self._refusals != refusals:
                raise self._refused()
            self._http.forget_cookies()
            credentials = {"username": self._username, "password": self._password}
            try:
                answer = await self._send("POST", "login/", "log you in", credentials, {}, (400,), page=True)
            except errors.RemoteNotFound:  # not to be taken for what the call was to find
                raise errors.Protocol(
                    f"{self._host} answers, but has no login for oaio: is it an oaio server, and its address right?"
                ) from None
            if answer.status in (400, *_SESSION_STATUS):
                self._refusals += 1
                raise self._refused()
            if is_web_page(answer.headers, answer.body) and self._http.cookie(_SESSION_COOKIE) is None:
                raise page_error(self._host, "log you in")
            self._logins += 1
            self._login_time = self._around.clock()

    def _refused(self) -> errors.Unauthorized:
        return errors.Unauthorized(
            f"{self._host} refused user {self._username} or this password; `oaiofs login` remembers a new one, "
            "which the next mount takes."
        )

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        json: object,
        headers: Mapping[str, str],
        accept: Iterable[int],
        *,
        page: bool = False,
        hold: float = 0.0,
    ) -> Answer:
        accept = (*accept, *_SESSION_STATUS)
        if method == "GET":
            return await self._http.call(method, path, what, headers=headers, accept=accept, hold=hold)
        if self._http.cookie(_CSRF_COOKIE) is None:
            # Django gives its token with any page, so each POST address answers GET too; on https it checks Referer.
            await self._http.call("GET", path, what, accept=accept, page=True)
        token = {
            "X-CSRFToken": self._http.cookie(_CSRF_COOKIE) or "",
            "Referer": self._http.base_url + path,
        }
        sent = {**headers, **token}
        return await self._http.call(method, path, what, json=json, headers=sent, accept=accept, page=page)


def _same_content(current: RemoteObject, outgoing: Outgoing) -> bool:
    return (
        dict(current.values) == dict(outgoing.values)
        and current.file_paths == outgoing.file_paths
        and current.csh_id == outgoing.csh_id
    )


def _seconds(text: str) -> float:
    """What a header says, 0.0 where that is no number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < _A_DAY else 0.0


def _context(text: str) -> str:
    """*text* as a context header's value: a Python bytes literal of its UTF-8, printable ASCII whatever it holds."""
    return repr(text.encode("utf-8", "surrogatepass"))
