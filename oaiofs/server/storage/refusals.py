"""What went wrong, as the storage host's interface tells it: status, code, a sentence and the request's own id.

Must not know what was asked for.
"""

from __future__ import annotations

import uuid

from django.http import HttpResponse

from ..answers import Refusal, json_text, refusal_answer
from . import paths
from .disk import StorageError

_STATUS = {"NotFound": 404, "Conflict": 409, "QuotaExceeded": 413}


def refused(error: Exception, modern: bool) -> HttpResponse:
    """The answer that *error* is; see ``views`` for what is *modern*."""
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
