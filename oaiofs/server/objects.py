"""What register, upload, delete and subscribe mean: the rules and rights of the object registry, over ``models``.

Must not know HTTP requests or JSON bodies; refuses with ``answers.Refusal``. Nobody learns of objects they may not see:
an object without a subscription answers like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from ..core.model import Right
from . import holdings
from .answers import Refusal, json_text
from .bodies import Announcement, same_values
from .models import LogEntry, OaioObject, Subscription
from .storage.paths import fold


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a call acts for and from where; *superuser* is the session's, not that of the user it acts for.

    *lineage*: answers are to tell which version each one was made from, see ``wire_text``.
    """

    user: User
    device_id: str
    app_id: str
    superuser: bool = False
    lineage: bool = False


#: Versions that one is told to have been made from: more than a device is behind that comes back after weeks.
_LONGEST_LINEAGE = 64

_COLUMNS = ("oaio_id", "stamp", "lineage", "values_text", "csh_id", "username", "device_id", "app_id")


def wire_text(row: Iterable[str], *, lineage: bool = False) -> str:
    """The JSON text of one object with exactly the ten keys of the wire, values spelled as they came.

    *row* holds _COLUMNS and the asking user's right. With *lineage* there is an eleventh key, on which the existing
    client would fail: the stamps of the versions that this one was made from.
    """
    oaio_id, stamp, made_from, values_text, csh_id, username, device_id, app_id, right = row
    members = {
        "oaio_id": json_text(oaio_id),
        "client_stamp": json_text(stamp),
        "server_stamp": json_text(stamp),
        "client_values": values_text,
        "server_values": values_text,
        "csh_id": json_text(csh_id),
        "username": json_text(username),
        "device_id": json_text(device_id),
        "app_id": json_text(app_id),
        "csh_access_right": json_text(right),
    }
    if lineage:
        members["lineage"] = "[" + ",".join(map(json_text, made_from.split())) + "]"
    return "{" + ",".join(f'"{key}":{text}' for key, text in members.items()) + "}"


def _wire(caller: Caller, oaio: OaioObject, right: Right) -> str:
    return wire_text([*(getattr(oaio, column) for column in _COLUMNS), right.value], lineage=caller.lineage)


def listing(caller: Caller) -> str:
    """The JSON text of all objects that the caller subscribes, oldest stamp first."""
    rows = (
        Subscription.objects.filter(user=caller.user)
        .order_by("oaio__stamp", "oaio__oaio_id")
        .values_list(*(f"oaio__{column}" for column in _COLUMNS), "right")
    )
    return "[" + ",".join(wire_text(row, lineage=caller.lineage) for row in rows.iterator()) + "]"


def register(caller: Caller, announced: Announcement) -> str:
    """Store a new object and give its creator right C; answers its wire text.

    The same again, by the same creator, is a lost answer's repetition and succeeds. Raises Refusal 409, also for an id
    that differs from another one by case only, is another user's (see ``models.Holding``), or has files of nobody's.
    """
    with transaction.atomic():
        oaio = OaioObject.objects.filter(oaio_id=announced.oaio_id).first()
        if oaio is not None and oaio.creator_id == caller.user.pk and _is_repetition(oaio, announced):
            return _wire(caller, oaio, Right.CREATE)
        if oaio is not None or not holdings.may_register(caller.user, announced.oaio_id):
            raise Refusal(409, "AlreadyExists", "This oaio_id is taken: a new object needs one of its own.")
        oaio = OaioObject(oaio_id=announced.oaio_id, folded=fold(announced.oaio_id), creator=caller.user)
        _announce(oaio, caller, announced, "register")
        Subscription.objects.create(oaio=oaio, user=caller.user, right=Right.CREATE.value)
        holdings.registered(oaio)
    return _wire(caller, oaio, Right.CREATE)


def upload(caller: Caller, announced: Announcement, base: str | None, merged: str) -> str:
    """Store a new version, made from what it names itself and from *merged* ('': nothing else); answers its wire text.

    With *base* only where that stamp is still current (409 with the current object otherwise; the answer's
    repetition succeeds). Without, the last writer wins and the log keeps what was replaced. Raises Refusal 404, 403.
    """
    with transaction.atomic():
        oaio, right = _visible(caller, announced.oaio_id)
        if not right.may_update:
            raise Refusal(403, "Forbidden", "Your right on this object is to read it; ask its creator for right U.")
        if base is not None and oaio.stamp != base:
            if _is_repetition(oaio, announced) and oaio.username == caller.user.username:
                return _wire(caller, oaio, right)
            raise Refusal(
                409,
                "Conflict",
                "The object has changed since the version that this upload was made from.",
                extra={"current": _wire(caller, oaio, right)},
            )
        if base is not None and announced.stamp <= base:
            raise Refusal(400, "BadRequest", "The new version's client_stamp must be later than its base.")
        _announce(oaio, caller, announced, "upload", merged)
    return _wire(caller, oaio, right)


def delete(caller: Caller, oaio_id: str, base: str | None) -> None:
    """Remove the object for all users; the log keeps its last version, its users the right on its stored files.

    With *base* only where that stamp is still current, 409 with the current object otherwise. Raises Refusal 404, 403.
    """
    with transaction.atomic():
        oaio, right = _visible(caller, oaio_id)
        if not right.may_delete:
            raise Refusal(
                403, "Forbidden", "To delete this object you need right D or C; you may end your subscription."
            )
        if base is not None and oaio.stamp != base:
            raise Refusal(
                409,
                "Conflict",
                "The object has changed since it was removed.",
                extra={"current": _wire(caller, oaio, right)},
            )
        _log(oaio, caller, "delete", replaced=oaio.stamp)
        holdings.remember([oaio])
        oaio.delete()


