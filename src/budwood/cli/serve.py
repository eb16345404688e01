"""``budwood serve``: a bundle as a server, with a page for people and an API for programs."""

from __future__ import annotations

import importlib.util
import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options

_PORT, _PORTS = 8000, 20
_EVERYWHERE = ("0.0.0.0", "::")
_NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
_MB = 2**20


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, its zip, or the folder of a run.", show_default=False)],
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
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name that a proxy hands on (may be repeated).")
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of answers that may be wrong.", show_default="0.05"),
    ] = None,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, max=256, help="Megabytes of one request.")] = 8,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Pictures that may wait; then 503 is said.")] = 256,
    threads: options.Threads = None,
) -> None:
    """Answer pictures over HTTP: a page for people, POST /predict for programs. Ctrl-C ends it.

    budwood serve runs/first                       then open http://127.0.0.1:8000
    curl -F files=@leaf.jpg 127.0.0.1:8000/predict
    """
    _check_options(token)
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from budwood.export.bundle import load
    from budwood.serve.answer_app import OPEN_PATHS, answer_app
    from budwood.serve.answering import Answerer
    from budwood.serve.engines import TorchEngine
    from budwood.serve.guard import Rules, is_loopback
    from budwood.serve.limits import Limits
    from budwood.serve.server import address_of, open_socket, serve

    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(16)
    machine.probe(threads=threads, tuned_allocator=tuned)
    limits = Limits(max_body=max_mb * _MB, max_held=max(128, 4 * max_mb) * _MB, max_waiting=queue)
    answerer = Answerer(TorchEngine(load(bundle)), limits=limits, risk=risk)
    names = {one.lower() for one in name or []}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), host.lower()}
    rules = Rules(
        host=host,
        token=token or "",
        names=frozenset(names),
        programs=True,
        open_paths=OPEN_PATHS,
        images="'self' blob:",
    )
    app = answer_app(answerer, title=_title(bundle), rules=rules)
    listening = open_socket(host, port or _PORT, tries=1 if port else _PORTS)
    address = address_of(listening, name=socket.gethostname() if host in _EVERYWHERE else "")

    def announce() -> None:
        _say(f"answering at {address}/{f'?token={token}' if token else ''}  (Ctrl-C ends it)")
        if not is_loopback(host):
            _say("others can reach it with the token; what is sent is not encrypted: put a proxy with TLS before it")

    serve(app, listening, started=announce, stopping=answerer.refuse_new, concurrency=2048, patience=5)
    _say("stopped; what was waiting has been answered")


def _check_options(token: str | None) -> None:
    from budwood.errors import UsageError

    if token is not None and (not token.isascii() or not token.isprintable() or len(token) < 8 or " " in token):
        raise UsageError("--token must have 8 or more letters, digits or signs without spaces; leave it out to get one")
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"the server needs {' and '.join(missing)}: pip install 'budwood[serve]'")


def _title(bundle: Path) -> str:
    """What the model is called: the run's folder, not the ``bundle`` in it."""
    place = bundle.resolve()
    return place.parent.name if place.name == "bundle" else place.stem if place.is_file() else place.name


def _say(text: str) -> None:
    typer.echo(text, err=True)
