"""``/v1/records``, reviews, their export, and statistics, over a journal that the test fills."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from line_records import SIZE, add_part, defect_map, line_daemon, picture
from PIL import Image

from adcopilot_edge.calibration.pair_list import read_pair_files
from adcopilot_edge.runtime.daemon.web.app import create_app


@pytest.fixture
def daemon(tmp_path):
    with line_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def client(daemon):
    return TestClient(create_app(daemon))


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["records"]]


def test_pages_lead_from_the_newest_record_to_the_oldest(daemon, client):
    made = [add_part(daemon).id for _ in range(7)]
    seen, before = [], None
    while True:
        query = {"limit": 3} | ({} if before is None else {"before": before})
        page = client.get("/v1/records", params=query).json()
        seen += [record["id"] for record in page["records"]]
        if (before := page["next_before"]) is None:
            break
        add_part(daemon)  # what comes in meanwhile does not move the pages
    assert seen == made[::-1]


def test_filter(daemon, client):
    first = add_part(daemon, "anomaly", reference="A-001", received_at=1000.0).id
    second = add_part(daemon, product="cap", reference="A-002", received_at=2000.0).id
    third = add_part(
        daemon, "uncertain", reason="takt_overrun", reference="B-1", received_at=3000.0
    ).id
    for query, expected in (
        ("verdict=anomaly", [first]),
        ("product=cap", [second]),
        ("station=belt", [third, second, first]),
        ("station=elsewhere", []),
        ("reason=takt_overrun", [third]),
        ("reference=A-", [second, first]),
        ("reference=A-002", [second]),
        ("since=1970-01-01T00:30:00Z", [third, second]),
        ("until=1970-01-01T00:30:00Z", [first]),
        ("since=1970-01-01T01:30:00%2B01:00&verdict=normal", [second]),
    ):
        assert ids(client.get(f"/v1/records?{query}")) == expected, query


@pytest.mark.parametrize(
    "query", ["verdict=fine", "limit=0", "limit=201", "before=-1", "since=soon", "before=9" * 30]
)
def test_bad_query_is_told(client, query):
    assert client.get(f"/v1/records?{query}").status_code == 422


def test_quotes_in_a_filter_are_only_text(daemon, client):
    add_part(daemon, reference="x")
    assert ids(client.get("/v1/records", params={"reference": "' OR 1=1 --"})) == []


def test_one_record_with_what_there_is_to_see(daemon, client):
    kept = add_part(daemon, "anomaly", anomaly_map=defect_map())
    passed = add_part(daemon)
    told = client.get(f"/v1/records/{kept.id}").json()
    assert told["verdict"] == "anomaly"
    assert (told["has_image"], told["has_map"], told["review"]) == (True, True, None)
    told = client.get(f"/v1/records/{passed.id}").json()
    assert (told["has_image"], told["has_map"]) == (True, False)  # in memory, for now
    assert client.get("/v1/records/99").status_code == 404
    assert client.get("/v1/records/0").status_code == 422


def test_a_part_in_hand_is_no_record(daemon, client):
    number = daemon.journal.next_id()
    part = add_part(daemon)
    assert part.id == number + 1
    assert client.get(f"/v1/records/{number}").status_code == 404


def test_pictures(daemon, client):
    record = add_part(daemon, "anomaly", anomaly_map=defect_map())
    image = client.get(f"/v1/records/{record.id}/image")
    assert image.content == picture(is_bad=True)
    assert image.headers["content-type"] == "image/png"
    assert image.headers["x-content-type-options"] == "nosniff"
    golden = client.get(f"/v1/records/{record.id}/golden")
    assert golden.content == picture()
    heat = Image.open(io.BytesIO(client.get(f"/v1/records/{record.id}/map.png").content))
    assert heat.mode == "RGBA"
    assert heat.size == SIZE
    alpha = np.asarray(heat)[..., 3]
    assert alpha[90, 200] > 180  # in the box
    assert alpha[20, 20] < 80


def test_map_of_a_region_lies_where_the_region_is(tmp_path):
    products = [{"name": "lid", "goldens": [tmp_path / "golden.png"], "roi": [80, 60, 240, 180]}]
    with line_daemon(tmp_path, products=products) as daemon:
        record = add_part(daemon, "anomaly", anomaly_map=np.ones((6, 8), np.float32))
        answer = TestClient(create_app(daemon)).get(f"/v1/records/{record.id}/map.png")
    alpha = np.asarray(Image.open(io.BytesIO(answer.content)))[..., 3]
    assert alpha[60:180, 80:240].min() > 200
    assert alpha.sum() == alpha[60:180, 80:240].sum()


def test_a_format_that_browsers_do_not_show_becomes_png(daemon, client):
    tiff = io.BytesIO()
    Image.open(io.BytesIO(picture())).save(tiff, format="TIFF")
    record = add_part(daemon, "anomaly", image=tiff.getvalue())
    answer = client.get(f"/v1/records/{record.id}/image")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == SIZE


def test_what_was_no_image_is_told(daemon, client):
    record = add_part(daemon, "uncertain", image=b"<svg onload=alert(1)>")
    answer = client.get(f"/v1/records/{record.id}/image")
    assert answer.status_code == 422
    assert answer.json()["error"]["kind"] == "ImageDecodeError"


def test_pictures_that_are_gone(daemon, client):
    record = add_part(daemon, "normal", listen=False, golden_sha256="0" * 16)
    for name in ("image", "golden", "map.png"):
        assert client.get(f"/v1/records/{record.id}/{name}").status_code == 404, name


def test_golden_where_nothing_was_inspected_is_the_products(daemon, client):
    record = add_part(daemon, "uncertain", golden_sha256=None)
    assert client.get(f"/v1/records/{record.id}/golden").content == picture()


def test_pruned_image_goes_with_its_map(daemon, client):
    record = add_part(daemon, "anomaly", anomaly_map=defect_map(), listen=False)
    daemon.images.settings = daemon.images.settings.model_copy(update={"max_age_days": 1e-9})
    assert daemon.images.prune() == [record.image_file]
    assert not [path for path in daemon.images.folder.rglob("*") if path.is_file()]
    assert client.get(f"/v1/records/{record.id}").json()["has_image"] is False


def test_last_review_counts_and_is_audited(daemon, client):
    record = add_part(daemon, "anomaly")
    url = f"/v1/records/{record.id}/review"
    assert client.post(url, json={"truth": "bad"}).json()["truth"] == "bad"
    assert client.post(url, json={"truth": "good"}).status_code == 200
    assert client.get(f"/v1/records/{record.id}").json()["review"]["truth"] == "good"
    assert ids(client.get("/v1/records?truth=good")) == [record.id]
    assert ids(client.get("/v1/records?truth=bad")) == []
    assert len(daemon.journal.read("SELECT * FROM audit WHERE action = 'review'")) == 2


@pytest.mark.parametrize("body", [{}, {"truth": "maybe"}, {"truth": "good", "why": 1}, []])
def test_bad_review_is_refused(daemon, client, body):
    record = add_part(daemon)
    assert client.post(f"/v1/records/{record.id}/review", json=body).status_code == 422
    assert client.post("/v1/records/77/review", json={"truth": "good"}).status_code == 404


def test_review_keeps_the_image_of_a_missed_defect(daemon, client):
    record = add_part(daemon, "normal")
    assert record.image_file is None
    client.post(f"/v1/records/{record.id}/review", json={"truth": "bad"})
    told = client.get(f"/v1/records/{record.id}").json()
    assert (daemon.images.folder / told["image_file"]).read_bytes() == picture()


def test_export_is_a_list_that_curate_reads(daemon, client, tmp_path):
    escape = add_part(daemon, "normal", image=picture(1))
    overkill = add_part(daemon, "anomaly", image=picture(2), product="cap")
    gone = add_part(daemon, "normal", listen=False)
    add_part(daemon, "anomaly")  # nobody said anything of it
    for record, truth in ((escape, "bad"), (overkill, "good"), (gone, "good")):
        client.post(f"/v1/records/{record.id}/review", json={"truth": truth})
    answer = client.get("/v1/reviews/export")
    assert answer.headers["x-pairs"] == "2"
    assert answer.headers["x-left-out"] == "1"
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path / "pairs")
    pairs = {pair.category: pair for pair in read_pair_files(tmp_path / "pairs").pairs}
    assert pairs["lid"].is_anomaly
    assert pairs["lid"].boxes is None
    assert pairs["lid"].test.read_bytes() == picture(1)
    assert pairs["lid"].golden.read_bytes() == picture()
    assert not pairs["cap"].is_anomaly


def test_export_of_nothing_says_so(client):
    assert client.get("/v1/reviews/export").status_code == 404


def test_statistics(daemon, client):
    for _ in range(3):
        add_part(daemon)
    bad = add_part(daemon, "anomaly")
    add_part(daemon, "uncertain", product="cap")
    client.post(f"/v1/records/{bad.id}/review", json={"truth": "good"})
    told = client.get("/v1/statistics").json()
    assert sum(hour["parts"] for hour in told["hours"]) == 5
    assert told["by_product"] == {
        "cap": {"uncertain": 1},
        "lid": {"anomaly": 1, "normal": 3},
    }
    assert told["reviews"] == {"confirmed": 0, "escapes": 0, "overkill": 1}
    one = client.get("/v1/statistics?hours=1&product=lid").json()
    assert one["hours"][-1]["yield"] == pytest.approx(0.75)
    assert one["hours"][-1]["mean_score"] == pytest.approx(0.3)
    assert client.get("/v1/statistics?hours=0").status_code == 422
