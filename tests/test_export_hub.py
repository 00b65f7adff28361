"""Checkpoints from the hub: the cache is enough, a dry run loads no weights, failures help.

The cache has the layout that the hub's library documents; the network is never asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.errors as hub_errors
import numpy as np
import pytest
from tiny import edit_json, shard, tiny_checkpoint

from adcopilot_edge.cli import main
from adcopilot_edge.errors import CheckpointError, ConfigError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.recipe import ExportRecipe

pytestmark = pytest.mark.torch

REPO, COMMIT = "maker/tiny", "0123456789abcdef0123456789abcdef01234567"
HUB = "adcopilot_edge.export.hub"
RECIPE = ExportRecipe(image_height=56, image_width=56)
SHARDS = ("model-1-of-2.safetensors", "model-2-of-2.safetensors")

Publish = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")
    assert [path.name for path in shard(folder)] == list(SHARDS)
    return folder


@pytest.fixture
def publish(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put the checkpoint, without the files named, into an otherwise empty cache, offline."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def publish(*without: str, ref: str = "main") -> Path:
        repo = cache / f"models--{REPO.replace('/', '--')}"
        snapshot = repo / "snapshots" / COMMIT
        for folder in (repo / "blobs", repo / "refs", snapshot):
            folder.mkdir(parents=True)
        (repo / "refs" / ref).write_text(COMMIT, encoding="utf-8")
        for file in checkpoint.iterdir():
            if file.name not in without:
                content = file.read_bytes()
                blob = hashlib.sha256(content).hexdigest()
                (repo / "blobs" / blob).write_bytes(content)
                (snapshot / file.name).symlink_to(Path("..", "..", "blobs", blob))
        return snapshot

    return publish


def test_without_a_network_the_cache_is_the_hub(publish: Publish, checkpoint: Path) -> None:
    snapshot = publish()
    local, cached = open_checkpoint(checkpoint), open_checkpoint(REPO)
    assert cached.path == snapshot
    assert cached.name == f"{REPO}@{COMMIT}"
    assert cached.sha256() == local.sha256()
    assert cached.entries.keys() == local.entries.keys()
    for name in local.entries:
        np.testing.assert_array_equal(cached.tensor(name), local.tensor(name))


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_revision_is_a_name_or_a_commit(publish: Publish, revision: str) -> None:
    snapshot = publish(ref="v1")
    assert open_checkpoint(REPO, revision=revision).path == snapshot
    with pytest.raises(CheckpointError, match="not in the cache"):
        open_checkpoint(REPO)


def test_the_command_exports_from_the_hub(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish()
    out = tmp_path / "bundle"
    words = ["export", REPO, "--out", str(out), "--image-size", "56", "--parity-pairs", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--revision", "main", "--json"])
    assert stopped.value.code == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(out)
    source = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["source"]
    assert source["name"] == f"{REPO}@{COMMIT}"


def test_a_dry_run_reads_headers_from_the_hub(
    publish: Publish, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(repo_id: str, filename: str, *, revision: str) -> Any:
        assert (repo_id, revision) == (REPO, COMMIT)
        return remote_header(checkpoint / filename)

    monkeypatch.setattr(f"{HUB}.parse_safetensors_file_metadata", parse)
    snapshot = publish(*SHARDS)
    remote = open_checkpoint(REPO, headers_only=True)
    assert not any((snapshot / shard).exists() for shard in SHARDS)
    plan = plan_export(remote, RECIPE, 4 << 30)
    assert plan == plan_export(open_checkpoint(checkpoint), RECIPE, 4 << 30)


def remote_header(path: Path) -> Any:
    """What the hub's library makes of a weight file's header."""
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    header.pop("__metadata__", None)
    tensors = {
        name: SimpleNamespace(shape=tensor["shape"], dtype=tensor["dtype"])
        for name, tensor in header.items()
    }
    return SimpleNamespace(tensors=tensors)


def test_a_dry_run_without_network_needs_the_weights_in_the_cache(publish: Publish) -> None:
    publish(SHARDS[0])
    with pytest.raises(CheckpointError, match="the hub can't be reached"):
        open_checkpoint(REPO, headers_only=True)


def test_half_a_download_is_named_and_how_to_complete_it(publish: Publish) -> None:
    snapshot = publish(SHARDS[1])
    again = f"lacks {SHARDS[1]}.*hf download {REPO} --revision {COMMIT}"
    with pytest.raises(CheckpointError, match=again):
        open_checkpoint(REPO)
    # The library's own list of a repository's files, which its downloads leave in the cache.
    files = {name: {"size": 1, "blob_id": "0"} for name in ("config.json", *SHARDS)}
    trees = snapshot.parents[1] / "trees"
    trees.mkdir()
    listing = {"format_version": 1, "files": files}
    (trees / f"{COMMIT}.json").write_text(json.dumps(listing), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"only in part.*can't be reached.*{SHARDS[1]}"):
        open_checkpoint(REPO)


def test_another_family_is_refused_before_its_weights_are_loaded(publish: Publish) -> None:
    edit_json(publish(*SHARDS) / "config.json", model_type="llava")
    with pytest.raises(UnsupportedModelError, match="'llava'"):
        open_checkpoint(REPO)


def from_server(kind: type[hub_errors.HfHubHTTPError]) -> Exception:
    response: Any = SimpleNamespace(headers={}, request=None)
    return kind("403", response=response)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (from_server(hub_errors.GatedRepoError), rf"restricted.*huggingface\.co/{REPO}.*hf auth"),
        (from_server(hub_errors.RepositoryNotFoundError), f"no folder {REPO}.*unknown or private"),
        (from_server(hub_errors.RevisionNotFoundError), "has no revision 'v9'"),
        (from_server(hub_errors.HfHubHTTPError), "HfHubHTTPError: 403. Try again"),
        (hub_errors.LocalEntryNotFoundError("asleep"), f"no folder {REPO}.*reached .asleep"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (TimeoutError("too slow"), "TimeoutError: too slow. Try again"),
    ],
)
def test_what_the_library_raises_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"{HUB}.snapshot_download", fail)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(REPO, revision="v9")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_a_mistyped_folder_is_told_from_a_repository(
    publish: Publish,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "runs/chekpoint", "--out", str(tmp_path / "bundle"), *words])
    out, err = capsys.readouterr()
    assert stopped.value.code == CheckpointError.exit_code
    assert "there is no folder runs/chekpoint, and as a hub id it is not in the cache" in err
    assert "HF_HUB_OFFLINE" in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_the_hub_would_refuse_is_a_missing_folder(publish: Publish) -> None:
    with pytest.raises(CheckpointError, match="no folder runs--old/step-9"):
        open_checkpoint("runs--old/step-9")


def test_a_folder_goes_before_a_repository_of_its_name(
    publish: Publish, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maker").mkdir()
    (tmp_path / REPO).symlink_to(checkpoint)
    assert open_checkpoint(REPO).name == "checkpoint"


def test_a_path_is_a_folder(publish: Publish) -> None:
    publish()
    with pytest.raises(CheckpointError, match="no Hugging Face checkpoint folder"):
        open_checkpoint(Path(REPO))


@pytest.mark.parametrize("as_path", [True, False])
def test_a_folder_has_no_revision(checkpoint: Path, as_path: bool) -> None:
    with pytest.raises(ConfigError, match="has no revision 'main'"):
        open_checkpoint(checkpoint if as_path else str(checkpoint), revision="main")
