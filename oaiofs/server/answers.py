"""JSON answers, refusals, and what every answer of this server has in common.

Must not know what the views are about. A view raises ``Refusal``; the middleware turns it into the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

#: Tells clients that the headers X-OAIO-base, -merged and -features are understood here.
SERVER_HEADER = "X-OAIO-server"
SERVER_NAME = "oaiofs"
#: Tells clients, in each answer, which endpoints are here that the existing client does not know.
FEATURES_HEADER = "X-OAIO-features"
FEATURES = ("log",)


class Refusal(Exception):
    """A request that is answered with an error: HTTP *status*, a short *code* for programs, a sentence for people.

    *extra* holds further members of the answer's JSON object, as JSON text by key.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def json_text(value: object) -> str:
    """*value* as compact JSON in plain characters, not escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_answer(value: object, status: int = 200) -> HttpResponse:
    return raw_json_answer(json_text(value), status)


def raw_json_answer(text: str, status: int = 200) -> HttpResponse:
    """An answer from JSON text that is already there (values go out spelled as they came in)."""
    return HttpResponse(text.encode(), status=status, content_type="application/json")


def refusal_answer(refusal: Refusal) -> HttpResponse:
    members = {"error": json_text({"code": refusal.code, "message": str(refusal)}), **refusal.extra}
    answer = raw_json_answer(
        "{" + ",".join(f"{json_text(key)}:{text}" for key, text in members.items()) + "}", refusal.status
    )
    for name, value in refusal.headers.items():
        answer[name] = value
    return answer


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The request's body of at most *limit* bytes. Raises Refusal 413 for more."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise Refusal(413, "TooLarge", f"The body is larger than the {limit} bytes that this server accepts.")
    body: bytes = request.read(limit + 1)
    if len(body) > limit:
        raise Refusal(413, "TooLarge", f"The body is larger than the {limit} bytes that this server accepts.")
    return body


class AnswerMiddleware:
    """Outermost of all: checks the Host header, turns Refusals into answers and signs every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            # no other middleware here asks for the host, and a page elsewhere could rebind its name to this address
            request.get_host()
        except DisallowedHost:
            refusal = Refusal(400, "BadHost", "This server doesn't answer to that host name; see its allowed hosts.")
            answer: HttpResponseBase = refusal_answer(refusal)
        else:
            answer = self._get_response(request)
        answer[SERVER_HEADER] = SERVER_NAME
        answer[FEATURES_HEADER] = ", ".join(FEATURES)
        answer["X-Content-Type-Options"] = "nosniff"
        answer.setdefault("Cache-Control", "no-store")
        if isinstance(answer, HttpResponse) and answer.status_code != 304:
            # without it waitress ends the connection after the answer
            answer["Content-Length"] = str(len(answer.content))
        if request.method == "HEAD":
            _drop_body(answer)
        return answer

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Refusal):
            return refusal_answer(exception)
        if isinstance(exception, RequestDataTooBig):
            return refusal_answer(Refusal(413, "TooLarge", "The body is larger than this server accepts."))
        return None


def _drop_body(answer: HttpResponseBase) -> None:
    """An answer to HEAD has none: waitress would send it, and clients would read it as the next answer."""
    if isinstance(answer, HttpResponse):
        answer.content = b""
    elif isinstance(answer, StreamingHttpResponse):
        answer.streaming_content = ()


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal_answer(Refusal(400, "BadRequest", "The request can't be understood."))


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal_answer(Refusal(403, "Forbidden", "You may not do this."))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refusal_answer(Refusal(404, "NotFound", "There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    return refusal_answer(Refusal(500, "Other", "The server failed; its log tells more."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return refusal_answer(
        Refusal(403, "Csrf", "The CSRF token is missing or old: GET this address, then send its cookie.")
    )


def members_of(body: Any) -> dict[str, Any]:
    """*body* if it is a JSON object. Raises Refusal 400."""
    if not isinstance(body, dict):
        raise Refusal(400, "BadRequest", "The body must be a JSON object.")
    return body
