"""Bundles on disk: damage is found, strangers are refused, writing is all or nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adcopilot_edge.bundle import MANIFEST_NAME, list_files, new_bundle, open_bundle
from adcopilot_edge.errors import (
    BundleNotFoundError,
    BundleVersionError,
    ChecksumError,
    ConfigError,
    ManifestError,
    ParityError,
)
from adcopilot_edge.runtime.inspector import Inspector


def edit_manifest(folder, **changes):
    """Replace values of the manifest; a name like ``a__b`` goes one level down."""
    path = folder / MANIFEST_NAME
    content = json.loads(path.read_bytes())
    for name, value in changes.items():
        *outer, last = name.split("__")
        record = content
        for key in outer:
            record = record[key]
        record[last] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def flip_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def names_beside(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def test_the_id_depends_on_the_manifest_alone(toy_bundle, damaged_bundle):
    assert open_bundle(damaged_bundle).id == toy_bundle.id
    edit_manifest(damaged_bundle, created_by="somebody else")
    assert open_bundle(damaged_bundle).id != toy_bundle.id


@pytest.mark.parametrize("name", ["vision.onnx", "embedding.npy", "tokenizer.json"])
def test_a_changed_byte(damaged_bundle, name):
    flip_byte(damaged_bundle / name)
    with pytest.raises(ChecksumError, match=rf"{name} \(content changed\)\. Copy"):
        open_bundle(damaged_bundle)


def test_a_file_that_this_user_may_not_read(damaged_bundle, monkeypatch):
    stock = Path.open

    def refuse(path, *words, **options):
        if path.name == "vision.onnx":
            raise PermissionError(13, "Permission denied", str(path))
        return stock(path, *words, **options)

    # Not by its mode: who runs the tests may be root.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ChecksumError, match=r"vision\.onnx \(can't be read: Permission denied\)"):
        open_bundle(damaged_bundle)


def test_all_damage_is_listed_at_once(damaged_bundle):
    flip_byte(damaged_bundle / "vision.onnx")
    (damaged_bundle / "decoder.onnx").unlink()
    with (damaged_bundle / "tokenizer.json").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ChecksumError) as caught:
        open_bundle(damaged_bundle)
    message = str(caught.value)
    assert "vision.onnx (content changed)" in message
    assert "decoder.onnx (missing)" in message
    assert "tokenizer.json (" in message


def test_a_missing_graph_is_found_without_hashing(damaged_bundle):
    (damaged_bundle / "decoder.onnx").unlink()
    with pytest.raises(BundleNotFoundError, match=r"lacks decoder\.onnx"):
        Inspector.open(damaged_bundle, verify=False)


def test_no_bundle(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleNotFoundError, match=r"manifest\.json is not there"):
            open_bundle(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_version(damaged_bundle, version):
    edit_manifest(damaged_bundle, version=version, something_new=1)
    with pytest.raises(BundleVersionError, match="this release reads format 1"):
        open_bundle(damaged_bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "other"}', "\x00"])
def test_a_manifest_that_is_none(damaged_bundle, text):
    (damaged_bundle / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError):
        open_bundle(damaged_bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graphs": {}}, "files|graphs missing: comparison, decoder, vision"),
        ({"graphs__vision": {"file": "eye.onnx", "precision": "fp32"}}, "not listed .+ eye.onnx"),
        ({"target": "abacus"}, "target: "),
        ({"model__num_layers": 0}, r"model\.num_layers: "),
        ({"model__image_width": 85}, r"model\.image_width: "),
        ({"unheard_of": 1}, "unheard_of: Extra inputs are not permitted"),
        ({"files": {}}, "files named but not listed"),
    ],
)
def test_a_manifest_that_is_wrong(damaged_bundle, changes, message):
    edit_manifest(damaged_bundle, **changes)
    with pytest.raises(ManifestError, match=message):
        open_bundle(damaged_bundle)


@pytest.mark.parametrize("name", ["../key", "/etc/passwd", "a/../../key", "\\\\host\\key", "C:key"])
def test_a_name_that_leaves_the_folder(toy_bundle, damaged_bundle, name):
    files = json.loads(toy_bundle.manifest.model_dump_json())["files"]
    edit_manifest(damaged_bundle, files={**files, name: {"sha256": "0" * 64, "size_bytes": 0}})
    with pytest.raises(ManifestError, match="file name leaves the bundle"):
        open_bundle(damaged_bundle)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("embedding.npy", b"no array", "is no .npy file"),
        ("tokenizer.json", b"{}", "is no tokenizer"),
    ],
)
def test_a_file_of_another_kind(damaged_bundle, name, content, message):
    (damaged_bundle / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        Inspector.open(damaged_bundle, verify=False)


@pytest.mark.parametrize(
    "changes", [{"tokens__image": 0}, {"tokens__yes": 1}, {"prompt__golden": "no image"}]
)
def test_prompt_tokens_and_tokenizer_must_fit(damaged_bundle, changes):
    edit_manifest(damaged_bundle, **changes)
    with pytest.raises(ManifestError, match="Export the bundle again"):
        Inspector.open(damaged_bundle, num_threads=1)


def test_a_bundle_takes_its_name_when_it_is_whole(tmp_path):
    out = tmp_path / "new" / "bundle"
    with new_bundle(out) as folder:
        (folder / MANIFEST_NAME).write_text("first", encoding="utf-8")
        assert not out.exists()
    with new_bundle(out) as folder:
        (folder / MANIFEST_NAME).write_text("second", encoding="utf-8")
        assert (out / MANIFEST_NAME).read_text(encoding="utf-8") == "first"
    assert (out / MANIFEST_NAME).read_text(encoding="utf-8") == "second"
    assert names_beside(out) == ["bundle"]


def test_a_partial_write_leaves_nothing(tmp_path):
    out = tmp_path / "bundle"

    def fail_halfway():
        with new_bundle(out) as folder:
            (folder / "vision.onnx").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def begin(out, key, error):
    """A run that writes half and meets ``error``."""
    with new_bundle(out, key=key) as folder:
        (folder / "vision.onnx").write_bytes(b"half")
        raise error


def test_a_killed_run_is_taken_up_by_the_next_of_its_kind_only(tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)  # above the largest there is
    with pytest.raises(KeyboardInterrupt):
        begin(out, "one", KeyboardInterrupt)
    assert not out.exists()
    monkeypatch.undo()
    with new_bundle(out, key="one") as folder:
        assert (folder / "vision.onnx").read_bytes() == b"half"
        assert list(list_files(folder)) == ["vision.onnx"]
    assert [path.name for path in out.iterdir()] == ["vision.onnx"]
    assert names_beside(out) == ["bundle"]


def test_the_rest_of_another_run_is_removed(tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)
    with pytest.raises(OSError, match="full"):
        begin(out, "one", OSError("disk full"))
    monkeypatch.undo()
    with new_bundle(out, key="two") as folder:
        assert not (folder / "vision.onnx").exists()
    assert names_beside(out) == ["bundle"]


def test_a_wrong_export_leaves_nothing_to_go_on_with(tmp_path):
    with pytest.raises(ParityError):
        begin(tmp_path / "bundle", "one", ParityError("off"))
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_run_is_left_alone(tmp_path):
    out = tmp_path / "bundle"
    other = tmp_path / f".bundle.{os.getppid()}.partial"
    other.mkdir()
    (other / ".key").write_text("one", encoding="utf-8")
    with new_bundle(out, key="one"):
        assert other.is_dir()
    assert other.is_dir()


def test_a_failed_write_leaves_the_old_bundle(damaged_bundle, toy_bundle):
    def fail_halfway():
        with new_bundle(damaged_bundle):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert open_bundle(damaged_bundle).id == toy_bundle.id
    assert names_beside(damaged_bundle) == ["bundle"]


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="exists and is no bundle"), new_bundle(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").exists()
