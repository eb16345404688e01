"""A bundle as one zip file: `zip_bundle` makes it, `opened_zip` unpacks it into a scratch folder for a while.

A zip is as hostile as its sender. Nothing outside the scratch folder is ever written, links are refused, and bytes are
counted as they are written, whatever the zip says of itself. What the files mean is checked by `bundle.load`.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from budwood.data.inputs.zip_list import open_zip
from budwood.errors import DataError, IntegrityError, OutputError, UsageError
from budwood.export.bundle_facts import FACTS_NAME
from budwood.files import atomic_open, check_manifest, scratch_folder

MAX_FILES = 2_000
MAX_BYTES = 16 * 10**9
# JSON packs well; weights hardly. What is below the second number may unpack to as many times its size as it likes.
MAX_RATIO = 200
_RATIO_COUNTS_FROM = 64 * 10**6
_PART = re.compile(r"[^/\\:\x00-\x1f]{1,200}")
_MAX_PARTS = 16
_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a time of its own would make equal bundles different zips


def zip_bundle(folder: str | Path, out: str | Path) -> Path:
    """Pack a bundle into one file that `bundle.load` takes; equal bundles give equal bytes.

    Raises:
        UsageError: there is no bundle at ``folder``. IntegrityError: it is not what was written.
        OutputError: ``out`` exists already, or lies inside the bundle.
    """
    folder, out = Path(folder), Path(out)
    if not (folder / FACTS_NAME).is_file():
        raise UsageError(f"{folder} is no bundle (no {FACTS_NAME} in it); give RUN/bundle")
    if out.exists() or out.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{out} exists already or lies inside the bundle; choose another place")
    if problems := check_manifest(folder):
        raise IntegrityError(f"the bundle {folder} is not what was written: {'; '.join(problems[:3])}")
    with atomic_open(out) as file, zipfile.ZipFile(file, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            packed = path.suffix not in (".safetensors", ".png")
            entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(entry, path.read_bytes())
    return out


@contextmanager
def opened_zip(file: Path) -> Iterator[Path]:
    """The folder of the bundle inside a zip; it is gone when the block ends.

    Raises:
        UsageError: the file is no zip, or holds no bundle. IntegrityError: it is damaged or beyond a limit.
    """
    with scratch_folder() as scratch:
        try:
            with file.open("rb") as source:
                if source.read(4) != b"PK\3\4":
                    raise UsageError(
                        f"{file} is no bundle; give a bundle's folder, a run's folder or a zip of a bundle"
                    )
                _unpack(open_zip(source), scratch / "bundle", size=os.fstat(source.fileno()).st_size)
        except DataError as error:
            raise IntegrityError(f"{file} {error}") from error
        found = scratch / "bundle"
        inside = list(found.iterdir()) if found.is_dir() else []
        if len(inside) == 1 and inside[0].is_dir():
            found = inside[0]  # the folder itself was packed
        if not (found / FACTS_NAME).is_file():
            raise UsageError(f"{file} holds no bundle (no {FACTS_NAME} in it)")
        yield found


def _unpack(archive: zipfile.ZipFile, target: Path, *, size: int) -> None:
    """Write all files of ``archive`` below ``target``, or raise DataError; the text lacks the archive's name."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    names = [entry.filename for entry in entries]
    if len(names) > MAX_FILES or len({name.casefold() for name in names}) < len(names):
        raise DataError(f"holds a name twice, or more than the {MAX_FILES} files allowed")
    left = min(MAX_BYTES, max(_RATIO_COUNTS_FROM, MAX_RATIO * size))
    for entry in entries:
        parts = entry.filename.split("/")
        sound = len(parts) <= _MAX_PARTS and all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)
        kind = entry.external_attr >> 28  # of a Unix mode: 8 is a plain file; other systems leave it 0
        if not sound or kind not in (0, 8) or entry.flag_bits & 0x1:
            raise DataError(f"holds {entry.filename[:80]!r}, which no bundle does: a link, a path or a locked file")
        left = _write(archive, entry, target.joinpath(*parts), left=left)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, *, left: int) -> int:
    """Write one file; returns how many bytes may still be written."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file, archive.open(entry) as member:
            while chunk := member.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise DataError("unpacks to more than any bundle of its size does")
                file.write(chunk)
    except DataError:
        raise
    except OSError as error:
        if error.errno is not None:  # the disk's own, such as a full one
            raise OutputError(f"a zip cannot be unpacked into {place.parent} ({error.strerror})") from error
        raise DataError("is damaged; copy or download it again") from error
    except Exception as error:  # the unpackers' own errors, a wrong checksum, a method that Python does not know
        raise DataError("is damaged; copy or download it again") from error
    return left
