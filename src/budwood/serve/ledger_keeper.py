"""Writes a derived file a moment after it became stale, once for many changes, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LedgerKeeper:
    """Calls ``write`` some ``delay`` seconds after `touch`, and at `flush`; says in ``trouble`` when that failed."""

    def __init__(self, write: Callable[[], None], *, delay: float = 2.0) -> None:
        self.trouble = ""
        self._write = write
        self._delay = delay
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._timer: threading.Timer | None = None

    def touch(self) -> None:
        """Something changed; returns at once."""
        with self._guard:
            if self._timer is None:
                self._timer = threading.Timer(self._delay, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write now."""
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        with self._writing:
            try:
                self._write()
            except OSError as error:
                reason = error.strerror or str(error)
                self.trouble = f"the ledger cannot be written ({reason}); decisions are safe, but free some space"
            else:
                self.trouble = ""
