"""A profile as HTML, charts, CSV and tables: complete, well formed, and nobody's code."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from profile_cases import case, report

from adcopilot_edge.commands.profile_report import print_profile
from adcopilot_edge.runtime.profile.page import html_page, sweep_axis
from adcopilot_edge.runtime.profile.svg import BarRow, Line, bars, histogram, lines, nice_ticks
from adcopilot_edge.runtime.profile.table import csv_table

STEADY = [100.0 + place % 3 for place in range(150)]


class Strict(HTMLParser):
    """Notes tags that close what is not open, and everything that would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = html_page(report(case(STEADY, takt_ms=101), case(STEADY, threads=2)))
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert not parser.tags & {"script", "link", "img", "iframe", "object"}
    assert parser.links == []
    assert "url(" not in page
    assert "@import" not in page
    assert "A processor &lt;of&gt; words &amp; signs" in page


def test_the_page_says_what_matters() -> None:
    page = html_page(report(case([100.0, 300.0] * 3, stopped_by="max time", takt_ms=200)))
    for words in ("Not stable", "50.0% of the parts within the takt of 200 ms", "MODE_30W"):
        assert words in page
    for title in ("Stages", "Latency of inspections", "Over time", "Temperature", "Power"):
        assert f"<h3>{title}</h3>" in page
    assert "All cases" not in page


def test_a_curve_needs_one_number_that_differs() -> None:
    one, two, four = (case(STEADY, threads=threads) for threads in (1, 2, 4))
    assert sweep_axis([two, one, four]) == ("threads", [2, 1, 4])
    assert sweep_axis([case(STEADY), one]) is None  # the provider's own choice is no number
    assert sweep_axis([one, one]) is None
    assert sweep_axis([one, case(STEADY, threads=2, concurrency=2)]) is None
    assert sweep_axis([one, case(STEADY, threads=1, task="verdict")]) is None
    assert "Whole inspection by threads" in html_page(report(one, two, four))
    assert "Whole inspection: p50" in html_page(report(one, case(STEADY)))


@pytest.mark.parametrize(
    "chart",
    [
        bars([BarRow(name="a<b", value=0.0, reach=0.0), BarRow(name="c", value=2, reach=9)], "ms"),
        bars([BarRow(name="only", value=0.0, reach=0.0)], "ms"),
        histogram([5.0], {"p50": 5.0}, "ms"),
        histogram([5.0] * 9 + [500.0], {"p50": 5.0, "p99": 500.0, "takt": 2000.0}, "ms"),
        lines([Line(name="one", xs=[0.0], ys=[0.0])], "s", "ms"),
        lines([Line(name="flat", xs=[0, 1], ys=[50, 50])], "s", "C", from_zero=False),
    ],
)
def test_charts_are_xml_and_stay_in_their_frame(chart: str) -> None:
    root = ElementTree.fromstring(chart)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for name, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width)):
            assert 0 <= float(element.attrib.get(name, 0)) <= limit
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(element.attrib.get(name, 0)) <= height
        assert "nan" not in str(element.attrib)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0), (5, 5), (0.0001, 0.0009), (3, 1e6), (49.9, 50.1), (0, 97)]
)
def test_ticks_are_few_and_hold_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))


def test_the_table_has_a_row_for_each_stage_of_each_case() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table([case(STEADY), case(STEADY, threads=2)]))))
    assert len(rows) == 2 * (7 + 2 + 3)  # stages, two sums, asides
    assert {row["case"] for row in rows} == {"embedded, threads auto", "embedded, threads 2"}
    (vision, _) = [row for row in rows if row["stage"] == "vision"]
    assert (vision["p50_ms"], vision["count"], vision["least_ms"]) == ("10.0", "150", "1.0")
    whole = next(row for row in rows if row["stage"] == "inspection")
    assert (whole["least_ms"], whole["stable"], whole["goodput"]) == ("", "True", "")


def test_the_object_is_json_and_adds_up() -> None:
    record = report(case(STEADY, takt_ms=101)).to_json()
    (one,) = json.loads(json.dumps(record, allow_nan=False))["cases"]
    assert one["goodput"] == round(100 / 150, 6)
    assert one["stable"] is True
    stages = one["stages_ms"]
    parts = [row["mean"] for name, row in stages.items() if name not in SUMS]
    assert sum(parts) == pytest.approx(stages["inspection"]["mean"], rel=1e-6)
    assert stages["until_verdict"]["p50"] == 25.5
    assert sum(row["count"] for row in one["over_time_ms"]) == 150
    assert one["memory_bytes"]["peak_rss"] == 150 << 20
    assert one["thermal"]["throttled"] == ["oc3: 4 events"]


SUMS = ("until_verdict", "inspection")


def test_what_cannot_be_told_is_null() -> None:
    (one,) = report(case([100.0])).to_json()["cases"]
    assert one["stability"] == {"interval": None, "drift": None}
    assert one["goodput"] is None
    assert one["stable"] is False


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(report(case(STEADY, takt_ms=101), case([100.0], threads=2)))
    out = capsys.readouterr().out
    assert "100 of 150 parts (66.7%) within 101 ms" in out
    assert "power mode MODE_30W" in out
    assert "NO, too few measurements to tell" in out
    assert "oc3" not in out.split("notes")[0]
    assert "all cases" in out
    assert "inf" not in out.replace("inspection", "")
    assert "energy     " in out
