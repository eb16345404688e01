"""``budwood review``: look at what the audit found, on a local page, and decide."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress
from budwood.cli.reading import Model, read_and_audit

if TYPE_CHECKING:
    from budwood.data.opinion import Opinion
    from budwood.data.records import Catalog, Finding
    from budwood.data.store import PictureStore

_PORT, _PORTS = 8000, 20
_EVERYWHERE = ("0.0.0.0", "::")
_NEEDED = ("fastapi", "uvicorn")


def run(
    photos: options.Photos,
    model: Model = False,
    doubts_of: Annotated[
        Path | None, typer.Option("--run", help="Also what the model of this run doubts: its validation pictures.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option("--check", help="Only what this check found (may be repeated).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port.", show_default="8000, or the next free one")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this computer's own needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(help="What a visitor must know.", show_default="none on this computer, else a random one"),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Look at each finding in the browser and decide: keep, exclude or relabel. No picture file is changed.

    budwood review photos/                      what the files themselves tell
    budwood review photos/ --model              also suspects of wrong labels, outliers, with a network's opinion
    budwood review photos/ --check label_error  one check only
    budwood review photos/ --run runs/first     also what a trained model doubts
    """
    _check_options(check or [], token)
    with progress() as listen:
        # The files as they are: a finding stays on its list, decided, when the review is started again.
        reading = read_and_audit(photos, model=model, decided=False, listen=listen)
    doubts = _doubts(doubts_of, reading.catalog)
    chosen = tuple(f for f in (*doubts, *reading.result.findings) if not check or f.check in check)
    serve_review(
        photos,
        reading.catalog,
        chosen,
        store=reading.store,
        opinion=reading.opinion,
        host=host,
        port=port,
        token=token or "",
        open_browser=open_browser,
    )


def serve_review(
    photos: Path,
    catalog: Catalog,
    findings: tuple[Finding, ...],
    *,
    store: PictureStore,
    opinion: Opinion | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str = "",
    open_browser: bool = False,
) -> None:
    """Serve the page until Ctrl-C, then say what was decided.

    Args:
        photos: what the user gave; names the workspace.
        catalog: as scanned, without earlier decisions, which are read from the workspace.
        findings: what there is to look at. opinion: shown beside the pictures where there is one.
        store: the pictures of ``catalog``.
        port: None: 8000 or the next free one. host, token: see `serve.guard.Rules`.

    Raises:
        UsageError: the port is taken, or the host is none of this computer's.
    """
    from budwood.data.cleaning.decisions import DecisionJournal
    from budwood.serve.guard import Rules, is_loopback
    from budwood.serve.review import review_app
    from budwood.serve.review_state import ReviewState
    from budwood.serve.server import address_of, open_socket, serve
    from budwood.serve.shelf import PictureShelf
    from budwood.workspace import workspace

    place = workspace(photos)
    state = ReviewState(
        catalog, findings, journal=DecisionJournal(place.decisions), ledger=place.catalog, opinion=opinion
    )
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(16)
    listening = open_socket(host, port or _PORT, tries=1 if port else _PORTS)
    address = address_of(listening, name=socket.gethostname() if host in _EVERYWHERE else "")
    if port is None and listening.getsockname()[1] != _PORT:
        _say(f"port {_PORT} is taken by another program; choose one with --port")
    address = f"{address}/?token={token}" if token else f"{address}/"
    app = review_app(
        state,
        PictureShelf(catalog, store),
        title=photos.resolve().name,
        rules=Rules(host=host, token=token, names=_names(host)),
    )
    before = len(state.decisions)
    serve(app, listening, started=_announcer(address, open_browser=open_browser, encrypted=is_loopback(host)))
    now = len(state.decisions)
    _say(f"{now} pictures decided upon ({now - before:+d}); decisions and ledger are in {place.path}")


def _doubts(run: Path | None, catalog: Catalog) -> tuple[Finding, ...]:
    """What the model of a run doubts about the pictures of ``catalog``."""
    if run is None:
        return ()
    from budwood.doubting import findings_for_review, own_run
    from budwood.errors import UsageError

    folder = own_run(run)
    if folder is None:
        raise UsageError(f"--run: {run} is no run that is done; give a folder that `budwood fit` made")
    return findings_for_review(folder, catalog)


def _check_options(checks: list[str], token: str | None) -> None:
    from budwood.data.checks import CHECKS, OPINION_CHECKS, PAIR_CHECKS
    from budwood.errors import UsageError

    known = sorted({*CHECKS, *PAIR_CHECKS, *OPINION_CHECKS, "doubt"})
    for name in checks:
        if name not in known:
            raise UsageError(f'--check: there is no check "{name}"; known are {", ".join(known)}')
    if token is not None and (not token.isascii() or not token.isprintable() or len(token) < 8 or " " in token):
        raise UsageError("--token must have 8 or more letters, digits or signs without spaces; leave it out to get one")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the review page needs {' and '.join(missing)}: pip install 'budwood[serve]'")


def _names(host: str) -> frozenset[str]:
    """The names under which others may call this computer, when it listens to others at all."""
    from budwood.serve.guard import is_loopback

    return frozenset() if is_loopback(host) else frozenset({socket.gethostname().lower(), host.lower()})


def _announcer(address: str, *, open_browser: bool, encrypted: bool) -> Callable[[], None]:
    def announce() -> None:
        _say(f"look and decide at {address}  (Ctrl-C ends it; every decision is saved at once)")
        if not encrypted:
            _say("others can reach this page with the token; what is sent is not encrypted")
        if open_browser and _has_a_screen():
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    return announce


def _has_a_screen() -> bool:
    # Without one, webbrowser would start a text browser in this very terminal.
    if not sys.stderr.isatty():
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _say(text: str) -> None:
    typer.echo(text, err=True)
