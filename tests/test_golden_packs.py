"""Golden packs: exact, found by what they depend on and nothing else, never used when damaged."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
from bench_packs import shaped_reference
from pack_writer import write_again_and_again
from PIL import Image
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import list_files, open_bundle, write_manifest
from adcopilot_edge.errors import PackError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.golden_key import golden_key
from adcopilot_edge.runtime.golden_pack import PackOrigin, read_pack, read_record, write_pack
from adcopilot_edge.runtime.golden_packs import GoldenPacks
from adcopilot_edge.runtime.inspector import Inspector, embedded_bundle


def open_inspector(bundle, packs=None):
    return Inspector.open(bundle, num_threads=1, packs=packs)


def inspect(inspector, golden, test, **options):
    return inspector.inspect(golden, test, task="all", ask="Why?", max_new_tokens=6, **options)


def without_times(inspection):
    record = inspection.to_json()
    del record["timings_ms"], record["golden_cached"]
    return record


def verdict_logits(inspector, reference, test):
    engine = inspector.engine
    encoded = engine.encoder.encode(engine.preprocessor.patches(engine.preprocessor.resize(test)))
    comparison = engine.encoder.compare(reference.features, encoded.features)
    engine.dialogue.show(reference.prefix, encoded.tokens, comparison.tokens)
    return engine.verdict_logits()


@pytest.fixture
def bundle(damaged_bundle):
    """The folder of a toy bundle that a test may write to."""
    return damaged_bundle


@pytest.fixture
def pack(bundle, image_pair):
    """The pack of the pair's golden image beside the bundle."""
    return open_inspector(bundle).add_golden(image_pair[0], "lid")


@pytest.fixture(params=["toy", "nano"])
def any_bundle(request, bundle, tmp_path):
    if request.param == "toy":
        return bundle
    return shutil.copytree(embedded_bundle(), tmp_path / "nano")


def test_from_disk_as_computed(any_bundle, image_pair):
    """Not near: equal, since the decoder goes on from the very bytes that it had computed."""
    golden, test = image_pair
    computed = open_inspector(any_bundle)
    expected = inspect(computed, golden, test)
    assert not expected.golden_cached
    reference = computed.golden(golden, cache=False)
    computed.add_golden(golden)
    fresh = open_inspector(any_bundle)
    mapped = fresh.golden(golden)
    np.testing.assert_array_equal(
        verdict_logits(fresh, mapped, test), verdict_logits(computed, reference, test)
    )
    for inspection in (inspect(fresh, golden, test), inspect(fresh, mapped, test)):
        assert inspection.golden_cached
        assert without_times(inspection) == without_times(expected)
        np.testing.assert_array_equal(inspection.anomaly_map, expected.anomaly_map)