def subscribe(caller: Caller, oaio_id: str, username: str, right: Right) -> tuple[int, str]:
    """Set *username*'s right on the object, or end the subscription with NONE; answers the row's key and a sentence.

    Needs right C, but everybody except the creator may end the own one. A superuser's session makes unknown users.
    Raises Refusal 404, 403.
    """
    with transaction.atomic():
        oaio, own_right = _visible(caller, oaio_id)
        ends_own = username == caller.user.username and right is Right.NONE
        if not own_right.may_share and not ends_own:
            raise Refusal(403, "Forbidden", "Only users with right C share this object.")
        user = _subscriber(caller, username)
        if user.pk == oaio.creator_id and right is not Right.CREATE:
            raise Refusal(403, "Forbidden", "The creator's own subscription stays as it is.")
        holdings.forget(oaio, user)
        if right is Right.NONE:
            return _unsubscribe(oaio, user, ends_own)
        row, _ = Subscription.objects.update_or_create(oaio=oaio, user=user, defaults={"right": right.value})
        return row.pk, f"{username} has right {right.value} now."


def subscribers(caller: Caller, oaio_id: str) -> list[dict[str, str]]:
    """Every user's name and right on the object; all have NONE on an object that the caller can't see."""
    rights: dict[int, str] = {}
    if Subscription.objects.filter(oaio__oaio_id=oaio_id, user=caller.user).exists():
        rights = dict(Subscription.objects.filter(oaio__oaio_id=oaio_id).values_list("user_id", "right"))
    return [
        {"username": name, "access_right": rights.get(key, Right.NONE.value)}
        for key, name in User.objects.order_by("username").values_list("pk", "username")
    ]


def wipe(username: str) -> bool:
    """Remove the user with the objects they created, their subscriptions and log; False where there is none.

    Which versions there were is kept, so that nobody writes into them.
    """
    with transaction.atomic():
        user = User.objects.filter(username=username).first()
        if user is None:
            return False
        created = OaioObject.objects.filter(creator=user)
        theirs = Q(username=username) | Q(oaio_id__in=created.values("oaio_id"))
        LogEntry.objects.filter(theirs).update(
            action="wiped", values_text="{}", csh_id="", username="", device_id="", app_id=""
        )
        holdings.remember(created)
        user.delete()
        return True


def _visible(caller: Caller, oaio_id: str) -> tuple[OaioObject, Right]:
    row = Subscription.objects.select_related("oaio").filter(oaio__oaio_id=oaio_id, user=caller.user).first()
    if row is None:
        raise Refusal(404, "NotFound", "You have no object with this oaio_id.")
    return row.oaio, Right(row.right)


def _subscriber(caller: Caller, username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        if not caller.superuser:
            raise Refusal(404, "NotFound", "There is no user of that name.")
        user = User(username=username)
        user.set_unusable_password()
        user.save()
    return user


def _unsubscribe(oaio: OaioObject, user: User, by_themself: bool) -> tuple[int, str]:
    row = Subscription.objects.filter(oaio=oaio, user=user).first()
    if row is None:
        return 0, f"{user.username} was not subscribed."
    key = row.pk
    row.delete()
    if by_themself:
        holdings.left(oaio, user)
    return key, f"{user.username} is not subscribed any more."


def _is_repetition(oaio: OaioObject, announced: Announcement) -> bool:
    return oaio.stamp == announced.stamp and same_values(oaio.values_text, announced.values_text)


def _announce(oaio: OaioObject, caller: Caller, announced: Announcement, action: str, merged: str = "") -> None:
    replaced, lineage = oaio.stamp, _lineage(oaio, announced.base, merged)
    oaio.stamp = announced.stamp
    oaio.lineage = lineage
    oaio.values_text = announced.values_text
    oaio.csh_id = announced.csh_id
    oaio.username = caller.user.username
    # what the request's context says is of now; the body may still name the device that wrote the version before
    oaio.device_id = caller.device_id or announced.device_id
    oaio.app_id = caller.app_id or announced.app_id
    oaio.save()
    _log(oaio, caller, action, replaced)


def _lineage(oaio: OaioObject, base: str, merged: str) -> str:
    """What a new version made from *base* and *merged* was made from altogether, the newest of it.

    The current version need not be among it.
    """
    if not base:
        return ""
    before = {merged, *_made_from(oaio, base), *_made_from(oaio, merged)} - {base, ""}
    return " ".join([base, *sorted(before, reverse=True)][:_LONGEST_LINEAGE])


def _made_from(oaio: OaioObject, stamp: str) -> list[str]:
    if not stamp:
        return []
    if stamp == oaio.stamp:
        return oaio.lineage.split()
    entry = LogEntry.objects.filter(oaio_id=oaio.oaio_id, stamp=stamp).order_by("-pk").first()
    return entry.lineage.split() if entry else []


def _log(oaio: OaioObject, caller: Caller, action: str, replaced: str) -> None:
    LogEntry.objects.create(
        oaio_id=oaio.oaio_id,
        action=action,
        stamp=oaio.stamp,
        replaced_stamp=replaced,
        lineage=oaio.lineage,
        values_text=oaio.values_text,
        csh_id=oaio.csh_id,
        username=caller.user.username,
        device_id=caller.device_id,
        app_id=caller.app_id,
    )
