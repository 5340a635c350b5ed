"""What the database remembers of one account's files: the content's MD5 and the time as clients see it.

Must not touch the files. All paths are the tree's own, ``a/b/c``. A row counts only while inode, size and mtime are
still the plain file's; so a lost or stale row costs a hash, never a wrong answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, QuerySet, Sum, Value
from django.db.models.functions import Concat, Substr

from ..models import StoredFile

#: SQLite takes a bounded number of variables in a statement.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Known:
    """*md5* of a file's content in hex, and its *modified* time in milliseconds."""

    md5: str
    modified: int


class Index:
    """The rows of one account."""

    def __init__(self, account_id: int) -> None:
        self._account_id = account_id

    def known(self, path: str, status: os.stat_result) -> Known | None:
        """What is known of the file at *path*, if it still is the one with this *status*."""
        return self.known_of({path: status}).get(path)

    def known_of(self, files: dict[str, os.stat_result]) -> dict[str, Known]:
        """What is known of *files*; those not known, or changed since, are left out."""
        found = {}
        for row in self._rows_at(files):
            status = files[row.path]
            if (row.inode, row.size, row.mtime_ns) == (str(status.st_ino), status.st_size, status.st_mtime_ns):
                found[row.path] = Known(row.md5, row.modified)
        return found

    def record(self, path: str, status: os.stat_result, known: Known) -> None:
        StoredFile.objects.update_or_create(
            account_id=self._account_id,
            path=path,
            defaults={
                "inode": str(status.st_ino),
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "md5": known.md5,
                "modified": known.modified,
            },
        )

    def copy(self, source: str, target: str) -> None:
        """Let the rows of *source* and all below it count for *target* as well."""
        with transaction.atomic():
            self.remove(target)
            rows = [self._moved(row, source, target) for row in self._at_and_below(source)]
            StoredFile.objects.bulk_create(rows, batch_size=_BATCH)

    def move(self, source: str, target: str) -> None:
        with transaction.atomic():
            if source.startswith(f"{target}/") or source == target:
                raise ValueError("can't move onto itself or a parent")
            self.remove(target)
            self._exactly(source).update(path=target)
            tail = Substr(F("path"), len(source) + 1)
            self._below(source).update(path=Concat(Value(target), tail))

    def remove(self, path: str) -> None:
        with transaction.atomic():
            self._exactly(path).delete()
            self._below(path).delete()

    def used(self) -> int:
        """Bytes of all files, hard links counted like copies."""
        total: int | None = self._all().aggregate(total=Sum("size"))["total"]
        return total or 0

    def size_below(self, path: str) -> int:
        """Bytes of the file, or of all files below the folder, at *path*."""
        return sum(rows.aggregate(total=Sum("size"))["total"] or 0 for rows in (self._exactly(path), self._below(path)))

    def _all(self) -> QuerySet[StoredFile]:
        return StoredFile.objects.filter(account_id=self._account_id)

    def _exactly(self, path: str) -> QuerySet[StoredFile]:
        return self._all().filter(path=path)

    def _below(self, path: str) -> QuerySet[StoredFile]:
        # "0" is the character after "/": a range of the index, where a LIKE would have to read all rows
        return self._all().filter(path__gt=f"{path}/", path__lt=f"{path}0")

    def _at_and_below(self, path: str) -> Iterator[StoredFile]:
        yield from self._exactly(path)
        yield from self._below(path)

    def _rows_at(self, paths: Iterable[str]) -> Iterator[StoredFile]:
        wanted = list(paths)
        for start in range(0, len(wanted), _BATCH):
            yield from self._all().filter(path__in=wanted[start : start + _BATCH])

    def _moved(self, row: StoredFile, source: str, target: str) -> StoredFile:
        row.pk = None
        row._state.adding = True
        row.path = target + row.path[len(source) :]
        return row