def test_all_of_a_reference_comes_back(bundle, image_pair, pack):
    golden, _ = image_pair
    inspector = open_inspector(bundle)
    expected, found = inspector.golden(golden, cache=False), inspector.golden(golden)
    for name in ("image", "features", "tokens", "comparison_tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert not getattr(found, name).flags.writeable
    state, kept = found.prefix.state, expected.prefix.state
    assert list(state.blocks) != []
    assert set(state.blocks) == set(kept.blocks)
    for name, block in kept.blocks.items():
        assert state.blocks[name].dtype == block.dtype
        np.testing.assert_array_equal(state.blocks[name], block)
    np.testing.assert_array_equal(state.cos, kept.cos)
    np.testing.assert_array_equal(state.sin, kept.sin)
    np.testing.assert_array_equal(found.prefix.positions.ids, expected.prefix.positions.ids)
    for name in ("next_text", "maximum"):
        assert getattr(found.prefix.positions, name) == getattr(expected.prefix.positions, name)
    assert (found.bundle, found.image_sha256) == (expected.bundle, expected.image_sha256)
    assert pack.record.golden_sha256 == pixel_hash(golden)


def test_a_pack_is_made_only_when_asked_for(bundle, image_pair):
    inspector = open_inspector(bundle)
    inspector.inspect(*image_pair)
    inspector.golden(image_pair[0])
    assert not (bundle / "goldens").exists()
    before = open_bundle(bundle).id
    inspector.add_golden(image_pair[0])
    assert open_bundle(bundle, verify=True).id == before


def test_another_folder(bundle, image_pair, tmp_path):
    folder = tmp_path / "elsewhere" / "packs"
    stored = open_inspector(bundle, folder).add_golden(image_pair[0])
    assert stored.path.parent == folder
    assert not (bundle / "goldens").exists()
    assert open_inspector(bundle, folder).inspect(*image_pair).golden_cached
    assert not open_inspector(bundle).inspect(*image_pair).golden_cached


def test_a_golden_file_replaced_under_the_same_name(bundle, image_pair, tmp_path):
    golden, test = image_pair
    path = tmp_path / "golden.png"
    Image.fromarray(golden).save(path)
    status = path.stat()
    first = open_inspector(bundle).add_golden(path, "lid")
    Image.fromarray(test).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    inspector = open_inspector(bundle)
    inspection = inspector.inspect(path, test)
    assert (inspection.golden_cached, inspection.verdict) == (False, "normal")
    second = inspector.add_golden(path, "lid")
    assert first.path != second.path
    assert inspector.inspect(test, test).golden_cached


def test_goldens_of_one_shape_and_prompt_have_their_own_packs(bundle, image_pair):
    golden, _ = image_pair
    other = golden.copy()
    other[-1, -1, -1] ^= 1
    adding = open_inspector(bundle)
    paths = {adding.add_golden(image).path for image in (golden, other)}
    assert len(paths) == 2
    reading = open_inspector(bundle)
    for image in (golden, other):
        reference = reading.golden(image)
        np.testing.assert_array_equal(reference.image, image)
        np.testing.assert_array_equal(
            reference.features, reading.golden(image, cache=False).features
        )


def change_manifest(bundle, change):
    manifest = open_bundle(bundle, verify=False).manifest
    write_manifest(bundle, change(manifest))


def with_prompt(**changes):
    return lambda it: it.model_copy(update={"prompt": it.prompt.model_copy(update=changes)})


def with_preprocessing(**changes):
    return lambda it: it.model_copy(
        update={"preprocessing": it.preprocessing.model_copy(update=changes)}
    )


GOLDEN_TEXT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> is fine. "


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [
        (with_prompt(golden=GOLDEN_TEXT), False),
        (with_preprocessing(image_mean=(0.4, 0.5, 0.5)), False),
        (with_prompt(question=" is the part. {question}<|im_end|>\n<|im_start|>assistant\n"), True),
        (lambda it: it.model_copy(update={"created_by": "others"}), True),
    ],
    ids=["prompt", "preprocessing", "question", "other"],
)
def test_the_key_is_over_what_lies_before_the_boundary(bundle, image_pair, pack, change, is_kept):
    change_manifest(bundle, change)
    inspection = open_inspector(bundle).inspect(*image_pair)
    assert inspection.golden_cached == is_kept
    assert inspection.notes == (() if is_kept else ("golden_pack_outdated",))


def test_another_graph_has_another_key(bundle, image_pair, pack, tmp_path):
    model = MODEL.model_copy(update={"compare_position_mode": "shared"})
    other = write_toy_bundle(tmp_path / "other", model)
    keys = {golden_key(open_bundle(it), golden_sha256="0" * 64, provider="cpu")
            for it in (bundle, other.path)}  # fmt: skip
    assert len(keys) == 2
    shutil.copytree(bundle / "goldens", other.path / "goldens")
    inspection = open_inspector(other.path).inspect(*image_pair)
    assert not inspection.golden_cached
    assert inspection.notes == ("golden_pack_outdated",)


@pytest.mark.parametrize("name", ["vision.onnx", "decoder.onnx", "embedding.npy", "tokenizer.json"])
def test_every_file_of_the_bundle_counts(bundle, name):
    before = open_bundle(bundle)
    (bundle / name).write_bytes((bundle / name).read_bytes() + b" ")
    change_manifest(bundle, lambda it: it.model_copy(update={"files": list_files(bundle)}))
    after = open_bundle(bundle)
    assert golden_key(before, golden_sha256="0" * 64, provider="cpu") != golden_key(
        after, golden_sha256="0" * 64, provider="cpu"
    )


def test_provider_variant_release_and_processor_count(bundle, monkeypatch):
    opened = open_bundle(bundle)

    def key(provider="cpu", variant=""):
        return golden_key(opened, golden_sha256="0" * 64, provider=provider, variant=variant)

    keys = {key(), key(provider="cuda"), key(variant="+1234"), key(provider="tensorrt")}
    record = bundle / "engines" / "tensorrt-10.3.0-sm87" / "vision.engine.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"{}")
    keys.add(key(provider="tensorrt"))
    assert key() in keys  # the CPU has nothing to do with engines
    module = "adcopilot_edge.runtime.golden_key"
    monkeypatch.setattr(f"{module}.cpu_model", lambda: "another")
    keys.add(key())
    monkeypatch.setattr("adcopilot_edge.__version__", "99")
    keys.add(key())
    assert len(keys) == 7


