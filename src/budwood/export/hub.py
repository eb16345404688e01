"""A bundle on the Hugging Face hub: `export_hub` makes the folder to upload, `fetch_from_hub` gets one.

Nothing is uploaded here. What is fetched is verified like any bundle, by `bundle.load`.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from budwood.errors import OutputError, UsageError
from budwood.export.bundle import Bundle, load
from budwood.export.card import CARD_NAME
from budwood.files import MANIFEST_NAME, write_json, write_manifest, write_text
from budwood.models.hub import require_host

PREFIX = "hf-hub:"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def export_hub(bundle: Bundle, out: Path) -> Path:
    """Write a folder that can be uploaded as a repository: the bundle, its card with the hub's header, ``config.json``.

    The folder is a bundle like the one it was made from, sealed anew.

    Raises:
        OutputError: ``out`` holds something. UsageError: the bundle is a zip.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} already holds something; choose another --out")
    if not bundle.folder.is_dir():
        raise UsageError(f"{bundle.folder} is a zip; unpack it first, and give the folder")
    shutil.copytree(bundle.folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST_NAME + ".tmp"))
    card = (out / CARD_NAME).read_text(encoding="utf-8")
    write_text(out / CARD_NAME, _header() + card)
    labels = {str(k): name for k, name in enumerate(bundle.classes)}
    config = {"library_name": "budwood", "id2label": labels, "label2id": {n: int(k) for k, n in labels.items()}}
    write_json(out / "config.json", config)
    write_manifest(out)
    load(out)
    return out


def fetch_from_hub(name: str) -> Path:
    """The folder, in the hub's cache, of ``hf-hub:USER/NAME`` or ``hf-hub:USER/NAME@REVISION``.

    Raises:
        UsageError: the name is none, or there is no such repository. BackboneError: the hub cannot be reached.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not found:
        raise UsageError(f"{name} is no name on the hub; expected hf-hub:USER/NAME or hf-hub:USER/NAME@REVISION")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = bool(constants.HF_HUB_OFFLINE)
    try:
        if not offline:
            require_host(name, constants.ENDPOINT, "the Hugging Face hub")
        # The hub adds files of Git's own, which the bundle's manifest does not know.
        return Path(
            snapshot_download(
                found["repo"], revision=found["revision"], ignore_patterns=[".git*"], local_files_only=offline
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UsageError(f"{name} cannot be had from the hub ({str(error).splitlines()[0][:160]})") from error


def _header() -> str:
    """What the hub reads at the top of a card."""
    tags = json.dumps(["image-classification", "budwood"])
    return f"---\nlibrary_name: budwood\npipeline_tag: image-classification\ntags: {tags}\n---\n\n"
