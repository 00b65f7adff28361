"""The page in a browser without a window: what a person at the line sees and does."""

from __future__ import annotations

import re
import threading
import time

import pytest
from daemon_fakes import picture as fake_picture
from daemon_fakes import running_daemon
from line_records import BOX, SIZE, add_part, defect_map, line_daemon
from page_server import CHROMIUM, door

from adcopilot_edge.runtime.daemon.web.app import create_app

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
    # The driver of playwright and a server that is cut off leave sockets to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
expect = sync_api.expect


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def daemon(tmp_path):
    with line_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def served(daemon):
    with door(create_app(daemon)) as opened:
        yield opened


@pytest.fixture
def page(browser, served):
    """The page, not opened yet. Whatever it complains of, or asks elsewhere, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.complaints, page.asked = [], []
    page.on(
        "console", lambda said: page.complaints.append(said.text) if said.type == "error" else 0
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()
    assert [url for url in page.asked if not url.startswith((served.url, "blob:"))] == []
    assert [words for words in page.complaints if "net::ERR_" not in words] == []


def word(page):
    return page.locator(".band .word")


def test_verdict_shows_in_word_shape_and_colour(daemon, served, page):
    page.goto(served.url)
    expect(word(page)).to_have_text("READY")
    colours = set()
    for verdict, shown in (("normal", "GOOD"), ("anomaly", "BAD"), ("uncertain", "UNSURE")):
        record = add_part(daemon, verdict, reference=f"R-{shown}")
        expect(word(page)).to_have_text(shown)
        expect(page.locator(".band .facts")).to_contain_text(f"#{record.id}")
        expect(page.locator(".band")).to_have_class(re.compile(verdict))
        expect(page.get_by_role("status").first).to_contain_text(shown)
        band = page.locator(".band")
        colours.add(band.evaluate("element => getComputedStyle(element).backgroundColor"))
        colours.add(page.locator(".band .mark path").get_attribute("d"))
    assert len(colours) == 6
    assert word(page).evaluate("element => parseFloat(getComputedStyle(element).fontSize)") >= 112
    expect(page.locator(".strip .cell")).to_have_count(3)


def test_boxes_and_heat_lie_where_they_are_in_the_picture(daemon, served, page):
    add_part(daemon, "anomaly", anomaly_map=defect_map())
    page.goto(served.url)
    box = page.locator(".marks rect.box")
    expect(box).to_be_visible()
    place, frame = box.bounding_box(), page.locator(".picture").last.bounding_box()
    scale = min(frame["width"] / SIZE[0], frame["height"] / SIZE[1])
    left = frame["x"] + (frame["width"] - scale * SIZE[0]) / 2
    top = frame["y"] + (frame["height"] - scale * SIZE[1]) / 2
    stroke = 4  # of the box, in pixels of the screen
    assert place["x"] == pytest.approx(left + scale * BOX[0], abs=stroke)
    assert place["y"] == pytest.approx(top + scale * BOX[1], abs=stroke)
    assert place["width"] == pytest.approx(scale * (BOX[2] - BOX[0]), abs=2 * stroke)
    assert place["height"] == pytest.approx(scale * (BOX[3] - BOX[1]), abs=2 * stroke)
    page.get_by_role("button", name="Heat map").click()
    heat = page.locator(".marks image").bounding_box()
    assert heat["x"] == pytest.approx(left, abs=1)
    assert heat["width"] == pytest.approx(scale * SIZE[0], abs=1)
    page.get_by_role("button", name="Boxes").click()
    expect(box).to_have_count(0)


def test_one_touch_stores_a_review(daemon, served, page):
    record = add_part(daemon, "anomaly")
    page.goto(served.url)
    with page.expect_response(lambda answer: answer.url.endswith("/review")) as answer:
        page.get_by_role("button", name="Wrong: it was good").click()
    assert answer.value.request.headers["x-requested-with"] == "adcopilot-edge"
    expect(page.locator(".toast")).to_contain_text(f"Part #{record.id}: noted as good")
    expect(page.locator(".truth.good")).to_have_attribute("aria-pressed", "true")
    rows = daemon.journal.read("SELECT part, truth FROM reviews")
    assert rows == [{"part": record.id, "truth": "good"}]


def test_touch_just_after_a_change_is_not_taken_for_the_new_part(daemon, served, page):
    first = add_part(daemon)
    page.goto(served.url)
    expect(word(page)).to_have_text("GOOD")
    page.evaluate(
        """() => new MutationObserver((changes, watcher) => {
            watcher.disconnect();
            document.querySelector(".truth.bad").click();
        }).observe(document.querySelector(".band .word"), { childList: true })"""
    )
    add_part(daemon, "anomaly")
    expect(page.locator(".toast")).to_contain_text(f"This is #{first.id}")
    expect(page.locator(".tag-old")).to_be_visible()
    expect(word(page)).to_have_text("GOOD")
    assert daemon.journal.read("SELECT * FROM reviews") == []


def test_keyboard_does_everything(daemon, served, page):
    first, second = add_part(daemon), add_part(daemon, "anomaly")
    page.goto(served.url)
    expect(word(page)).to_have_text("BAD")
    page.keyboard.press("ArrowLeft")
    expect(word(page)).to_have_text("GOOD")
    expect(page.locator(".tag-old")).to_be_visible()
    page.keyboard.press("b")
    expect(page.locator(".toast")).to_contain_text(f"Part #{first.id}: noted as bad")
    page.keyboard.press("Escape")
    expect(word(page)).to_have_text("BAD")
    page.keyboard.press("x")
    expect(page.locator(".marks rect")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Heat map on or off")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("2")
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    page.keyboard.press("Tab")
    focused = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(focused) == "solid"
    page.keyboard.press("1")
    expect(page.locator(".band .facts")).to_contain_text(f"#{second.id}")


@pytest.mark.parametrize(
    ("query", "shown"), [("?lang=de", "FEHLER"), ("?lang=ko", "불량"), ("", "BAD")]
)
def test_language_of_the_address(daemon, served, page, query, shown):
    add_part(daemon, "anomaly")
    page.goto(served.url + "/" + query)
    expect(word(page)).to_have_text(shown)
    if query:
        assert page.locator("html").get_attribute("lang") == query[-2:]


def test_language_is_chosen_on_the_page(daemon, served, page):
    add_part(daemon)
    page.goto(served.url)
    page.get_by_label("Language").select_option("de")
    expect(word(page)).to_have_text("GUT")
    assert page.locator("html").get_attribute("lang") == "de"


def test_lost_connection_is_loud_and_no_old_good_stays(daemon, served, page):
    add_part(daemon)
    page.goto(served.url)
    expect(word(page)).to_have_text("GOOD")
    served.close()
    expect(word(page)).to_have_text("NO CONNECTION")
    expect(page.locator(".band")).to_have_class(re.compile("lost"))
    expect(page.locator(".review")).to_be_hidden()
    assert "GOOD" not in page.locator(".band").inner_text()
    served.open()
    expect(word(page)).to_have_text("GOOD")


def test_stopped_line_and_a_start_show_instead_of_a_verdict(daemon, served, page):
    add_part(daemon)
    page.goto(served.url)
    expect(word(page)).to_have_text("GOOD")
    daemon.alarms.set("disk", "it is full", stops_line=True)
    expect(word(page)).to_have_text("LINE STOPPED")
    expect(page.get_by_role("alert").first).to_contain_text("it is full")
    assert "GOOD" not in page.locator(".band").inner_text()
    daemon.alarms.set("disk", None)
    daemon.life.enter("loading", "the inspection hung")
    expect(word(page)).to_have_text("LOADING")


def test_history_filters_and_turns_pages(daemon, served, page):
    bad = add_part(daemon, "anomaly", reference="X-1")
    for _ in range(52):
        add_part(daemon, listen=False)
    page.goto(f"{served.url}/#/history")
    rows = page.locator(".records tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(3)
    page.get_by_label("Verdict").select_option("anomaly")
    expect(rows).to_have_count(1)
    assert "X-1" in rows.first.inner_text()
    rows.first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Part #{bad.id}")
    expect(page.locator(".facts-list")).to_contain_text(bad.image_sha256)
    page.keyboard.press("g")
    expect(page.locator(".facts-list")).to_contain_text("good (local")


def test_texts_of_a_part_stay_texts(daemon, served, page):
    evil = "<img src=x onerror=alert(1)>"
    add_part(
        daemon,
        "anomaly",
        reference=evil,
        defects=({"label": evil, "bbox_2d": BOX, "source": "text"},),
        text={"describe": evil},
    )
    page.goto(served.url)
    expect(page.locator(".band .why")).to_have_text(f"Found: {evil}")
    page.goto(f"{served.url}/#/record/1")
    expect(page.locator(".facts-list")).to_contain_text(f"describe: {evil}")
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.parametrize("size", [(1280, 800), (1024, 600), (390, 844)])
def test_nothing_is_cut_off(daemon, served, page, size):
    add_part(daemon, "uncertain", reason="takt_overrun", reference="a-long-serial-number-0123456")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(served.url)
    expect(word(page)).to_have_text("UNSURE")
    overflow = "() => document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0
    for selector in (".band .word", ".review", ".strip", ".picture >> nth=1"):
        place = page.locator(selector).bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= size[0] + 1, selector
        if size[0] > 700:
            assert place["y"] + place["height"] <= size[1], selector


def test_unknown_is_asked_for_a_token(tmp_path, browser):
    http = {"port": 0, "require_token": True}
    with running_daemon(tmp_path, http=http) as running, door(running.client.app) as served:
        token = running.client.app.state.keys.tokens.add("anna", "operator")
        page = browser.new_page(locale="en-US")
        page.goto(served.url)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("not known here")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(word(page)).to_have_text("READY")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        assert page.context.cookies() == []
        page.close()


def test_a_hundred_parts_a_second_do_not_stop_the_page(daemon, served, page):
    page.goto(served.url)
    expect(word(page)).to_have_text("READY")
    records = []
    worker = threading.Thread(target=lambda: records.extend(add_part(daemon) for _ in range(40)))
    worker.start()
    worker.join()
    time.sleep(0.1)
    expect(page.locator(".band .facts")).to_contain_text(f"#{records[-1].id}")
    expect(page.locator(".pair .of")).to_contain_text(f"#{records[-1].id}")


def test_goldens_are_added_approved_and_taken_back(tmp_path, browser):
    with running_daemon(tmp_path) as running, door(running.client.app) as served:

        def in_use():
            return len(running.worker.setup.products["cap"].goldens)

        page = browser.new_page(locale="en-US")
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{served.url}/#/products")
        cap = page.locator(".product").first
        expect(cap).to_contain_text("runs at belt")
        expect(cap.locator(".golden")).to_have_count(1)
        image = fake_picture("normal", seed=98)
        files = [{"name": "new.png", "mimeType": "image/png", "buffer": image}]
        cap.locator("input[type=file]").set_input_files(files)
        expect(page.locator(".toast")).to_contain_text("approve it")
        expect(cap.locator(".golden.pending")).to_contain_text("waits for approval")
        assert in_use() == 1
        cap.get_by_role("button", name="Approve").click()
        expect(page.locator(".toast")).to_contain_text("in use")
        expect(cap.locator(".golden.in_use")).to_have_count(2)
        assert in_use() == 2
        cap.get_by_role("button", name="Undo the last approval").click()
        expect(page.locator(".toast")).to_contain_text("goldens before")
        expect(cap.locator(".golden.in_use")).to_have_count(1)
        assert in_use() == 1
        page.get_by_role("button", name="belt: run lid").click()
        expect(page.locator(".toast")).to_contain_text("changed")
        assert running.daemon.product_of("belt") == "lid"
        page.close()
