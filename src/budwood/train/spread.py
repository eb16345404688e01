"""`spread`: a function carried out by several processes of this host at once, a `Team`.

Each is a fresh Python that gets its work through a pipe, so nothing of the caller's script is run again: this works
from scripts without a guard, from notebooks and from a prompt. The processes end when the caller does, however it ends.
Nothing here knows what is computed; `loop.py` hands it the training of a stage.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from budwood import machine
from budwood.errors import BudwoodError, UsageError
from budwood.train.device import Device, Place, refuse_unfit
from budwood.train.team import Team

Tell = Callable[[object], None]
# (what is to be done, this process's team, what the caller hears of the leading one) -> what that one gives back
Work = Callable[[Any, Team, Tell], Any]

_START = "from budwood.train.spread import join; join()"
_PATIENCE = 3.0  # seconds that a process has to end before it is killed
_LAST_WORDS = 2000  # characters of what a process that died had printed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """What a process gets to do; ``work`` must be a function of a module, and ``task`` plain values."""

    work: Work
    task: Any
    device: Device
    place: Place
    threads: int


@dataclass(frozen=True, slots=True)
class _Told:
    """Something that the caller hears."""

    value: object


@dataclass(frozen=True, slots=True)
class _Done:
    """A process's work is done."""

    value: Any


@dataclass(frozen=True, slots=True)
class _Failed:
    """A process's work failed; ``error`` where it failed on purpose."""

    error: BudwoodError | None
    trace: str


@dataclass(slots=True)
class _Member:
    """A process that was started."""

    process: subprocess.Popen[bytes]
    connection: Connection
    printed: Path

    def stop(self) -> None:
        """End it, gently for a moment."""
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def died(self) -> _Failed:
        """What to say of a process that ended without a word."""
        code = self.process.wait()
        words = self.printed.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:].strip()
        return _Failed(None, f"it ended with code {code}" + (f": {words}" if words else ""))


def spread(work: Work, task: Any, *, device: Device, folder: Path, hear: Tell) -> Any:
    """What ``work(task, team, tell)`` returned in the leading process.

    Args:
        work: a function of a module. task: what it works on; weights and pictures belong into files (`parcel.py`).
        device: how many processes. folder: for what the processes print and for how they find each other.
        hear: is called with all that the leading process tells.

    Raises:
        UsageError: this computer cannot carry that out, or the task cannot be sent to another process.
        BudwoodError: whatever a process raised, or how it ended.
    """
    refuse_unfit(device)
    members: list[_Member] = []
    threads = max(1, torch.get_num_threads() // device.devices)
    node = int(os.environ["NODE_RANK"]) if device.nodes > 1 else 0
    meeting = "" if device.nodes > 1 else str(folder / "meeting")
    try:
        for number in range(device.devices):
            place = Place(local=number, node=node, meeting=meeting)
            members.append(_start(place, folder / f"process-{number}.txt"))
            _send(members[-1], _Errand(work=work, task=task, device=device, place=place, threads=threads))
        return _attend(members, hear)
    finally:
        for member in members:
            member.stop()


def _start(place: Place, printed: Path) -> _Member:
    ours, theirs = Pipe()
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            env=_environment(os.environ, place),
        )
    theirs.close()
    return _Member(process, ours, printed)


def _environment(own: Mapping[str, str], place: Place) -> dict[str, str]:
    """What a process is to know before it imports anything."""
    known = {
        **own,
        "PYTHONPATH": os.pathsep.join(part or str(Path.cwd()) for part in sys.path),
        "LOCAL_RANK": str(place.local),
        "NODE_RANK": str(place.node),
    }
    if place.meeting:
        # Processes of one host talk over its loopback, whatever networks it is in.
        known.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
    return known


def _send(member: _Member, errand: _Errand) -> None:
    try:
        member.connection.send(errand)
    except OSError:  # it died at once: `_attend` finds out how
        return
    except Exception as error:  # pickling raises whatever the object's own code does
        raise UsageError(
            f"this network or its augmentation cannot be handed to other processes ({error}): leave --devices at 1"
        ) from error


def _attend(members: Sequence[_Member], hear: Tell) -> Any:
    """Listen to all until each is done; returns what the first one gave."""
    waiting = {member.connection: number for number, member in enumerate(members)}
    results: dict[int, Any] = {}
    while waiting:
        for connection in wait(list(waiting)):
            assert isinstance(connection, Connection)
            number = waiting[connection]
            message = _next(members[number])
            if isinstance(message, _Told):
                hear(message.value)
            elif isinstance(message, _Failed):
                raise _reason(message, [members[other] for other in waiting.values() if other != number])
            else:
                results[number] = message.value
                del waiting[connection]
    return results[0]


def _next(member: _Member) -> _Told | _Done | _Failed:
    try:
        message: _Told | _Done | _Failed = member.connection.recv()
    except (EOFError, OSError):
        return member.died()
    return message


def _reason(failure: _Failed, others: Sequence[_Member]) -> BudwoodError:
    """Why the training failed: one process's failure makes the others lose their connection to it."""
    said = [failure]
    for member in others:
        while member.connection.poll():
            message = _next(member)
            if not isinstance(message, _Told):
                said += [message] if isinstance(message, _Failed) else []
                break
    meant = next((one.error for one in said if one.error is not None), None)
    return meant or BudwoodError(f"a process of the training failed: {said[0].trace}")


def join() -> None:
    """What a process that `spread` has started does; the pipe's number is its only argument."""
    machine.tune_allocator()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller too, and it ends this process
    connection = Connection(int(sys.argv[1]))
    errand: _Errand = connection.recv()
    threading.Thread(target=_end_with_the_caller, args=(connection,), daemon=True).start()
    torch.set_num_threads(errand.threads)
    try:
        team = Team.joined(errand.device, errand.place)
        tell: Tell = (lambda value: connection.send(_Told(value))) if team.leads else _say_nothing
        connection.send(_Done(errand.work(errand.task, team, tell)))
    except BudwoodError as error:
        connection.send(_Failed(error, str(error)))
    except Exception:
        connection.send(_Failed(None, traceback.format_exc()))
    # Not the interpreter's own end: it would wait for the other processes' last messages.
    with contextlib.suppress(Exception):
        torch.distributed.destroy_process_group()
    os._exit(0)


def _say_nothing(value: object) -> None:
    """What the others tell is what the leading process tells."""


def _end_with_the_caller(connection: Connection) -> None:
    """The caller says nothing more; when its end of the pipe closes, it is gone."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
