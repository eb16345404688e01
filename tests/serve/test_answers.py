"""The server of a bundle: its answers are the bundle's own, and nothing that is sent breaks it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from budwood.export.bundle import Bundle
from budwood.serve.answer_app import answer_app
from budwood.serve.answering import Answerer
from budwood.serve.guard import Rules
from budwood.serve.limits import Limits
from budwood.serve.torch_engine import TorchEngine

HERE = "http://127.0.0.1:8000"


def client_of(bundle: Bundle, rules: Rules | None = None, **limits: Any) -> TestClient:
    app = answer_app(Answerer(TorchEngine(bundle, lanes=2), limits=Limits(**limits)), title="t<b>", rules=rules)
    return TestClient(app, base_url=HERE)


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[TestClient]:
    with client_of(bundle) as opened:
        yield opened


def picture(seed: int, size: tuple[int, int] = (50, 40), kind: str = "PNG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(out, kind)
    return out.getvalue()


def test_answers_are_the_bundles_own(client: TestClient, bundle: Bundle, tmp_path: Path) -> None:
    datas = [picture(i, (30 + 3 * i, 90 - i)) for i in range(20)]
    files = [("files", (f"{i}.png", data)) for i, data in enumerate(datas)]
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path, data in zip(paths, datas, strict=True):
        path.write_bytes(data)
    rows = client.post("/predict", files=files).json()["answers"]
    expected = bundle.predict(paths)
    assert [row["file"] for row in rows] == [path.name for path in paths]
    found = [[row["probabilities"][name] for name in bundle.classes] for row in rows]
    np.testing.assert_allclose(found, expected.probs, atol=1e-4)
    alone = client.post("/predict", content=datas[3], headers={"content-type": "image/png"}).json()["answers"][0]
    np.testing.assert_allclose(list(alone["probabilities"].values()), expected.probs[3], atol=1e-4)
    for row, decision in zip(rows, bundle.decide(expected.probs, risk=0.05), strict=True):
        assert (row["answer"], row["certain"]) == (decision.label, decision.certain)
        assert row["candidates"] == list(decision.candidates)


def test_a_bad_file_has_its_reason_and_the_others_are_answered(client: TestClient) -> None:
    mixed = client.post("/predict", files=[("a", ("bad.jpg", b"text")), ("b", ("good.png", picture(1)))])
    assert mixed.status_code == 200
    assert [row.get("error", "") for row in mixed.json()["answers"]] == ["not a picture", ""]
    assert client.post("/predict", files={"files": ("bad.jpg", b"text")}).status_code == 422


def test_health_info_and_the_description_say_what_there_is(client: TestClient, bundle: Bundle) -> None:
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    info = client.get("/info").json()
    assert info["classes"] == list(bundle.classes)
    assert info["threshold"] is not None
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/health", "/info", "/predict", "/why"}
    assert "multipart/form-data" in described["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_a_map_is_drawn_on_request(client: TestClient) -> None:
    answer = client.post("/why", params={"label": "betula"}, files={"files": picture(2)})
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).format == "JPEG"
    assert client.post("/why", params={"label": "none"}, files={"files": picture(2)}).status_code == 404
    assert client.post("/why", params={"label": "betula"}, files={"files": b"text"}).status_code == 422


def test_what_a_browser_sends_must_come_from_the_own_page(client: TestClient) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert client.post("/predict", files={"files": picture(0)}, headers=headers).status_code == 403
    assert client.post("/predict", files={"files": picture(0)}, headers={"origin": HERE}).status_code == 200


def test_a_token_is_asked_for_but_for_the_health(bundle: Bundle) -> None:
    rules = Rules(token="secret-token", programs=True, open_paths=frozenset({"/health"}))
    with client_of(bundle, rules) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/info").status_code == 403
        assert client.post("/predict", files={"files": picture(0)}).status_code == 403
        for headers in ({"authorization": "Bearer secret-token"}, {"x-budwood-token": "secret-token"}):
            assert client.get("/info", headers=headers).status_code == 200


def test_more_than_is_allowed_is_refused_before_it_is_parsed(bundle: Bundle) -> None:
    with client_of(bundle, max_body=20_000, max_files=3, max_waiting=2, max_pixels=5000) as client:
        kind = {"content-type": "image/png"}
        assert client.post("/predict", content=b"x" * 20_001, headers=kind).status_code == 413
        chunks = (b"x" * 1000 for _ in range(100))
        assert client.post("/predict", content=chunks, headers=kind).status_code == 413
        four = [("files", ("a.png", picture(0))) for _ in range(4)]
        assert client.post("/predict", files=four).status_code == 400
        full = client.post("/predict", files=four[:3])
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert client.post("/predict", content=picture(0, (100, 100)), headers=kind).status_code == 422
        assert client.get("/health").json()["waiting"] == 0


KINDS = st.sampled_from(
    [
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "image/png",
        "application/octet-stream",
        "text/plain",
        "",
    ]
)
PARTS = st.sampled_from(
    [
        b"--x\r\n",
        b"--x--\r\n",
        b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n',
        b"Content-Disposition: form-data; name=\"\xff\xfe\"; filename*=utf-8''%zz\r\n",
        b"Content-Disposition: form-data\r\n",
        b"\r\n",
        picture(4),
        picture(5, kind="JPEG")[:300],
        picture(6, kind="GIF"),
        b"\x89PNG\r\n\x1a\n" + bytes(60),
    ]
)
BODIES = st.lists(st.one_of(PARTS, st.binary(max_size=40)), max_size=8).map(b"".join)


def send_hostile(client: TestClient, path: str, kind: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code < 500, (kind, body, answer.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/predict", "/why?label=betula", "/why"]), kind=KINDS, body=BODIES)
def test_hostile_uploads_are_never_a_server_error(client: TestClient, path: str, kind: str, body: bytes) -> None:
    send_hostile(client, path, kind, body)


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/predict", "/why?label=betula", "/why"]), kind=KINDS, body=BODIES)
def test_600_hostile_uploads_are_never_a_server_error(client: TestClient, path: str, kind: str, body: bytes) -> None:
    send_hostile(client, path, kind, body)
