"""A put request's body on its way to a file: multipart or raw, streamed, hashed while it is written.

Must not know paths or accounts.
"""

from __future__ import annotations

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from ..answers import Refusal
from .disk import Draft, DraftWriter

_CHUNK = 512 * 1024


def receive(request: HttpRequest, writer: DraftWriter) -> tuple[Draft, str]:
    """The body's file and the name that a multipart body gives it ('' for a raw one). Raises Refusal 400."""
    if request.content_type == "multipart/form-data":
        return _receive_multipart(request, writer)
    while chunk := request.read(_CHUNK):
        writer.write(chunk)
    return writer.finish(), ""


class _FileHandler(FileUploadHandler):
    """Streams the part called ``file`` to a draft and skips all others."""

    chunk_size = _CHUNK

    def __init__(self, writer: DraftWriter) -> None:
        super().__init__()
        self._writer = writer
        self.name = ""
        self.draft: Draft | None = None

    def new_file(self, field_name: str, file_name: str, *details: Any, **more: Any) -> None:
        if field_name != "file" or self.name:
            raise SkipFile
        self.name = file_name

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._writer.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        # not called for a body that ends without its closing boundary, which so makes no file
        if self.draft is None:
            self.draft = self._writer.finish()


class _Parser(MultiPartParser):
    def sanitize_file_name(self, file_name: str) -> str:
        """The name as sent: ``paths`` judges it, and Django would turn ``a&amp;b`` into ``a&b``."""
        return file_name


def _receive_multipart(request: HttpRequest, writer: DraftWriter) -> tuple[Draft, str]:
    handler = _FileHandler(writer)
    try:
        _Parser(request.META, request, [handler], "utf-8").parse()
    except MultiPartParserError:
        raise Refusal(400, "BadRequest", "The multipart body can't be read.") from None
    if handler.draft is None:
        raise Refusal(400, "BadRequest", "The multipart body holds no whole part called file.")
    return handler.draft, handler.name
