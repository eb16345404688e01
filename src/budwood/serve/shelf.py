"""Pictures of a catalog as JPEGs, by the digest of their pixels: small from the store, large from the file itself.

Only digests of the catalog are known, so no request can name a file.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from budwood.data.decode import decode_file
from budwood.data.records import Catalog, ImageRecord
from budwood.data.store import PictureStore, pixel_digest
from budwood.errors import DataError
from budwood.files import unescape_name
from budwood.report.thumbnails import thumbnail

THUMB_SIDE, PICTURE_SIDE = 256, 1600  # pixels of the longer side
_DECODING = 2  # large pictures decoded at once: one of 50 megapixels takes 150 MB


class PictureShelf:
    """Thumbnails and large views of the readable pictures of ``catalog``."""

    def __init__(self, catalog: Catalog, store: PictureStore) -> None:
        self._catalog = catalog
        self._store = store
        self._records = {r.pixel_digest: r for r in catalog.records if r.pixel_digest}
        self._decoding = threading.BoundedSemaphore(_DECODING)

    def __contains__(self, digest: object) -> bool:
        return digest in self._records

    def thumb(self, digest: str) -> bytes:
        """A JPEG of at most `THUMB_SIDE` pixels.

        Raises:
            KeyError: no such picture. DataError: its file was changed or is gone.
        """
        return thumbnail(self._store.fetch(self._catalog, self._records[digest]), side=THUMB_SIDE, quality=82)

    def picture(self, digest: str) -> bytes:
        """A JPEG of at most `PICTURE_SIDE` pixels; decoded from the file where the store holds a smaller one.

        Raises:
            KeyError: no such picture. DataError: its file was changed or is gone.
        """
        record = self._records[digest]
        if min(record.width, record.height) <= self._store.side:
            return thumbnail(self._store.fetch(self._catalog, record), side=PICTURE_SIDE, quality=90)
        with self._decoding:
            return thumbnail(self._decoded(record), side=PICTURE_SIDE, quality=90)

    def _decoded(self, record: ImageRecord) -> NDArray[np.uint8]:
        image = decode_file(self._catalog.root / unescape_name(record.path)).image
        if pixel_digest(image) != record.pixel_digest:
            raise DataError(f"{record.path} was changed since the scan; start the review again")
        return image
