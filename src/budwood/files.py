"""Files on disk: atomic writes, digests, file names that are not UTF-8, manifests of whole folders.

It does not know what the files mean; `runs.py` and `export/bundle.py` name them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from budwood.errors import IntegrityError, OutputError

MANIFEST_NAME = "manifest.json"
_OWNER = re.compile(r"\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.[^.]*\.tmp$")
# Bidirectional marks: with one of them photo_gpj.exe is shown as photo_exe.jpg.
_TURNING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path``; on success it is fsynced and renamed onto ``path``.

    A reader sees the old content or the new one, never a part. On failure the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = temporary_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes 0600; results are meant to be shared
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def temporary_beside(path: Path) -> tuple[int, str]:
    """An open temporary file that will be renamed onto ``path``: its handle and name.

    The name says whose it is, so that `sweep_leftovers` knows it when its process was killed.
    """
    prefix = f".{path.name[:40]}.{_host()}-{os.getpid()}."
    return tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")


def sweep_leftovers(folder: Path) -> int:
    """Remove temporary files that killed processes of this host left directly in ``folder``; returns how many."""
    removed = 0
    for file in folder.glob(".*.tmp"):
        owner = _OWNER.search(file.name)
        if owner and owner["host"] == _host() and not _is_alive(int(owner["process"])):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
                removed += 1
    return removed


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's temporary place, removed at the end; first those of killed processes are removed."""
    sweep_scratch()
    prefix = f"budwood-{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep_scratch() -> None:
    """Remove the scratch folders of killed processes of this host."""
    for old in Path(tempfile.gettempdir()).glob(f"budwood-{_host()}-*"):
        process = old.name.split("-")[2]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(old, ignore_errors=True)


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if not hasattr(os, "posix_fadvise"):  # Windows: signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable; a no-op where folders cannot be opened (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_open(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, two spaces, a final newline; NaN and infinities are refused."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as canonical JSON, atomically."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        IntegrityError: the file is missing or holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing; the folder is not complete") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read as JSON ({error}); it was changed or cut") from error


def sha256_bytes(data: bytes | memoryview) -> str:
    """The SHA-256 of ``data`` in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def escape_name(name: str) -> str:
    """Turn a file name from the operating system into text that any UTF-8 file can hold.

    Python keeps bytes that are not UTF-8 as lone surrogates; each becomes ``\\xNN`` and each backslash ``\\\\``.
    Control characters and line ends, which a terminal or a line-based file would obey, and marks that turn the text
    around them become ``\\uNNNN``.
    `unescape_name` gives the first name back exactly.
    """
    if "\\" not in name and name.isprintable():
        return name
    out: list[str] = []
    for char in name:
        if char == "\\":
            out.append("\\\\")
        elif "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char in _TURNING or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(char)
    return "".join(out)


def unescape_name(text: str) -> str:
    """The inverse of `escape_name`."""
    if "\\" not in text:
        return text
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "\\" or at + 1 == len(text):
            out.append(text[at])
            at += 1
        elif text[at + 1] == "x":
            out.append(chr(0xDC00 + int(text[at + 2 : at + 4], 16)))
            at += 4
        elif text[at + 1] == "u":
            out.append(chr(int(text[at + 2 : at + 6], 16)))
            at += 6
        else:
            out.append(text[at + 1])
            at += 2
    return "".join(out)


def ensure_writable(folder: Path) -> None:
    """Create ``folder`` and prove that a file can be written there, before hours of work.

    Raises:
        OutputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write into {folder} ({reason}); choose another place with --out") from error


def refuse_inside(path: Path, photos: Path, *, option: str = "--out") -> None:
    """Refuse an output place inside the photos.

    Raises:
        OutputError: ``path`` is ``photos`` or lies below it.
    """
    try:
        inside = path.resolve().is_relative_to(photos.resolve())
    except (OSError, RuntimeError):  # no such place: whoever opens it will say so
        return
    if inside:
        raise OutputError(
            f"{path} lies inside {photos}, which is never written to; give a place elsewhere with {option}"
        )


def write_manifest(folder: Path, *, skip: Iterable[str] = ()) -> None:
    """Write ``manifest.json`` with the sha256 of every file below ``folder`` and of the list itself.

    ``skip`` names files and folders directly in ``folder``.
    """
    skipped = {MANIFEST_NAME, *skip}
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in skipped
    }
    write_json(folder / MANIFEST_NAME, {"files": files, "sha256": sha256_bytes(to_json(files).encode())})


def check_manifest(folder: Path, *, skip: Iterable[str] = ()) -> list[str]:
    """Compare ``folder`` with its manifest.

    Returns:
        One line for each difference (changed, missing, not listed); empty when all is as written.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return [f"{MANIFEST_NAME} is missing"]
    try:
        manifest = read_json(path)
        files: dict[str, str] = dict(manifest["files"].items())
        sealed = manifest["sha256"] == sha256_bytes(to_json(files).encode())
        canonical = to_json(manifest).encode() == path.read_bytes()
    except (IntegrityError, KeyError, TypeError, ValueError, AttributeError):
        return [f"{MANIFEST_NAME} was changed"]
    problems = [] if sealed and canonical and set(manifest) == {"files", "sha256"} else [f"{MANIFEST_NAME} was changed"]
    for name, digest in files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif sha256_file(file) != digest:
            problems.append(f"{name} was changed")
    skipped = {MANIFEST_NAME, *skip}
    present = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    listed = {p.as_posix() for p in present if p.parts[0] not in skipped}
    added = sorted(escape_name(name) for name in listed - set(files))
    problems += [f"{name} is not listed in {MANIFEST_NAME}" for name in added]
    return problems
