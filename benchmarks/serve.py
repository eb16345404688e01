"""The server under load against the bare runtime: the same model, the same pictures, the same cores, in one run.

The real server (`budwood serve`, a process of its own) answers requests of several files from clients that ask again at
once. The bare runtime, in another process, answers the same pictures, decoded and prepared before the clock starts, in
batches of 32, with its own threads or with one, what is faster: all that it does is the network. What a program could
reach that has to decode as well is measured besides (``all steps``: two threads decode a batch while the one before is
answered). Both processes stay, and take short turns, so that other work on the machine disturbs both alike.

    python benchmarks/serve.py BUNDLE_OR_ONNX PHOTOS [--runtime torch] [--clients 16] [--files 8] [--seconds 10]
        [--repeats 3] [--threads N] [--pictures 256]

Prints pictures a second and the server's share of them, with the spread over the repeats; the same in CPU time of the
process for a picture, which a busy machine disturbs less; 503 answers, and the server's memory. The clients run on the
same cores: their CPU time is printed, and it counts against the server. A `.onnx` file is served by onnxruntime; with
``--runtime onnx`` a bundle is exported first. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import serve_bare
from serve_bare import batches, pictures

BOUNDARY = "pictures"


def main() -> None:
    """Read the pictures, then let the two sides take turns."""
    options = read_options()
    with tempfile.TemporaryDirectory() as scratch:
        options.model = as_asked(options, Path(scratch))
        datas = pictures(options.photos, options.pictures)
        bodies = [form(some) for some in batches(datas, options.files) if len(some) == options.files]
        size = statistics.median(map(len, datas))
        print(
            f"{len(datas)} pictures, median {size / 1e3:.1f} kB; {options.clients} clients, {options.files} files each"
        )
        rows = []
        with child(options) as ask, server(options) as (port, process):
            for number in range(options.repeats):
                rows.append(ask("network") | load(port, process, bodies, options) | ask("steps"))
                print(f"{number + 1}: {line(rows[-1])}", flush=True)
    for name, ratio in RATIOS.items():
        print(f"{name}: {spread([ratio(row) for row in rows])}")


RATIOS: dict[str, Callable[[dict[str, float]], float]] = {
    "served / network alone": lambda row: row["served"] / row["network"],
    "served / all steps": lambda row: row["served"] / row["steps"],
    "CPU time of network alone / of served": lambda row: row["network_cpu_ms"] / row["served_cpu_ms"],
    "CPU time of all steps / of served": lambda row: row["steps_cpu_ms"] / row["served_cpu_ms"],
}


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--runtime", choices=("torch", "onnx"))
    for name, value in (("clients", 16), ("files", 8), ("repeats", 3), ("pictures", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def as_asked(options: argparse.Namespace, scratch: Path) -> str:
    """The model; a bundle for onnxruntime is exported."""
    if options.runtime != "onnx" or options.model.endswith(".onnx"):
        return options.model
    from budwood.exporting import export

    print(export(options.model, "onnx", scratch / "model.onnx"))
    return str(scratch / "model.onnx")


@contextmanager
def child(options: argparse.Namespace) -> Iterator[Callable[[str], dict[str, float]]]:
    """`serve_bare.py` in a process of its own, to be asked."""
    order = [sys.executable, serve_bare.__file__, options.model, str(options.photos)]
    order += [str(options.seconds), str(options.threads), str(options.pictures)]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdin is not None
        assert started.stdout is not None

        def answer() -> str:
            assert started.stdout is not None
            return started.stdout.readline() or sys.exit("the bare runtime has ended")

        def ask(name: str) -> dict[str, float]:
            assert started.stdin is not None
            started.stdin.write(f"{name}\n")
            started.stdin.flush()
            found: dict[str, float] = json.loads(answer())
            return found

        answer()
        yield ask
        started.stdin.close()


@contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """The real server: its port and its process; it is stopped at the end."""
    order = [sys.executable, "-m", "budwood", "serve", options.model, "--threads", str(options.threads)]
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        said = ""
        for text in started.stderr:
            said += text
            if "answering at" in text:
                break
        else:
            sys.exit(said)
        try:
            yield int(text.partition("127.0.0.1:")[2].partition("/")[0]), started.pid
        finally:
            started.terminate()


def load(port: int, process: int, bodies: Sequence[bytes], options: argparse.Namespace) -> dict[str, float]:
    """What is answered in so many seconds in the midst of a load: each client asks again when it has its answer."""
    counts, lock, stop = {"answered": 0, "refused": 0}, threading.Lock(), threading.Event()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        turn = number
        while not stop.is_set():
            connection.request("POST", "/predict", body=bodies[turn % len(bodies)], headers=HEADERS)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status not in (200, 503):
                raise RuntimeError(f"the server answered {answer.status}: {text[:200]!r}")
            with lock:
                counts["answered"] += text.count(b'"predicted"')
                counts["refused"] += answer.status == 503
            if answer.status == 503:
                time.sleep(0.05)
            turn += options.clients
        connection.close()

    def now() -> tuple[float, ...]:
        with lock:
            return time.perf_counter(), *counts.values(), cpu_seconds(process), time.process_time()

    with ThreadPoolExecutor(options.clients) as pool:
        running = [pool.submit(client, number) for number in range(options.clients)]
        while counts["answered"] < 2 * options.clients * options.files and not any(one.done() for one in running):
            time.sleep(0.05)  # until everybody has been answered, and asks at a moment of his own
        before = now()
        time.sleep(options.seconds)
        seconds, answered, refused, used, own = (b - a for a, b in zip(before, now(), strict=True))
        stop.set()
        for one in running:
            one.result()
    return {
        "served": answered / seconds,
        "refused": refused,
        "served_cpu_ms": 1e3 * used / answered,
        "clients_cpu": own / seconds,
        "memory": memory(process),
    }


HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(datas: Sequence[bytes]) -> bytes:
    """A form of several files, as the body of a request."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'.encode()
    return b"".join(head + data + b"\r\n" for data in datas) + f"--{BOUNDARY}--\r\n".encode()


def cpu_seconds(process: int) -> float:
    """What all threads of a process have used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """Resident MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith("VmRSS")) / 1024


def line(row: dict[str, float]) -> str:
    """One repeat in words."""
    return (
        f"network {row['network']:.1f}/s ({row['network_cpu_ms']:.1f} ms CPU), all steps {row['steps']:.1f}/s"
        f" ({row['steps_cpu_ms']:.1f}), served {row['served']:.1f}/s ({row['served_cpu_ms']:.1f}),"
        f" {row['refused']:.0f} x 503, clients {100 * row['clients_cpu']:.0f} % of a core,"
        f" server {row['memory']:.0f} MB,"
        f" load {os.getloadavg()[0]:.1f}"
    )


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
