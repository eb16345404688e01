"""The API of the review and who may use it, through Starlette's test client."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from budwood.data.records import Catalog, Finding
from budwood.data.store import PictureStore
from budwood.errors import OutputError
from budwood.serve.guard import MAX_BODY, Guard, Rules, is_loopback
from budwood.serve.review import review_app
from budwood.serve.review_state import ReviewState, finding_id
from budwood.serve.shelf import PictureShelf

Make = Callable[..., ReviewState]
HERE = "http://127.0.0.1:8000"


@pytest.fixture
def state(make_state: Make) -> ReviewState:
    return make_state()


@pytest.fixture
def open_client(shelf: PictureShelf) -> Iterator[Callable[..., TestClient]]:
    """Clients of a review under these rules."""
    opened: list[TestClient] = []

    def make(state: ReviewState, rules: Rules | None = None, *, base: str = HERE) -> TestClient:
        client = TestClient(review_app(state, shelf, title="photos", rules=rules), base_url=base)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(state: ReviewState, open_client: Callable[..., TestClient]) -> TestClient:
    return open_client(state)


def proof(client: TestClient) -> dict[str, str]:
    """The headers that the page itself sends with a decision."""
    return {"x-budwood-csrf": client.get("/api/session").json()["csrf"], "origin": str(client.base_url)}


def wish(state: ReviewState, number: int = 0, action: str = "exclude") -> dict[str, Any]:
    path = state.by_check["label_error"][number].paths[0]
    return {
        "wishes": [{"action": action, "path": path, "digest": state.records[path].pixel_digest}],
        "check": "label_error",
    }


def test_the_page_and_all_that_it_loads_come_from_here(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "photos – Budwood review" in page.text
    for name in ("look.css", "review.css", "review.js", "cards.js", "dialogs.js", "dom.js", "link.js", "icon.svg"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert "https:" not in answer.text
        assert "http:" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in answer.text


@pytest.mark.parametrize("path", ["/", "/static/review.js", "/api/session", "/api/findings?check=nothing", "/thumb/x"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"]


def test_a_decision_is_saved_and_answered_with_the_new_standing(client: TestClient, state: ReviewState) -> None:
    answer = client.post("/api/decide", json=wish(state), headers=proof(client)).json()
    path = state.by_check["label_error"][0].paths[0]
    assert answer["changed"] == {path: {"action": "exclude", "label": ""}}
    assert answer["open"][finding_id(state.by_check["label_error"][0])] is False
    assert answer["steps"] == 1
    assert next(c for c in answer["checks"] if c["name"] == "label_error")["left"] == 9
    assert path in state.journal.decisions()
    undone = client.post("/api/undo", json={"expect": 1}, headers=proof(client)).json()
    assert undone["changed"] == {path: None}
    assert client.post("/api/undo", json={"expect": 0}, headers=proof(client)).status_code == 409


def test_the_ledger_is_written_when_the_server_starts_and_when_it_ends(make_state: Make, shelf: PictureShelf) -> None:
    state = make_state()
    with TestClient(review_app(state, shelf, title="photos", ledger_delay=60), base_url=HERE) as client:
        assert state.ledger.is_file()
        client.post("/api/decide", json=wish(state), headers=proof(client))
        assert "excluded in review" not in state.ledger.read_text()
    assert "excluded in review" in state.ledger.read_text()


def test_pictures_are_jpegs_that_are_fetched_once(client: TestClient, state: ReviewState) -> None:
    digest = state.catalog.records[1].pixel_digest
    for place, side in (("thumb", 24), ("picture", 24)):
        answer = client.get(f"/{place}/{digest}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (side, side)
        assert "immutable" in answer.headers["cache-control"]
        again = client.get(f"/{place}/{digest}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_picture_larger_than_the_store_is_decoded_from_its_file(tmp_path: Any) -> None:
    from budwood.data.scan import scan

    for name in "ab":
        (tmp_path / "big" / name).mkdir(parents=True)
        Image.effect_mandelbrot((700, 500), (-2, -1, 1, 1), 20 if name == "a" else 30).convert("RGB").save(
            tmp_path / "big" / name / "x.png"
        )
    store = PictureStore(tmp_path / "store", side=64)
    catalog: Catalog = scan(tmp_path / "big", store=store)
    shelf = PictureShelf(catalog, store)
    digest = catalog.records[0].pixel_digest
    assert Image.open(io.BytesIO(shelf.picture(digest))).size == (700, 500)
    assert max(Image.open(io.BytesIO(shelf.thumb(digest))).size) <= 256


@pytest.mark.parametrize(
    "path",
    [
        "/thumb/..%2f..%2fetc%2fpasswd",
        "/thumb/../../../../etc/passwd",
        "/thumb/" + "0" * 64,
        "/thumb/" + "a" * 5000,
        "/picture/%00",
        "/static/..%2freview.py",
        "/static/../review.py",
        "/static/review.py",
        "/static/%2e%2e/review.py",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_address_reaches_a_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:9000", 200),  # forwarded to another port
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.168.1.9:8000", 403),
        ("127.0.0.1:8000@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_a_server_for_this_computer_answers_to_its_own_names_only(client: TestClient, host: str, status: int) -> None:
    assert client.get("/", headers={"host": host}).status_code == status


def test_a_decision_needs_the_pages_own_origin_and_its_csrf_token(client: TestClient, state: ReviewState) -> None:
    good = proof(client)
    for headers in (
        {},
        {"origin": HERE},
        {"x-budwood-csrf": good["x-budwood-csrf"]},
        {**good, "x-budwood-csrf": "0" * 43},
        {**good, "x-budwood-csrf": "ä"},
        {**good, "origin": "http://evil.example"},
        {**good, "origin": "null"},
        {**good, "origin": "http://127.0.0.1:8001"},
        {**good, "sec-fetch-site": "cross-site"},
        {**good, "sec-fetch-site": "same-site"},
    ):
        encoded = {name: value.encode() for name, value in headers.items()}
        assert client.post("/api/decide", json=wish(state), headers=encoded).status_code == 403, headers
    assert not state.journal.file.exists()
    assert client.post("/api/decide", json=wish(state), headers=good).status_code == 200
    fetched = {"x-budwood-csrf": good["x-budwood-csrf"], "sec-fetch-site": "same-origin"}
    assert client.post("/api/decide", json=wish(state, 1), headers=fetched).status_code == 200


def test_other_pages_can_follow_a_link_hither_but_load_nothing(client: TestClient, state: ReviewState) -> None:
    thumb = f"/thumb/{state.catalog.records[1].pixel_digest}"
    assert client.get(thumb, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=visit).status_code == 200
    assert client.get("/", headers={**visit, "sec-fetch-dest": "iframe"}).status_code == 403


def test_only_get_and_post_are_answered(client: TestClient) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "/api/decide").status_code == 405
    assert client.get("/api/decide").status_code in (404, 405)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: TestClient, state: ReviewState) -> None:
    headers = proof(client)
    assert client.post("/api/decide", content=b"[" * (MAX_BODY + 1), headers=headers).status_code == 413
    assert client.post("/api/decide", content=b"{}", headers={**headers, "content-length": "-5"}).status_code == 413
    served = 0

    def pieces() -> Iterator[bytes]:
        nonlocal served
        for _ in range(200):
            served += 1
            yield b" " * 100_000

    assert client.post("/api/decide", content=pieces(), headers=headers).status_code == 413
    assert not state.journal.file.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"wishes": []}',
        b'{"wishes": [{"action": "delete", "path": "x"}]}',
        b'{"wishes": [{"action": "keep", "path": "x", "more": 1}]}',
        b'{"wishes": [{"action": "keep", "path": "\\ud800"}]}',
        b'{"wishes": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=["empty", "no JSON", "a list", "no wishes", "unknown action", "unknown key", "half a character", "deep"],
)
def test_what_is_no_decision_is_refused(client: TestClient, state: ReviewState, body: bytes) -> None:
    headers = {**proof(client), "content-type": "application/json"}
    answer = client.post("/api/decide", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert not state.journal.file.exists()


def test_others_need_the_token_and_get_it_once_into_a_cookie(
    state: ReviewState, open_client: Callable[..., TestClient]
) -> None:
    rules = Rules(host="0.0.0.0", token="sesame-open", names=frozenset({"box"}))
    client = open_client(state, rules, base="http://192.168.1.9:8000")
    for path in (
        "/",
        "/api/session",
        "/static/review.js",
        "/thumb/x",
        "/?token=wrong",
        "/api/session?token=sesame-open",
    ):
        assert client.get(path).status_code == 403, path
    assert client.get("/", headers={"cookie": "budwood-8000=wrong"}).status_code == 403
    assert client.get("/", headers={"x-budwood-token": "sesame-ope"}).status_code == 403
    assert client.get("/api/session", headers={"x-budwood-token": "sesame-open"}).status_code == 200
    entered = client.get("/?token=sesame-open", follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "samesite=lax" in entered.headers["set-cookie"].lower()
    assert client.get("/").status_code == 200
    assert client.post("/api/decide", json=wish(state), headers=proof(client)).status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"host": "box:8000"}).status_code == 200


def test_a_server_that_others_can_reach_cannot_be_made_without_a_token() -> None:
    with pytest.raises(ValueError, match="token"):
        Rules(host="0.0.0.0")
    assert is_loopback("127.0.0.9")
    assert not is_loopback("0.0.0.0")


def test_a_websocket_is_closed() -> None:
    import asyncio

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def unused(*_: Any) -> None:
        raise AssertionError

    asyncio.run(Guard(unused, rules=Rules())({"type": "websocket"}, unused, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_full_disk_is_answered_as_not_saved(
    client: TestClient, state: ReviewState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("cannot write decisions.jsonl (No space left on device)")

    monkeypatch.setattr(state.journal, "record", full)
    answer = client.post("/api/decide", json=wish(state), headers=proof(client))
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]


def test_hostile_names_are_data_in_ascii_json(make_state: Make, open_client: Callable[..., TestClient]) -> None:
    nasty = 'x"><img src=x onerror=alert(1)>\u202e\ud800'
    state = make_state((Finding(check=nasty, severity="info", paths=("acer/broken.jpg",), evidence=nasty),))
    answer = open_client(state).get("/api/session")
    assert answer.content.isascii()
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content)["checks"][0]["name"] == nasty
