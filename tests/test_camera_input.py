"""A camera: triggers, frames that are new enough, and what happens when it is gone."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from daemon_fakes import picture
from input_cases import FakeCamera, daemon_with, records_of, wait_for
from PIL import Image

from adcopilot_edge.errors import NotReadyError
from adcopilot_edge.runtime.daemon.inputs.capture import lossless, without_secrets
from adcopilot_edge.runtime.daemon.inputs.frame_reader import FrameReader
from adcopilot_edge.runtime.images import open_image


@pytest.fixture
def camera():
    return FakeCamera()


def _table(**keys):
    return {"kind": "camera", "name": "top", "station": "belt", "device": 0, **keys}


def _post(running, **form):
    return running.client.post("/v1/cameras/top/trigger", data=form)


def _in_background(call):
    """Call it in a thread; its result comes into the list."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    return thread, found


def test_a_trigger_makes_the_next_frame_a_part_and_no_earlier_one(tmp_path, camera):
    with daemon_with(tmp_path, _table(max_wait_ms=20_000), camera=camera) as (running, inputs):
        camera.expose(3)
        wait_for(lambda: inputs.to_json()[0]["frames"] == 3)
        thread, found = _in_background(lambda: _post(running, reference="A-1", product="lid"))
        wait_for(lambda: inputs.to_json()[0]["triggers"] == 1)
        # The camera waits for frame 4 since before the trigger, so that one is too old as well.
        camera.expose(2)
        thread.join(20.0)
        record = found[0].json()
        image = running.worker.jobs[0].image
    assert (record["reference"], record["product"]) == ("A-1", "lid")
    assert (record["source"], record["reason"]) == ("camera:top", None)
    assert open_image(image).tolist() == np.full((8, 8, 3), 5).tolist()
    assert image.startswith(b"BM")


def test_latency_shifts_which_frame_is_new_enough(camera):
    reader = FrameReader(camera, lambda problem: None)
    reader.start()
    camera.expose()
    wait_for(lambda: reader.frames == 1)
    now = time.monotonic()
    camera.expose(2)
    wait_for(lambda: reader.frames == 3)
    assert reader.frame_after(now + 60, now + 0.05) is None
    assert reader.frame_after(now, now + 20)[0, 0, 0] == 3
    reader.stop()
    camera.gone = True
    assert reader.join(20.0)
    assert camera.releases == 1


def test_without_a_frame_in_time_the_part_is_uncertain(tmp_path, camera):
    with daemon_with(tmp_path, _table(max_wait_ms=30), camera=camera) as (running, _):
        reply = _post(running, reference="A-1")
        record = reply.json()
        assert reply.status_code == 200
        assert (record["verdict"], record["reason"]) == ("uncertain", "camera_gone")
        assert record["reject"] is True
        assert "the camera top (device 0): no frame within 30 ms" in record["detail"]
        assert (record["image_sha256"], record["image_file"]) == ("", None)
        assert records_of(running) == [record]
        assert running.worker.jobs == []


def _add_golden(running, camera="top"):
    return running.client.post("/v1/products/lid/goldens", json={"camera": camera})


def test_a_frame_becomes_a_golden_without_a_part(tmp_path, camera):
    with daemon_with(tmp_path, _table(max_wait_ms=20_000), camera=camera) as (running, _):
        thread, found = _in_background(lambda: _add_golden(running))
        while thread.is_alive():
            camera.expose()
            time.sleep(0.01)
        assert (found[0].status_code, found[0].json()["state"]) == (201, "pending")
        shelf = running.client.get("/v1/products/lid/goldens").json()
        golden = next(item for item in shelf["goldens"] if item["id"] == found[0].json()["id"])
        assert golden["origin"] == "camera:top"
        kept = running.client.get(f"/v1/products/lid/goldens/{golden['id']}/image").content
        assert open_image(kept).shape == (8, 8, 3)
        assert (records_of(running), running.worker.jobs) == ([], [])
        assert _add_golden(running, "side").status_code == 422


def test_without_a_frame_there_is_no_golden(tmp_path, camera):
    with daemon_with(tmp_path, _table(max_wait_ms=30), camera=camera) as (running, _):
        before = running.client.get("/v1/products/lid/goldens").json()
        reply = _add_golden(running)
        assert reply.status_code == 503
        assert "the camera top (device 0): no frame within 30 ms" in reply.text
        assert running.client.get("/v1/products/lid/goldens").json() == before


def test_a_camera_that_goes_is_an_alarm_and_comes_back(tmp_path, camera):
    with daemon_with(tmp_path, _table(max_wait_ms=20_000), camera=camera) as (running, inputs):
        camera.expose()
        wait_for(lambda: inputs.to_json()[0]["frames"] == 1)
        camera.gone = True
        wait_for(running.daemon.alarms.all)
        (alarm,) = running.daemon.alarms.all()
        assert (alarm.name, alarm.stops_line) == ("camera:top", False)
        record = _post(running).json()  # at once, and not after max_wait_ms
        assert record["reason"] == "camera_gone"
        assert inputs.to_json()[0]["is_well"] is False
        camera.gone = False
        camera.is_streaming = True
        wait_for(lambda: not running.daemon.alarms.all())
        assert _post(running).json()["reason"] is None
        assert (camera.openings, camera.releases) == (2, 1)


