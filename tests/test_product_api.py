"""Products and goldens over HTTP: what changes, what is refused, and who did it."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest
from daemon_fakes import picture, running_daemon

from adcopilot_edge.errors import ConfigError, JournalError
from adcopilot_edge.runtime.daemon.station import StationDaemon

NEW = picture("normal", seed=7)
NEW_ID = hashlib.sha256(NEW).hexdigest()[:16]


@pytest.fixture
def running(tmp_path):
    with running_daemon(tmp_path, images={"keep": "all"}) as running:
        yield running


@pytest.fixture
def http(running):
    return running.client


def add(http, image=NEW, product="cap"):
    return http.post(f"/v1/products/{product}/goldens", files={"image": image})


def goldens(http, product="cap"):
    return http.get(f"/v1/products/{product}/goldens").json()


def states(http):
    return {it["id"]: it["state"] for it in goldens(http)["goldens"]}


def actions(http):
    return [(it["who"], it["action"]) for it in http.get("/v1/audit").json()["entries"]]


def refused(answer, status, words):
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]


def test_products(http):
    cap, lid = http.get("/v1/products").json()["products"]
    assert (cap["name"], cap["revision"], cap["stations"]) == ("cap", 0, ["belt"])
    assert (lid["tasks"], lid["stations"], len(lid["goldens"])) == (["describe"], [], 1)
    assert http.get("/v1/products/cap").json() == cap
    refused(http.get("/v1/products/cup"), 404, "no product 'cup'; known: cap, lid")


def test_add_approve_roll_back(http, running):
    answer = add(http)
    assert (answer.status_code, answer.json()) == (201, {"id": NEW_ID, "state": "pending"})
    assert running.worker.taken == []
    approved = http.post(f"/v1/products/cap/goldens/{NEW_ID}/approve").json()
    assert (approved["revision"], approved["revisions"][1]["made_by"]) == (1, "local")
    (taken,) = running.worker.taken
    assert [path.read_bytes() for path in taken.products["cap"].goldens][1:] == [NEW]
    assert (taken.products["cap"].revision, taken.products["lid"].revision) == (1, 0)
    assert http.post("/v1/products/cap/goldens/rollback").json()["revision"] == 0
    assert len(running.worker.taken[-1].products["cap"].goldens) == 1
    assert actions(http)[:3] == [
        ("local", "goldens.rolled_back"),
        ("local", "golden.approved"),
        ("local", "golden.added"),
    ]
    refused(http.post("/v1/products/cap/goldens/rollback"), 409, "revision 0 is the first")


def test_the_image_of_a_golden_comes_back_as_it_was(http):
    add(http)
    answer = http.get(f"/v1/products/cap/goldens/{NEW_ID}/image")
    assert (answer.content, answer.headers["content-type"]) == (NEW, "image/png")
    refused(http.get(f"/v1/products/cap/goldens/{'0' * 16}/image"), 404, "no golden")
    assert http.get("/v1/products/cap/goldens/..%2F..%2Flock/image").status_code in (404, 422)


def test_a_pending_golden_is_removed(http, running):
    add(http)
    (path,) = running.daemon.folder.goldens.glob(f"cap/{NEW_ID}*")
    assert http.delete(f"/v1/products/cap/goldens/{NEW_ID}").status_code == 200
    assert NEW_ID not in states(http)
    assert not path.exists()
    assert actions(http)[0] == ("local", "golden.removed")
    (first,) = states(http)
    refused(http.delete(f"/v1/products/cap/goldens/{first}"), 409, "in use")


def test_added_twice_is_told_once_in_the_audit_trail(http):
    assert add(http).json() == add(http).json()
    assert [action for _, action in actions(http)].count("golden.added") == 1


def test_a_golden_from_the_kept_image_of_a_part(http):
    part = picture("anomaly", seed=3)
    number = http.post("/v1/inspect", files={"image": part}).json()["id"]
    answer = http.post("/v1/products/cap/goldens", json={"record": number})
    assert answer.status_code == 201, answer.text
    found = goldens(http)["goldens"][-1]
    assert (found["origin"], found["sha256"]) == (
        f"part {number}",
        hashlib.sha256(part).hexdigest(),
    )
    refused(
        http.post("/v1/products/lid/goldens", json={"record": number}), 422, "of the product cap"
    )
    refused(http.post("/v1/products/cap/goldens", json={"record": 99}), 422, "a part 99")


def test_a_part_whose_image_is_gone(http, running):
    number = http.post("/v1/inspect", files={"image": picture()}).json()["id"]
    for path in running.daemon.folder.images.glob("*/*"):
        path.unlink()
    answer = http.post("/v1/products/cap/goldens", json={"record": number})
    refused(answer, 422, "was not kept, or was removed since")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "empty"),
        (b"no picture at all", ""),
        (NEW[:100], ""),
        ("wide", "proportions differ"),
    ],
)
def test_a_picture_that_can_be_no_golden(http, image, words):
    if image == "wide":
        from io import BytesIO

        from PIL import Image

        stream = BytesIO()
        Image.new("RGB", (64, 32)).save(stream, "PNG")
        image = stream.getvalue()
    before = goldens(http)
    refused(add(http, image), 422, words)
    assert goldens(http) == before


@pytest.mark.parametrize(
    "request_of",
    [
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"json": {"record": 0}},
        {"json": {"record": 2**70}},
        {"json": {"camera": "top"}},
        {"json": []},
        {"content": b"x", "headers": {"content-type": "image/png"}},
        {"data": {"image": "text"}, "files": {"other": b"x"}},
    ],
)
def test_a_body_that_names_no_picture(http, request_of):
    answer = http.post("/v1/products/cap/goldens", **request_of)
    assert answer.status_code == 422, answer.text


def test_a_malformed_form(http):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = http.post("/v1/products/cap/goldens", content=b"--y\r\n", headers=headers)
    assert answer.status_code in (400, 422)


def test_what_the_worker_refuses_changes_nothing(http, running):
    add(http)
    before = goldens(http)
    running.worker.problem = "product cap: the region reaches beyond the picture"
    answer = http.post(f"/v1/products/cap/goldens/{NEW_ID}/approve")
    refused(answer, 422, "beyond the picture. Nothing was changed")
    assert goldens(http) == before
    assert actions(http)[0][1] == "golden.added"
    assert running.worker.setup.products["cap"].revision == 0


def test_a_worker_that_dies_starts_with_what_was_taken(http, running):
    add(http)
    http.post(f"/v1/products/cap/goldens/{NEW_ID}/approve")
    running.worker.die()
    http.post("/v1/inspect", files={"image": picture()})
    running.wait_until("ready")
    assert running.worker.starts == 2
    assert running.worker.setup.products["cap"].revision == 1


def test_a_shelf_that_can_not_be_written(http, running):
    before = goldens(http, "lid")
    folder = running.daemon.folder.goldens / "lid"
    folder.rename(folder.with_name("away"))
    folder.write_bytes(b"")
    refused(add(http, product="lid"), 503, "can't be written")
    assert goldens(http, "lid") == before


def test_a_change_that_the_journal_can_not_keep_is_taken_back(http, running, monkeypatch):
    add(http)

    def fail(*words, **details):
        raise JournalError("the disk is full")

    monkeypatch.setattr(running.daemon.products.shelf, "keep", fail)
    answer = http.post(f"/v1/products/cap/goldens/{NEW_ID}/approve")
    refused(answer, 503, "the disk is full")
    assert [it.products["cap"].revision for it in running.worker.taken] == [1, 0]


def test_goldens_outlive_the_daemon(tmp_path):
    with running_daemon(tmp_path) as running:
        add(running.client)
        running.client.post(f"/v1/products/cap/goldens/{NEW_ID}/approve")
    with running_daemon(tmp_path) as running:
        assert goldens(running.client)["revision"] == 1
        assert len(running.worker.setup.products["cap"].goldens) == 2


def test_not_before_the_daemon_is_ready(tmp_path):
    with running_daemon(tmp_path, is_ready_at_once=False) as running:
        answer = add(running.client)
        refused(answer, 503, "ready in about")
        assert "retry-after" in answer.headers


def test_the_product_of_a_station(tmp_path):
    with running_daemon(tmp_path) as running:
        http = running.client
        answer = http.post("/v1/stations/belt/product", json={"product": "lid"})
        assert answer.json() == {"station": "belt", "product": "lid"}
        assert http.post("/v1/inspect", files={"image": picture()}).json()["product"] == "lid"
        assert actions(http)[0] == ("local", "station.product")
        wrong = http.post("/v1/stations/belt/product", json={"product": "cup"})
        refused(wrong, 422, "no product 'cup'")
        wrong = http.post("/v1/stations/roof/product", json={"product": "cap"})
        refused(wrong, 404, "no station 'roof'")
        assert http.post("/v1/stations/belt/product", json={"prodct": "cap"}).status_code == 422
    with running_daemon(tmp_path) as running:
        assert running.daemon.product_of("belt") == "lid"


def test_a_product_without_goldens_is_not_chosen(tmp_path):
    golden = tmp_path / "golden.png"
    products = [{"name": "cap", "goldens": [golden]}, {"name": "new"}]
    with running_daemon(tmp_path, products=products) as running:
        answer = running.client.post("/v1/stations/belt/product", json={"product": "new"})
        refused(answer, 409, "no golden in use; add one and approve it first")


def test_pages_of_the_audit_trail(http, running):
    for seed in range(5):
        add(http, picture(seed=seed))
    whole = http.get("/v1/audit").json()
    assert whole["next"] is None
    first = http.get("/v1/audit", params={"limit": 4}).json()
    rest = http.get("/v1/audit", params={"limit": 4, "before": first["next"]}).json()
    assert [*first["entries"], *rest["entries"]] == whole["entries"]
    assert http.get("/v1/audit", params={"limit": 0}).status_code == 422
    assert http.get("/v1/audit", params={"before": 2**64}).status_code == 422


def test_the_audit_trail_has_the_change_in_the_same_commit(http, running):
    add(http)
    with sqlite3.connect(running.daemon.folder.journal) as connection:
        (found,) = connection.execute("SELECT value FROM facts WHERE name = 'goldens:cap'")
        (count,) = connection.execute("SELECT count(*) FROM audit WHERE action = 'golden.added'")
    assert NEW_ID in found[0]
    assert count == (1,)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "can't be read"), (b"no picture", "can't be used")]
)
def test_a_station_file_with_a_bad_golden_starts_no_daemon(tmp_path, content, words):
    from daemon_fakes import FakeWorker, station_file

    golden = tmp_path / "bad.png"
    if content is not None:
        golden.write_bytes(content)
    settings = station_file(tmp_path, products=[{"name": "cap", "goldens": [golden]}])
    with pytest.raises(ConfigError, match=f"product cap: its golden .*bad.png {words}"):
        StationDaemon(settings, FakeWorker)
    with running_daemon(tmp_path):
        pass  # the state folder is free again
