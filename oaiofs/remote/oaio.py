"""One user's session on an oaio server, over HTTP.

Says the words of ``contract.OaioServer`` in the protocol of ``ae_oaio_client`` 0.3.19 (a Django site: session cookie
and CSRF token). Two things go beyond it, in headers that other servers ignore: ``X-OAIO-base`` asks a self-hosted
server to refuse an upload whose base is not its current version, ``X-OAIO-features`` asks it for what the existing
client could not take. Must not know storage hosts, the local state or the mount.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio

from .. import errors
from ..core import dialect, stamps
from ..core.model import Listing, OaioId, Outgoing, RemoteObject, Right, Skipped, Stamp, StorageAccount
from .address import quoted, server_url
from .http import Answer, HttpClient, Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

#: More than this between both clocks, and "newer" means nothing any more (the existing client's limit).
MAX_CLOCK_SKEW: Final = timedelta(seconds=69)

_CSRF_COOKIE = "csrftoken"
_LOGOUT_SECONDS = 2.0
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
            },
            surroundings=self._around,
        )
        #: An idle poll is answered by "not modified" where the server can tell (self-hosted ones do).
        self._last_listing = ("", Listing(()))
        self._checks_base = False
        self._login_lock = trio.Lock()
        self._logins = 0
        self._refusals = 0
        self._login_time = self._around.clock()

    @property
    def checks_base(self) -> bool:
        return self._checks_base

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
        etag, listing = self._last_listing
        answer = await self._call(
            "GET", "oaio_stampz/", "list your objects", headers={"If-None-Match": etag} if etag else None, accept=(304,)
        )
        if answer.status != 304 or not etag:
            listing = await trio.to_thread.run_sync(read_listing, await answer.json_array())
            self._last_listing = (answer.headers.get("etag", ""), listing)
        return listing

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        what = f"register {outgoing.oaio_id}"
        wire = self._wire(outgoing)
        answer = await self._call("POST", "register/", what, json=wire, accept=(400, 409))
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
        headers = {"X-OAIO-base": outgoing.base} if outgoing.base else None
        answer = await self._call("POST", "upload/", what, json=wire, headers=headers, accept=(409, 412))
        if answer.status not in (409, 412):
            return await self._stored(answer, wire)
        current = await self._refused_for(answer)
        if current is not None and current.stamp == outgoing.stamp and _same_content(current, outgoing):
            return current  # likewise
        raise errors.Conflict(f"Another device has changed {outgoing.oaio_id} meanwhile: it is merged with that first.")

    async def delete(self, oaio_id: OaioId) -> None:
        await self._call("POST", "delete/", f"delete {oaio_id}", json={"oaio_id": oaio_id}, accept=(404, 410))

    async def subscribe(self, oaio_id: OaioId, username: str, right: Right) -> None:
        wire = {"oaio_id": oaio_id, "username": username, "access_right": dialect.write_right(right)}
        await self._call("POST", "subscribe/", f"change the subscription of {username}", json=wire)

    async def subscribers(self, oaio_id: OaioId) -> dict[str, Right]:
        answer = await self._call("GET", f"user_subz/{quoted(oaio_id)}", "list the subscribers")
        rights: dict[str, Right] = {}
        for entry in await answer.json_array():
            try:
                rights.update(_read_subscriber(entry))
            except errors.Protocol as error:
                log.warning("%s lists a subscriber that is left out: %s", self._host, error)
        return rights

    async def storage_account(self, csh_id: str) -> StorageAccount:
        answer = await self._call(
            "GET",
            f"csh_args/{quoted(csh_id)}",
            f"tell how to reach the storage {csh_id}",
            headers={"X-OAIO-features": "base-url"},
        )
        arguments = await answer.json()
        if not isinstance(arguments, dict) or not all(isinstance(text, str | None) for text in arguments.values()):
            raise errors.Protocol(f"{self._host} answered no storage account for {csh_id}.")
        if not arguments:
            raise errors.RemoteNotFound(f"{self._host} knows no storage {csh_id}: check --csh-id.")
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
        told = {key: content[key] for key in dialect.WIRE_KEYS if content.get(key) not in (None, "")}
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
    ) -> Answer:
        if not self._logins:
            await self._log_in(known=0)
        logins = self._logins
        answer = await self._send(method, path, what, json, headers or {}, accept)
        if self._session_over(answer):
            await self._log_in(known=logins)
            answer = await self._send(method, path, what, json, headers or {}, accept)
        if answer.status in _SESSION_STATUS:
            raise self._http.error(answer, what)
        self._checks_base = answer.headers.get("x-oaio-server") == "oaiofs"
        return answer

    def _session_over(self, answer: Answer) -> bool:
        """Whether a refusal may be cured by another login, rather than being meant."""
        if answer.status == 403:
            words = answer.body.lower()
            age = self._around.clock() - self._login_time
            return age > _SESSION_DOUBT or any(marker in words for marker in _SESSION_WORDS)
        target = urlsplit(answer.headers.get("location", ""))
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
            answer = await self._send("POST", "login/", "log you in", credentials, {}, (400,))
            if answer.status in (400, *_SESSION_STATUS):
                self._refusals += 1
                raise self._refused()
            self._logins += 1
            self._login_time = self._around.clock()

    def _refused(self) -> errors.Unauthorized:
        return errors.Unauthorized(
            f"{self._host} refused user {self._username} or this password; `oaiofs login` remembers a new one."
        )

    async def _send(
        self, method: str, path: str, what: str, json: object, headers: Mapping[str, str], accept: Iterable[int]
    ) -> Answer:
        accept = (*accept, *_SESSION_STATUS)
        if method == "GET":
            return await self._http.call(method, path, what, headers=headers, accept=accept)
        if self._http.cookie(_CSRF_COOKIE) is None:
            # Django gives its token with any page, so each POST address answers GET too; on https it checks Referer.
            await self._http.call("GET", path, what, accept=accept)
        token = {
            "X-CSRFToken": self._http.cookie(_CSRF_COOKIE) or "",
            "Referer": self._http.base_url + path,
        }
        return await self._http.call(method, path, what, json=json, headers={**headers, **token}, accept=accept)


def read_listing(elements: Iterable[object]) -> Listing:
    """All objects that can be used, each once in its newest version, and what was left out of the answer."""
    objects: dict[OaioId, RemoteObject] = {}
    skipped: list[Skipped] = []
    for number, element in enumerate(elements, start=1):
        try:
            if isinstance(element, errors.Protocol):
                raise element
            listed = dialect.read_object(element)
        except errors.Protocol as error:
            skipped.append(Skipped(f"object {number} of the server's list", str(error)))
            continue
        known = objects.get(listed.oaio_id)
        if known is not None:
            skipped.append(Skipped(f"object {number} of the server's list", f"{listed.oaio_id} is listed twice"))
        if known is None or known.stamp < listed.stamp:
            objects[listed.oaio_id] = listed
    return Listing(tuple(objects.values()), tuple(skipped))


def _read_subscriber(entry: object) -> dict[str, Right]:
    if isinstance(entry, errors.Protocol):
        raise entry
    name = entry.get("username") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not name:
        raise errors.Protocol("it has no user name")
    return {name: dialect.read_right(entry.get("access_right"))}


def _same_content(current: RemoteObject, outgoing: Outgoing) -> bool:
    return (
        dict(current.values) == dict(outgoing.values)
        and current.file_paths == outgoing.file_paths
        and current.csh_id == outgoing.csh_id
    )


def _context(text: str) -> str:
    """*text* as a context header's value: a Python bytes literal of its UTF-8, printable ASCII whatever it holds."""
    return repr(text.encode("utf-8", "surrogatepass"))