def test_a_camera_that_is_not_there_at_the_start_does_not_stop_the_daemon(tmp_path, camera):
    camera.gone = True
    with daemon_with(tmp_path, _table(), camera=camera) as (running, _):
        wait_for(lambda: "unplugged" in str(running.daemon.alarms.all()))
        assert running.client.get("/readyz").status_code == 200
        camera.gone = False
        camera.is_streaming = True
        wait_for(lambda: not running.daemon.alarms.all())


def test_a_driver_that_raises_is_opened_again(camera):
    class Faulty(FakeCamera):
        def read(self):
            if self.openings == 1:
                raise RuntimeError("ioctl failed")
            return super().read()

    faulty, told = Faulty(), []
    reader = FrameReader(faulty, told.append, first_retry_s=0.01)
    reader.start()
    faulty.is_streaming = True
    wait_for(lambda: reader.frames)
    assert told == ["RuntimeError: ioctl failed", None]
    reader.stop()
    assert reader.join(20.0)
    assert faulty.releases == faulty.openings == 2


def test_silence_is_an_alarm(tmp_path, camera):
    with daemon_with(tmp_path, _table(silent_s=0.1), camera=camera) as (running, _):
        wait_for(lambda: running.daemon.alarms.all())
        (alarm,) = running.daemon.alarms.all()
        assert alarm.name == "camera:top"
        assert "no frame for 0.1 s" in alarm.message


def test_the_clock_triggers_and_a_full_queue_ends_the_part_with_a_reason(tmp_path, camera):
    table = _table(trigger="interval", interval_s=0.02, max_wait_ms=20_000)
    tables = {"daemon": {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 1}}
    camera.is_streaming = True
    with daemon_with(tmp_path, table, camera=camera, **tables) as (running, inputs):
        wait_for(lambda: len(records_of(running)) >= 3)
        running.worker.gate.clear()
        wait_for(lambda: "queue_full" in {item["reason"] for item in records_of(running)})
        running.worker.gate.set()
        state = inputs.to_json()[0]
        assert state["refused"] > 0
        assert _post(running).status_code == 422, "it is not triggered by HTTP"


def test_a_trigger_that_is_refused_is_told(tmp_path, camera):
    tables = {"daemon": {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 1}}
    camera.is_streaming = True
    with daemon_with(tmp_path, _table(), camera=camera, **tables) as (running, inputs):
        assert _post(running, product="moon").status_code == 422
        assert running.client.post("/v1/cameras/side/trigger").status_code == 422
        running.worker.gate.clear()
        tickets = [inputs.camera("top").trigger() for _ in range(2)]
        reply = _post(running)
        assert (reply.status_code, reply.json()["error"]["kind"]) == (429, "QueueFullError")
        running.worker.gate.set()
        assert [ticket.done.result(20.0).reason for ticket in tickets] == [None, None]
        inputs.stop()
        assert _post(running).status_code == 503
        with pytest.raises(NotReadyError, match="takes no parts now"):
            inputs.camera("top").trigger()


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), b"BM"),
        (np.arange(35, dtype=np.uint8).reshape(5, 7), b"BM"),
        (np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000, b"\x89PNG"),
    ],
)
def test_frames_become_files_without_loss(pixels, suffix):
    content = lossless(pixels)
    assert content.startswith(suffix)
    back = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(back[..., ::-1] if back.ndim == 3 else back, pixels)


def test_addresses_are_shown_without_secrets():
    assert without_secrets("rtsp://me:secret@cam/1") == "rtsp://***@cam/1"
    assert without_secrets("rtspsrc location=rtsp://me:pa@cam/1 ! x") == (
        "rtspsrc location=rtsp://***@cam/1 ! x"
    )


def test_opencv_reads_a_video_file(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    frame = cv2.imdecode(np.frombuffer(picture("anomaly"), np.uint8), cv2.IMREAD_COLOR)
    for _ in range(200):
        writer.write(cv2.resize(frame, (64, 48)))
    writer.release()
    with daemon_with(tmp_path, _table(device=path, max_wait_ms=20_000)) as (running, _):
        deadline = time.monotonic() + 20.0
        record = _post(running).json()
        while record["reason"] is not None and time.monotonic() < deadline:  # it began anew
            record = _post(running).json()
        assert record["verdict"] == "anomaly"
        assert open_image(running.worker.jobs[0].image).shape == (48, 64, 3)


def test_opencv_tells_what_it_cannot_open(tmp_path):
    pytest.importorskip("cv2")
    table = _table(device=tmp_path / "no-such-device", max_wait_ms=20_000)
    with daemon_with(tmp_path, table) as (running, _):
        record = _post(running).json()
        assert record["reason"] == "camera_gone"
        assert "no-such-device can't be opened" in record["detail"]
