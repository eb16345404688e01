"""``budwood serve`` as a process: an ONNX file without torch, a hidden token, a flat memory under whatever is sent."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from PIL import Image

from budwood.data.preprocess import Preprocess
from budwood.errors import UsageError

TOKEN = "a-token-of-the-environment"
MB = 2**20
# What a server of an ONNX file does not need; an import of one of them fails in its process.
UNWANTED = ("torch", "torchvision", "timm", "onnx", "sklearn", "scipy", "cv2", "matplotlib", "safetensors")
START = f"import sys; sys.modules.update(dict.fromkeys({UNWANTED})); from budwood.cli.main import main; main()"


@dataclass(frozen=True)
class Served:
    """A server's process, its port, and the bundle that its file was made of."""

    process: subprocess.Popen[str]
    port: int
    pair: Any
    said: str

    def memory(self, which: str = "VmRSS") -> float:
        """MB that are resident, or were at most (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.is_file():
            pytest.skip("memory is read from /proc")
        return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(which))) / 1024

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, path, body=body, headers={"authorization": f"Bearer {TOKEN}", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def served(make_pair: Callable[..., Any]) -> Iterator[Served]:
    pair = make_pair(Preprocess(size=32, store_side=64))
    order = [sys.executable, "-c", START, "serve", str(pair.file), "--threads", "1", "--queue", "64"]
    environment = {**os.environ, "BUDWOOD_TOKEN": TOKEN}
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            assert "answering at" in said, said + process.stderr.read()
            yield Served(process, int(said.partition("127.0.0.1:")[2].partition("/")[0]), pair, said)
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=30)[1]
    assert "Traceback" not in rest
    assert process.returncode in (0, -signal.SIGTERM)  # uvicorn ends by the signal when all is answered


def picture(seed: int, size: tuple[int, int] = (50, 40)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(out, "PNG")
    return out.getvalue()


def test_an_onnx_file_is_served_without_torch_and_says_what_it_cannot(served: Served, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1, (300, 170)))
    status, found = served.ask("POST", "/predict", picture(1, (300, 170)), **{"content-type": "image/png"})
    assert status == 200
    expected = served.pair.bundle.predict(tmp_path / "a.png").probs[0]
    np.testing.assert_allclose(list(found["answers"][0]["probabilities"].values()), expected, atol=1e-4)
    info = served.ask("GET", "/info")[1]
    assert (info["runtime"], info["why"]) == ("onnx", False)
    assert "--runtime torch" in info["why_not"]
    refused = served.ask("POST", "/why?label=betula", picture(1), **{"content-type": "image/png"})
    assert refused == (404, {"error": info["why_not"], "code": ""})


def test_a_token_of_the_environment_is_asked_for_and_not_printed(served: Served) -> None:
    assert TOKEN not in served.said
    assert served.ask("GET", "/info", authorization="")[0] == 403
    assert served.ask("GET", "/health", authorization="")[0] == 200


@pytest.mark.parametrize("size", [9 * MB, 300 * MB], ids=["9 MB", "300 MB"])
def test_a_chunked_body_that_is_too_large_is_refused_without_a_growth_of_memory(served: Served, size: int) -> None:
    served.ask("POST", "/predict", bytes(7 * MB), **{"content-type": "image/png"})  # what is allowed is read whole
    before = served.memory("VmHWM")
    answer = send_chunks(served.port, size)
    assert answer.startswith(b"HTTP/1.1 413")
    assert served.memory("VmHWM") - before < 24
    assert served.ask("GET", "/health")[1]["waiting"] == 0


def send_chunks(port: int, size: int) -> bytes:
    """Send so many bytes without having told their number; what is answered, as soon as it is."""
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(size // 0x10000):
                connection.sendall(chunk)
        except ConnectionError:
            pass  # it has stopped to listen; what it said is still to be read
        return connection.recv(4096)


async def ask_at_once(port: int, count: int) -> Counter[str]:
    """Status and Retry-After of so many requests, on connections that are all open before the first picture is sent."""
    body = picture(3)
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
    request = f"{head}Content-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 120)
        writer.close()
        lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
        return lines[0].split()[1] + (" later" if any(line.startswith("retry-after:") for line in lines) else "")

    return Counter(await asyncio.gather(*(one(*pair) for pair in opened)))


@pytest.mark.slow
def test_a_thousand_requests_at_once_are_answered_or_told_to_come_back_in_a_flat_memory(served: Served) -> None:
    asyncio.run(ask_at_once(served.port, 1000))
    before = served.memory()
    for _ in range(3):
        found = asyncio.run(ask_at_once(served.port, 1000))
        assert set(found) <= {"200", "503 later"}, found
        assert found["200"] >= 64
    assert served.memory() < 1.1 * before + 5
    assert served.ask("GET", "/health")[1] == {"status": "ok", "waiting": 0}


def test_an_onnx_file_is_not_for_torch(tmp_path: Path) -> None:
    import typer

    from budwood.cli import serve

    application = typer.Typer()
    application.command()(serve.run)
    with pytest.raises(UsageError, match="ONNX file, which torch does not carry out"):
        application([str(tmp_path / "m.onnx"), "--runtime", "torch"], standalone_mode=False)
    with pytest.raises(UsageError, match="budwood export RUN --to onnx"):
        application([str(tmp_path / "m.onnx")], standalone_mode=False)


def ask_as_described(served: Served, examples: int) -> Counter[str]:
    """What the server's own description allows, and what it does not; counts of the answers that came."""
    schemathesis = pytest.importorskip("schemathesis")
    checks = pytest.importorskip("schemathesis.checks")
    address, known = f"http://127.0.0.1:{served.port}", {"authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=known)
    found: Counter[str] = Counter()
    for described in schema.get_all_operations():
        operation = described.ok()
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:

            @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(headers=known)
                found[f"{case.operation.label} {answer.status_code}"] += 1
                case.validate_response(answer, checks=[checks.not_a_server_error])

            with suppress(Unsatisfiable):  # where nothing is asked for, nothing can be asked wrongly
                ask()
    return found


def test_what_the_description_allows_is_never_a_server_error(served: Served) -> None:
    found = ask_as_described(served, examples=3)
    assert {name.rpartition(" ")[0] for name in found} == {"GET /health", "GET /info", "POST /predict", "POST /why"}


@pytest.mark.slow
def test_thousands_of_requests_after_the_description_are_never_a_server_error(served: Served) -> None:
    found = ask_as_described(served, examples=500)
    assert sum(found.values()) > 2000, found
