"""Golden packs: exact, found by what they depend on and nothing else, never used when damaged."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
from bench_packs import shaped_reference
from pack_cases import (
    DAMAGES,
    GOLDEN_TEXT,
    change_manifest,
    open_inspector,
    unwritable,
    with_prompt,
    without_times,
)
from pack_writer import write_again_and_again
from PIL import Image
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import PackError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.golden_pack import PackOrigin, read_pack, read_record, write_pack
from adcopilot_edge.runtime.golden_packs import GoldenPacks


def inspect(inspector, golden, test, **options):
    return inspector.inspect(golden, test, task="all", ask="Why?", max_new_tokens=6, **options)


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
