"""``budwood serve``: a bundle as a server, with a page for people and an API for programs.

An ONNX file is served without torch being imported.
"""

from __future__ import annotations

import importlib.util
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budwood.cli import options

if TYPE_CHECKING:
    from budwood.serve.answering import Answerer
    from budwood.serve.engines import Engine
    from budwood.serve.guard import Rules

_PORT, _PORTS = 8000, 20
_EVERYWHERE = ("0.0.0.0", "::")
_NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
_TOKEN_VARIABLE = "BUDWOOD_TOKEN"
_MB = 2**20
Runtime = Literal["auto", "torch", "onnx"]


def run(
    context: typer.Context,
    bundle: Annotated[
        Path,
        typer.Argument(
            help="A bundle, its zip, the folder of a run, or an .onnx file of budwood export.", show_default=False
        ),
    ],
    runtime: Annotated[
        Runtime, typer.Option(help="What answers; auto: onnx for an .onnx file, torch for a bundle.")
    ] = "auto",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port.", show_default="8000, or the next free one")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this computer's own needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar=_TOKEN_VARIABLE,
            help="What a visitor must know; better in the environment, where the list of processes does not show it.",
            show_default="none on this computer, else a random one",
        ),
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
    engine = _engine(bundle, runtime, threads=threads)
    from budwood.serve.answering import Answerer
    from budwood.serve.guard import is_loopback
    from budwood.serve.limits import Limits

    source = context.get_parameter_source("token")
    hidden = source is not None and source.name == "ENVIRONMENT"
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(16)
    limits = Limits(max_body=max_mb * _MB, max_held=max(128, 4 * max_mb) * _MB, max_waiting=queue)
    answerer = Answerer(engine, limits=limits, risk=risk)
    shown = f"?token={f'${_TOKEN_VARIABLE}' if hidden else token}" if token else ""
    _answer_until_stopped(answerer, port, rules=_rules(host, token, name or []), title=_title(bundle), shown=shown)


def _answer_until_stopped(answerer: Answerer, port: int | None, *, rules: Rules, title: str, shown: str) -> None:
    """Open the port, say where, and answer; ``shown`` is what the address is told with."""
    from budwood.serve.answer_app import answer_app
    from budwood.serve.guard import is_loopback
    from budwood.serve.server import address_of, open_socket, serve

    app = answer_app(answerer, title=title, rules=rules)
    listening = open_socket(rules.host, port or _PORT, tries=1 if port else _PORTS)
    address = address_of(listening, name=socket.gethostname() if rules.host in _EVERYWHERE else "")

    def announce() -> None:
        _say(f"answering at {address}/{shown} on {answerer.engine.runtime}  (Ctrl-C ends it)")
        if not is_loopback(rules.host):
            _say("others can reach it with the token; what is sent is not encrypted: put a proxy with TLS before it")

    serve(app, listening, started=announce, stopping=answerer.refuse_new, concurrency=2048, patience=5)
    _say("stopped; what was waiting has been answered")


def _engine(bundle: Path, runtime: Runtime, *, threads: int | None) -> Engine:
    """What answers; torch is imported only where it is needed."""
    from budwood.errors import UsageError

    is_onnx = bundle.suffix.lower() == ".onnx"
    if is_onnx and runtime == "torch":
        raise UsageError(f"{bundle} is an ONNX file, which torch does not carry out: give the bundle it was made from")
    if is_onnx:
        from budwood.serve.onnx_engine import OnnxEngine

        return OnnxEngine(bundle, threads=threads)
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    lanes = machine.probe(threads=threads, tuned_allocator=tuned).threads
    if runtime == "onnx":
        return _exported(bundle, threads=threads)
    import torch

    from budwood.export.bundle import load
    from budwood.serve.torch_engine import TorchEngine

    torch.set_num_threads(1)  # of each lane
    return TorchEngine(load(bundle), lanes=lanes)


def _exported(bundle: Path, *, threads: int | None) -> Engine:
    """The engine of an ONNX file that is made of the bundle, checked against it, read and forgotten."""
    from budwood.exporting import export
    from budwood.files import scratch_folder
    from budwood.serve.onnx_engine import OnnxEngine

    _say("writing the bundle as ONNX first; to do so once: budwood export ... --to onnx, and serve the file")
    with scratch_folder() as scratch:
        file = scratch / "model.onnx"
        export(bundle, "onnx", file)
        return OnnxEngine(file, threads=threads)


def _rules(host: str, token: str | None, names: list[str]) -> Rules:
    from budwood.serve.answer_app import OPEN_PATHS
    from budwood.serve.guard import Rules, is_loopback

    known = {one.lower() for one in names}
    if not is_loopback(host):
        known |= {socket.gethostname().lower(), host.lower()}
    return Rules(
        host=host,
        token=token or "",
        names=frozenset(known),
        programs=True,
        open_paths=OPEN_PATHS,
        images="'self' blob:",
    )


def _check_options(token: str | None) -> None:
    from budwood.errors import UsageError

    if token is not None and (not token.isascii() or not token.isprintable() or len(token) < 8 or " " in token):
        raise UsageError(
            f"--token (or {_TOKEN_VARIABLE}) must have 8 or more letters, digits or signs without spaces; leave it out"
            " to get one"
        )
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"the server needs {' and '.join(missing)}: pip install 'budwood[serve]'")


def _title(bundle: Path) -> str:
    """What the model is called: the run's folder, not the ``bundle`` in it."""
    place = bundle.resolve()
    return place.parent.name if place.name == "bundle" else place.stem if place.is_file() else place.name


def _say(text: str) -> None:
    typer.echo(text, err=True)
