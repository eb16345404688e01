"""Running an app on a socket in this process, until Ctrl-C; finding a free port first."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from fastapi import FastAPI

from budwood.errors import UsageError

_BACKLOG = 128


def open_socket(host: str, port: int, *, tries: int = 1) -> socket.socket:
    """A listening socket on ``port``, or on the first free one of the ``tries`` ports from it on.

    Raises:
        UsageError: all of them are taken, or the host is none of this computer's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"{host} is no address of this computer ({error}); try --host 127.0.0.1") from error
    for candidate in range(port, min(port + max(1, tries), 65536)):
        made = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would let two programs share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address[0], candidate, *address[2:]))
            made.listen(_BACKLOG)
            return made
        except OSError as error:
            made.close()
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise UsageError(f"cannot listen on {host} port {candidate} ({reason}); give another --port") from error
    last = min(port + max(1, tries), 65536) - 1
    taken = f"port {port} is" if tries <= 1 else f"the ports {port} to {last} are all"
    raise UsageError(f"{taken} taken by another program; give another one with --port")


def address_of(listening: socket.socket, *, name: str = "") -> str:
    """``http://127.0.0.1:8000`` of a listening socket; ``name`` stands in for an address that means "everywhere"."""
    host, port = listening.getsockname()[:2]
    host = name or host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    app: FastAPI,
    on: socket.socket,
    *,
    started: Callable[[], None],
    stopping: Callable[[], None] = lambda: None,
    concurrency: int = 128,
    patience: int = 3,
) -> None:
    """Answer until Ctrl-C or SIGTERM, then end what is under way.

    Args:
        started: called when requests are answered. stopping: when new ones are refused.
        concurrency: connections at a time; beyond it 503 is said without a look at the request.
        patience: seconds that requests under way get to be answered in.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                started()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            stopping()
            await super().shutdown(sockets=sockets)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=concurrency,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=patience,
    )
    with suppress(KeyboardInterrupt), on:
        Server(config).run(sockets=[on])
