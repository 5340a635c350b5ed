"""Which right a user has on what is stored for an oaio id: registered, not yet, or not any more.

The subscriptions tell it of registered objects, the rows of ``models.Holding`` of others. Must not know HTTP, paths,
nor what a right allows: that is ``core.storedfiles``.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Subquery

from ..core.model import Right
from ..core.storedfiles import Standing
from .models import Holding, LogEntry, OaioObject, Subscription
from .storage.paths import fold
from .storage.places import is_stored


def standing(user: User, name: str, version: str | None) -> Standing:
    """What *user* is to the object whose folder is called *name*, in any case, and to a *version* (None: to any)."""
    folded = fold(name)
    mine = Subscription.objects.filter(oaio=OuterRef("pk"), user=user).values("right")
    row = (
        OaioObject.objects.filter(folded=folded)
        .annotate(mine=Subquery(mine[:1]), announced=_announced(version))
        .values_list("mine", "announced", "stamp", "username")
        .first()
    )
    if row is None or row[0] is None:
        return _standing_of_holder(user, folded, version, row is not None)
    right, announced, newest, author = row
    own_newest = version == newest and author == user.username
    return Standing(Right(right), True, announced or version in (None, newest), own_newest)


def _standing_of_holder(user: User, folded: str, version: str | None, registered: bool) -> Standing:
    rows = Holding.objects.filter(folded=folded, user=user).annotate(announced=_announced(version))
    right, announced, until = rows.values_list("right", "announced", "until").first() or (Right.NONE, False, "")
    if until and not (announced and version is not None and version <= until):
        return Standing(Right.NONE, registered)
    return Standing(Right(right), registered, announced)


def _announced(version: str | None) -> Exists:
    return Exists(LogEntry.objects.filter(Q() if version is None else Q(stamp=version), oaio_id=OuterRef("oaio_id")))


def shown_to(user: User) -> set[str]:
    """The folded names of all folders of objects that *user* may read."""
    subscribed = Subscription.objects.filter(user=user).values_list("oaio__folded", flat=True)
    return {*subscribed, *Holding.objects.filter(user=user, until="").values_list("folded", flat=True)}


def claim(user: User, name: str) -> None:
    """Give *user* right C on what is stored for an id that nobody has; nothing where somebody has it, or anything is.

    So what is stored before an object is registered is its maker's alone.
    """
    folded = fold(name)
    with transaction.atomic():
        if not _is_known(folded) and not is_stored(name):
            Holding.objects.create(folded=folded, oaio_id=name, user=user, right=Right.CREATE.value)


def may_register(user: User, oaio_id: str) -> bool:
    """Whether an object with this id may become *user*'s: it is free, or stored by them, or was deleted under C or D.

    Never where it differs from another one by case only, for both would have one folder on the storage host.
    """
    folded = fold(oaio_id)
    if OaioObject.objects.filter(folded=folded).exists():
        return False
    rows = list(Holding.objects.filter(folded=folded).values_list("user_id", "right", "oaio_id"))
    if rows:
        return any(Right(right).may_delete and (key, held) == (user.pk, oaio_id) for key, right, held in rows)
    return not is_stored(oaio_id)


def registered(oaio: OaioObject) -> None:
    """From now on the object's subscriptions tell who may do what."""
    Holding.objects.filter(folded=oaio.folded).delete()


def left(oaio: OaioObject, user: User) -> None:
    """*user* has just ended the own subscription of the object."""
    row = {"folded": oaio.folded, "oaio_id": oaio.oaio_id, "right": Right.READ.value, "until": oaio.stamp}
    Holding.objects.create(user=user, **row)


def forget(oaio: OaioObject, user: User) -> None:
    """Whether *user* once ended a subscription of the object counts no more."""
    Holding.objects.filter(folded=oaio.folded, user=user).delete()


def remember(objects: Iterable[OaioObject]) -> None:
    """To be called before these *objects* are deleted: their subscribers keep the rights on what is stored of them."""
    rows = Subscription.objects.filter(oaio__in=objects).values_list("oaio__folded", "oaio__oaio_id", "user", "right")
    Holding.objects.bulk_create(
        Holding(folded=folded, oaio_id=oaio_id, user_id=user, right=right) for folded, oaio_id, user, right in rows
    )


def _is_known(folded: str) -> bool:
    return any(model.objects.filter(folded=folded).exists() for model in (OaioObject, Holding))