def test_a_pack_of_another_bundle_under_our_name_is_refused_and_replaced(
    bundle, image_pair, pack, tmp_path, caplog
):
    model = MODEL.model_copy(update={"compare_position_mode": "shared"})
    other = write_toy_bundle(tmp_path / "other", model)
    foreign = open_inspector(other.path).add_golden(image_pair[0])
    shutil.copy(foreign.path, pack.path)
    expected = without_times(open_inspector(bundle, tmp_path / "none").inspect(*image_pair))
    inspection = open_inspector(bundle).inspect(*image_pair)
    assert not inspection.golden_cached
    assert inspection.notes == ("golden_pack_damaged",)
    assert without_times(inspection) == {**expected, "notes": ["golden_pack_damaged"]}
    assert "or of another image" in caplog.text
    assert read_record(pack.path).key == pack.record.key
    assert open_inspector(bundle).inspect(*image_pair).golden_cached


def flip(place):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[place(len(content))] ^= 1
        path.write_bytes(content)

    return damage


DAMAGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size - 100),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "length": flip(lambda _: 0),
    "header": flip(lambda _: 200),
    "first tensor": flip(lambda size: size // 3),
    "middle": flip(lambda size: size // 2),
    "last byte": flip(lambda size: size - 1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_pack_is_told_replaced_and_never_used(bundle, image_pair, pack, damage, caplog):
    expected = without_times(open_inspector(bundle).inspect(*image_pair))
    damage(pack.path)
    with pytest.raises(PackError, match="can't be used"):
        read_pack(pack.path, key=pack.record.key, bundle="any")
    inspector = open_inspector(bundle)
    with caplog.at_level(logging.WARNING):
        inspection = inspector.inspect(*image_pair)
    assert not inspection.golden_cached
    assert str(pack.path) in caplog.text
    assert without_times(inspection) == {**expected, "notes": ["golden_pack_damaged"]}
    assert inspector.inspect(*image_pair).notes == ()
    again = open_inspector(bundle).inspect(*image_pair)
    assert again.golden_cached
    assert without_times(again) == expected


def test_every_byte_of_a_pack_counts(pack):
    """Each byte is part of the header or of a tensor with a checksum; padding is left out."""
    content = pack.path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    text = content[8:header].rstrip()
    places = [*range(0, 8 + len(text), 97), *range(header, len(content), len(content) // 50)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x10
        pack.path.write_bytes(changed)
        with pytest.raises(PackError):
            read_pack(pack.path, key=pack.record.key, bundle="any")


def test_a_damaged_tensor_keeps_the_name(bundle, image_pair, pack):
    DAMAGES["last byte"](pack.path)
    open_inspector(bundle).inspect(*image_pair)
    assert read_record(pack.path).name == "lid"


needs_permissions = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere"
)


def unwritable(bundle):
    """Make it impossible to write packs, for root too: a file lies where the folder would."""
    (bundle / "goldens").write_bytes(b"")


def test_an_unwritable_folder_fails_add_and_nothing_else(bundle, image_pair):
    unwritable(bundle)
    inspector = open_inspector(bundle)
    assert inspector.inspect(*image_pair).notes == ()
    with pytest.raises(PackError, match=r"can't write the golden pack .* --packs"):
        inspector.add_golden(image_pair[0])


@needs_permissions
def test_packs_in_a_folder_that_can_only_be_read(bundle, image_pair, pack):
    folder = pack.path.parent
    folder.chmod(0o500)
    try:
        assert open_inspector(bundle).inspect(*image_pair).golden_cached
    finally:
        folder.chmod(0o700)


def test_a_pack_that_can_not_be_repaired_does_not_stop_the_inspection(
    bundle, image_pair, pack, monkeypatch, caplog
):
    DAMAGES["middle"](pack.path)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("adcopilot_edge.runtime.golden_packs.write_pack", refuse)
    inspection = open_inspector(bundle).inspect(*image_pair)
    assert inspection.notes == ("golden_pack_damaged",)
    assert "No space left on device" in caplog.text


def test_a_product_comes_without_its_golden_files(bundle, image_pair, pack):
    golden, test = image_pair
    open_inspector(bundle).add_golden(test, "lid")
    open_inspector(bundle).add_golden(255 - test, "box")
    inspector = open_inspector(bundle)
    references = inspector.product("lid")
    stored = GoldenPacks.beside(inspector.engine.bundle).select(["lid"])
    records = [it.record for it in stored if it.record is not None]
    records.sort(key=lambda record: (record.created_at, record.key))
    assert [it.image_sha256 for it in references] == [it.golden_sha256 for it in records]
    assert {it.image_sha256 for it in references} == {pixel_hash(golden), pixel_hash(test)}
    (first,) = (it for it in references if it.image_sha256 == pixel_hash(golden))
    inspection = inspector.inspect(first, test)
    assert (inspection.verdict, inspection.golden_cached) == ("anomaly", True)
    assert inspector.product("lid")[0] is references[0]
    with pytest.raises(PackError, match="no golden pack of the product 'cap'"):
        inspector.product("cap")


def test_a_product_of_another_bundle_is_refused(bundle, pack):
    change_manifest(bundle, with_prompt(golden=GOLDEN_TEXT))
    with pytest.raises(PackError, match="1 of another bundle, provider or release"):
        open_inspector(bundle).product("lid")


def store_many(folder, reference, count):
    packs = GoldenPacks(folder)
    stored = []
    for index in range(count):
        key = f"{index:x}" * 64
        origin = PackOrigin(key=key, provider="cpu", variant="", name=f"part-{index}")
        stored.append(packs.store(reference, origin))
        os.utime(stored[-1].path, (1000 + index, 1000 + index))
    return packs, stored


def test_the_disk_budget_removes_what_was_unused_for_longest(toy_bundle, image_pair, tmp_path):
    inspector = open_inspector(toy_bundle.path)
    reference = inspector.golden(image_pair[0])
    packs, stored = store_many(tmp_path / "packs", reference, 4)
    assert packs.load(stored[0].record.key, bundle="any") is not None  # used last of all
    size = stored[0].size_bytes
    removed = packs.prune(2 * size)
    assert [pack.record.name for pack in removed] == ["part-1", "part-2"]
    assert [pack.record.name for pack in packs.stored()] == ["part-0", "part-3"]
    assert packs.prune(2 * size) == []
    assert packs.prune(0, keep=[stored[3].path])[0].record.name == "part-0"
    assert packs.stored()[0].path == stored[3].path


def test_drafts_of_a_power_cut_are_removed(toy_bundle, image_pair, tmp_path):
    reference = open_inspector(toy_bundle.path).golden(image_pair[0])
    packs, (stored,) = store_many(tmp_path / "packs", reference, 1)
    old, new = (packs.folder / f".{stored.path.name}.{word * 16}.tmp" for word in ("a", "b"))
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert len(packs.stored()) == 1
    packs.prune(1 << 30)
    assert (old.exists(), new.exists(), stored.path.exists()) == (False, True, True)


def test_two_processes_write_one_pack_while_a_third_reads(bundle, image_pair):
    golden, test = image_pair
    expected = without_times(open_inspector(bundle).inspect(golden, test))
    first = open_inspector(bundle).add_golden(golden, "lid")
    context = multiprocessing.get_context("spawn")
    start, errors = context.Event(), context.Queue()
    writers = [
        context.Process(target=write_again_and_again, args=(bundle, golden, start, errors))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    start.set()
    num_read = 0
    while any(writer.is_alive() for writer in writers):
        read_pack(first.path, key=first.record.key, bundle="any")  # raises unless it is whole
        num_read += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0, errors.get(timeout=1)
    assert num_read > 0
    inspection = open_inspector(bundle).inspect(golden, test)
    assert inspection.golden_cached
    assert without_times(inspection) == expected
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


# The command line.


@pytest.fixture
def pictures(tmp_path, image_pair):
    paths = tmp_path / "golden.png", tmp_path / "test.png"
    for image, path in zip(image_pair, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def as_object(out):
    assert out.count("\n") == 1
    return json.loads(out)


def test_packs_on_the_command_line(cli, bundle, pictures):
    golden, test = pictures
    words = ["inspect", golden, test, "--bundle", bundle, "--threads", 1, "--json"]
    plain = as_object(cli(*words)[1])
    code, out, err = cli("golden", "add", bundle, golden, "--name", "lid", "--threads", 1, "--json")
    (added,) = as_object(out)["added"]
    assert (code, err) == (0, f"wrote {added['path']}\n")
    assert (added["name"], added["state"], added["provider"]) == ("lid", "usable", "cpu")
    cached = as_object(cli(*words)[1])
    assert (plain.pop("golden_cached"), cached.pop("golden_cached")) == (False, True)
    assert "golden" in cached["timings_ms"]
    del plain["timings_ms"], cached["timings_ms"]
    assert cached == plain
    listed = as_object(cli("golden", "list", bundle, "--json")[1])
    assert [(it["id"], it["state"]) for it in listed["packs"]] == [(added["id"], "usable")]
    people = cli("golden", "list", bundle)[1]
    assert f"{added['id']}  lid" in people
    code, out, _ = cli("golden", "remove", bundle, added["id"], "--json")
    assert (code, as_object(out)["left"]) == (0, 0)
    assert cli("golden", "list", bundle)[1].splitlines()[1] == "packs      0, 0.0 MB"


def test_list_tells_what_is_wrong(cli, bundle, image_pair, pack):
    golden, test = image_pair
    other = open_inspector(bundle).add_golden(test, "box")
    DAMAGES["last byte"](pack.path)
    DAMAGES["header"](open_inspector(bundle).add_golden(255 - golden).path)
    code, out, err = cli("golden", "list", bundle, "--json")
    assert code == 0
    states = {it["name"]: it["state"] for it in as_object(out)["packs"]}
    assert states == {"lid": "damaged", "box": "usable", None: "damaged"}
    assert "has changed" in err
    change_manifest(bundle, with_prompt(golden=GOLDEN_TEXT))
    states = {
        it["name"]: it["state"]
        for it in as_object(cli("golden", "list", bundle, "--json")[1])["packs"]
    }
    assert states["box"] == "outdated"
    assert other.path.exists()
    assert cli("golden", "remove", bundle, "lid", "box")[0] == 0


def test_prune_and_limits_on_the_command_line(cli, bundle, pictures):
    golden, test = pictures
    add = ["golden", "add", bundle, golden, test, "--name", "lid", "--threads", 1, "--json"]
    added = as_object(cli(*add)[1])["added"]
    assert len(added) == 2
    limit = str(added[0]["size_bytes"])
    removed = as_object(cli(*add[:3], golden, *add[5:], "--max-bytes", limit)[1])["removed"]
    assert removed == [added[1]["path"]]
    code, out, _ = cli("golden", "prune", bundle, "--max-bytes", "0", "--json")
    assert (code, as_object(out)["left_bytes"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["remove", "lid"], 6, "PackError"),
        (["prune", "--max-bytes", "much"], 2, "ConfigError"),
        (["add", "nowhere.png"], 6, "ImageNotFoundError"),
    ],
)
def test_errors_on_the_command_line(cli, bundle, words, code, kind):
    verb, *others = words
    got, out, err = cli("golden", verb, bundle, *others, "--json")
    assert got == code
    error = as_object(out)["error"]
    assert error["kind"] == kind
    assert err == f"error: {error['message']}\n"


def test_add_into_an_unwritable_folder(cli, bundle, pictures):
    unwritable(bundle)
    golden, test = pictures
    assert cli("inspect", golden, test, "--bundle", bundle, "--threads", 1)[0] == 0
    got, out, _ = cli("golden", "add", bundle, golden, "--threads", 1, "--json")
    assert (got, as_object(out)["error"]["kind"]) == (6, "PackError")


@pytest.mark.parametrize("verb", ["add", "list", "remove", "prune"])
def test_help_has_an_example(cli, verb):
    code, out, _ = cli("golden", verb, "--help")
    assert code == 0
    assert f"adcopilot-edge golden {verb} bundle" in " ".join(out.replace("-\n", "-").split())


@pytest.mark.slow
def test_a_pack_of_7b_shape_is_mapped_and_checked_in_50_ms(tmp_path):
    """CPU time, the best of five: the machine may have other things to do."""
    reference = shaped_reference("7b", "float32")
    path = tmp_path / "golden.safetensors"
    write_pack(path, reference, PackOrigin(key="0" * 64, provider="cpu", variant="", name=None))
    spent = []
    for _ in range(5):
        started = time.process_time()
        read_pack(path, key=None, bundle="any")
        spent.append(time.process_time() - started)
    assert reference.prefix.state.length == 600
    assert path.stat().st_size > 80e6
    assert min(spent) < 0.05
