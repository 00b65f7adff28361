"""The files of the page: texts, size, headers; nothing inline, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from adcopilot_edge.runtime.daemon.part import Reason
from adcopilot_edge.runtime.daemon.web import page

FOLDER = Path(page.__file__).parent.parent / "page"
LANGUAGES = ("en", "de", "ko")
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.include_router(page.router)
    return TestClient(app)


def texts(language):
    return json.loads((FOLDER / "texts" / f"{language}.json").read_text(encoding="utf-8"))


def source(pattern="*.js"):
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob(pattern)))


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_language_has_the_same_texts_with_the_same_gaps(language):
    english, other = texts("en"), texts(language)
    assert sorted(other) == sorted(english)
    for key, text in other.items():
        assert text.strip(), key
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", english[key])), key


def test_every_text_is_used_and_every_use_has_a_text():
    known, code = set(texts("en")), source()
    quoted = set(re.findall(r'["`]([a-z][a-z.-]*)["`]', code))
    prefixes = set(re.findall(r"`([a-z.]+\.)\$\{", code))
    prefixes |= {f"{name}." for name in re.findall(r'named\("([a-z.]+)"', code)}
    made = {key for key in known for prefix in prefixes if key.startswith(prefix)}
    assert known - quoted - made == set()
    assert set(re.findall(r'\bt\("([^"]+)"', code)) <= known
    assert all(any(key.startswith(prefix) for key in known) for prefix in prefixes)


def test_every_reason_has_words_and_is_in_the_filter():
    reasons = set(get_args(Reason))
    assert {key.removeprefix("reason.") for key in texts("en") if key.startswith("reason.")} == (
        reasons
    )
    listed = re.search(r"REASONS = \[(.+?)\]", source("history.js"))
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) == reasons


def test_languages_are_those_of_the_page():
    listed = re.search(r"LANGUAGES = \{(.+?)\}", source("texts.js"))
    assert listed
    assert set(re.findall(r"(\w\w):", listed[1])) == set(LANGUAGES)
    assert {path.stem for path in (FOLDER / "texts").iterdir()} == set(LANGUAGES)


def test_page_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MAX_BYTES


def test_nothing_is_inline_or_from_elsewhere():
    index = source("index.html")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    everything = index + source() + source("*.css")
    addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", everything))
    assert addresses == {"http://www.w3.org"}  # the name of SVG, which nobody asks for
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", source())


def test_index_has_a_strict_policy_and_is_asked_for_each_time(client):
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_is_served_with_its_type(client):
    kinds = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
    for path in FOLDER.rglob("*"):
        if path.is_file():
            answer = client.get(f"/page/{path.relative_to(FOLDER).as_posix()}")
            assert answer.content == path.read_bytes()
            assert answer.headers["content-type"].startswith(kinds.get(path.suffix, ""))


@pytest.mark.parametrize("name", ["", "texts", "../schema.sql", "%2e%2e/schema.sql", "none.js"])
def test_nothing_else_is_served(client, name):
    assert client.get(f"/page/{name}").status_code == 404
