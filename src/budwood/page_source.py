"""What a report page is made of: a run's small files, read once, and thumbnails of its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from budwood.data.records import Catalog, ImageRecord
from budwood.data.store import PictureStore
from budwood.errors import DataError, IntegrityError
from budwood.recipe import Recipe
from budwood.report.data import Picture
from budwood.report.thumbnails import thumbnail
from budwood.runs import RunDir


@dataclass(frozen=True, kw_only=True)
class PageSource:
    """A run's small files, read once, and the pictures' thumbnails."""

    run: RunDir
    catalog: Catalog
    records: dict[str, ImageRecord]
    store: PictureStore
    split: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    recipe: Recipe

    def picture(self, path: str) -> Picture:
        """A thumbnail with its caption; without the image where the picture is gone or unreadable."""
        record = self.records.get(path)
        if record is None or record.state != "ok":
            return Picture(path=path, label=record.label if record else "")
        try:
            pixels = self.store.fetch(self.catalog, record)
        except (DataError, IntegrityError, OSError):
            return Picture(path=path, label=record.label)
        return Picture(path=path, image=thumbnail(pixels), label=record.label)

    def pictures(self, paths: Iterable[str], limit: int) -> tuple[Picture, ...]:
        return tuple(self.picture(path) for path, _ in zip(paths, range(limit), strict=False))
