"""Which goldens of a product are in use, as values: revisions, approvals, the way back."""

from __future__ import annotations

import pytest

from adcopilot_edge.errors import GoldenError, UnknownNameError
from adcopilot_edge.runtime.daemon.golden_revisions import Shelf, StoredGolden


def golden(letter):
    return StoredGolden(
        sha256=letter * 64,
        file=f"{letter}.png",
        width=32,
        height=32,
        added_at=0.0,
        added_by="ann",
        origin="upload",
    )


A, B, C = map(golden, "abc")


@pytest.fixture
def shelf():
    return Shelf().following((A,), 1.0)


def used(shelf):
    return [shelf.golden(name).sha256[0] for name in shelf.current.goldens]


def test_the_station_file_is_revision_0(shelf):
    assert (shelf.in_use, used(shelf), shelf.current.made_by) == (0, ["a"], "station file")
    assert shelf.current.parent is None


def test_the_same_list_changes_nothing(shelf):
    assert shelf.following((A, A), 2.0) is shelf


def test_an_added_golden_waits_and_an_approved_one_is_in_use(shelf):
    added = shelf.adding(B)
    assert (used(added), added.state_of(B.id)) == (["a"], "pending")
    approved = added.approving(B.id, "eve", 2.0)
    assert (approved.in_use, used(approved), approved.pending) == (1, ["a", "b"], ())
    assert (approved.current.made_by, approved.current.parent) == ("eve", 0)


def test_added_twice_is_added_once(shelf):
    added = shelf.adding(B)
    assert added.adding(B) is added
    with pytest.raises(GoldenError, match="in use already"):
        shelf.adding(A)


def test_back_is_the_revision_that_this_one_was_made_of(shelf):
    second = shelf.adding(B).approving(B.id, "eve", 2.0)
    back = second.rolling_back()
    assert (back.in_use, used(back), back.state_of(B.id)) == (0, ["a"], "retired")
    third = back.adding(C).approving(C.id, "eve", 3.0)
    assert (third.in_use, used(third), third.current.parent) == (2, ["a", "c"], 0)
    assert used(third.rolling_back()) == ["a"]
    with pytest.raises(GoldenError, match="revision 0 is the first"):
        back.rolling_back()


def test_a_retired_golden_can_be_approved_again(shelf):
    back = shelf.adding(B).approving(B.id, "eve", 2.0).rolling_back()
    again = back.approving(B.id, "eve", 3.0)
    assert (again.in_use, used(again)) == (2, ["a", "b"])


def test_no_way_back_to_a_product_without_goldens():
    shelf = Shelf().following((), 1.0).adding(A).approving(A.id, "eve", 2.0)
    with pytest.raises(GoldenError, match="revision 0 has no goldens"):
        shelf.rolling_back()


def test_another_station_file_keeps_what_was_approved(shelf):
    approved = shelf.adding(B).approving(B.id, "eve", 2.0)
    other = approved.following((C,), 3.0)
    assert (used(other), other.state_of(A.id)) == (["c", "b"], "retired")
    assert (other.in_use, other.current.parent) == (2, 1)


def test_a_pending_golden_that_the_file_lists_is_in_use(shelf):
    other = shelf.adding(B).following((A, B), 2.0)
    assert (used(other), other.pending) == (["a", "b"], ())


def test_only_pending_goldens_go(shelf):
    added = shelf.adding(B)
    assert added.discarding(B.id) == shelf
    with pytest.raises(GoldenError, match="in use; only what is pending"):
        added.discarding(A.id)
    back = added.approving(B.id, "eve", 2.0).rolling_back()
    with pytest.raises(GoldenError, match="retired"):
        back.discarding(B.id)
    assert B in back.adding(B).discarding(B.id).stored  # a revision has it


@pytest.mark.parametrize("change", ["approving", "discarding"])
def test_unknown_goldens(shelf, change):
    words = ("eve", 2.0) if change == "approving" else ()
    with pytest.raises(UnknownNameError, match="no golden 'dddd'"):
        getattr(shelf, change)("dddd", *words)


def test_unknown_revision(shelf):
    with pytest.raises(UnknownNameError, match="no revision 1 of the goldens; the last is 0"):
        shelf.revision(1)


def test_it_comes_back_from_json(shelf):
    full = shelf.adding(B).approving(B.id, "eve", 2.0).adding(C)
    assert Shelf.model_validate(full.model_dump(mode="json")) == full


def test_not_too_many_wait(shelf):
    for number in range(64):
        other = golden("b").model_copy(update={"sha256": f"{number:064x}"[::-1]})
        shelf = shelf.adding(other)
    with pytest.raises(GoldenError, match="64 goldens of this product wait for approval"):
        shelf.adding(C)
