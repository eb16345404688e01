"""A bundle goes to the hub's layout and comes back from a stand-in of the hub, verified."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from budwood.errors import OutputError, UsageError
from budwood.export.bundle import load
from budwood.export.hub import export_hub, fetch_from_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = """
import sys
from budwood.errors import BudwoodError
from budwood.export.bundle import load
from budwood.export.hub import fetch_from_hub
try:
    bundle = load(fetch_from_hub(sys.argv[1]))
    print("classes", *bundle.classes)
except BudwoodError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A stand-in of the hub that has one repository, grower/leaves: its address, and the folder that it gives out."""
    root = tmp_path / "repository"
    root.mkdir()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            names = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*")) if file.is_file()]
            data, status, kind = b"", 404, "application/json"
            if path == "/":
                status = 200
            elif path.startswith("/api/models/grower/leaves/revision/"):
                about = {"id": "grower/leaves", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                data, status = json.dumps(about).encode(), 200
            elif path.startswith("/api/models/grower/leaves/tree/"):
                tree = [
                    {
                        "type": "file",
                        "path": n,
                        "size": (root / n).stat().st_size,
                        "oid": hashlib.sha1(n.encode()).hexdigest(),
                    }
                    for n in names
                ]
                data, status = json.dumps(tree).encode(), 200
            elif path.startswith(f"/grower/leaves/resolve/{COMMIT}/"):
                data, status, kind = (root / path.split(COMMIT + "/")[1]).read_bytes(), 200, "application/octet-stream"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", root
        server.shutdown()


def fetched(name: str, address: str, home: Path) -> str:
    """What loading ``name`` says, in a process that knows only the stand-in."""
    own = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    own.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", FETCH, name], capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.slow
def test_a_bundle_comes_back_from_the_hub_and_a_changed_one_is_refused(
    folder: Path, tmp_path: Path, hub: tuple[str, Path]
) -> None:
    address, root = hub
    root.rmdir()
    export_hub(load(folder), root)
    (root / ".gitattributes").write_text("*.safetensors filter=lfs\n")  # the hub adds it
    assert fetched("hf-hub:grower/leaves@v1", address, tmp_path / "home") == "classes zebra ant ü mouse"
    facts = root / "bundle.json"
    facts.write_text(facts.read_text().replace("zebra", "horse"))
    said = fetched("hf-hub:grower/leaves", address, tmp_path / "other")
    assert said.startswith("IntegrityError")
    assert "bundle.json was changed" in said
    assert fetched("hf-hub:grower/nothing", address, tmp_path / "third").startswith("UsageError hf-hub:grower/nothing")


def test_the_hubs_folder_is_the_same_bundle_with_a_card_that_the_hub_reads(folder: Path, tmp_path: Path) -> None:
    made = load(export_hub(load(folder), tmp_path / "out"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(made.predict_pixels(pixels), load(folder).predict_pixels(pixels))
    card = (made.folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: budwood\n")
    assert "# A picture classifier" in card
    assert json.loads((made.folder / "config.json").read_text())["id2label"]["2"] == "ü mouse"
    with pytest.raises(OutputError, match="already holds"):
        export_hub(made, tmp_path / "out")


@pytest.mark.parametrize("name", ["hf-hub:leaves", "hf-hub:a/b/c", "hf-hub:../x y", "hf-hub:"])
def test_what_is_no_name_is_refused_without_asking(name: str) -> None:
    with pytest.raises(UsageError, match="expected hf-hub:USER/NAME"):
        fetch_from_hub(name)
