"""Libraries that talk at length of their own future, unheard while they work."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Drop warnings and log lines up to WARNING, of all threads; errors are still heard."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
