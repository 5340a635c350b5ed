"""The trash of a device of the twins, as the commands reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oaiofs.verbs import Place
from oaiofs.verbs import trash as verbs
from tests.devicekit import Device


def place(device: Device) -> Place:
    return Place(device.store, device.name, device._announce)


async def entries(device: Device) -> list[Mapping[str, Any]]:
    answer = await verbs.list_(place(device), {})
    return list(answer["entries"])


async def restore(device: Device, *names: str) -> Mapping[str, Any]:
    """Bring back one entry; what it became."""
    answer = await verbs.restore_(place(device), {"names": list(names)})
    (restored,) = answer["restored"]
    return dict(restored)
