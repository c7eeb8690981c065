"""Which entries a mask keeps, against a sort of all of them at once."""

import numpy as np
import pytest
import torch

from ksl_bench.errors import TicketError
from ksl_bench.lottery.entries import (
    ENTRY_CRITERIA,
    EntryEvidence,
    kept_entries,
    pick_entries,
)

SHAPES = {"a": (7, 5), "b": (3, 11), "c": (4, 4)}


def vectors(seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in SHAPES.items()}


def evidence(changes, seed=0):
    return EntryEvidence(shapes=SHAPES, task_vector=changes.__getitem__, seed=seed)


def by_sorting(changes, keep):
    """Return the kept places by weight: one stable sort of every magnitude, the largest first."""
    whole = np.concatenate([one.numpy().ravel() for one in changes.values()])
    kept = np.sort(np.argsort(-np.abs(whole), kind="stable")[:keep])
    found, start = {}, 0
    for name, one in changes.items():
        inside = kept[(kept >= start) & (kept < start + one.numel())] - start
        if len(inside):
            found[name] = inside.tolist()
        start += one.numel()
    return found


@pytest.mark.parametrize("sparsity", [0.012, 0.3, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("seed", range(5))
def test_the_kept_entries_are_the_global_top_of_the_task_vector(seed, sparsity):
    changes = vectors(seed)
    found = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=sparsity)
    keep = round((1 - sparsity) * (35 + 33 + 16))
    assert {name: one.tolist() for name, one in found.items()} == by_sorting(changes, keep)
    assert sum(map(len, found.values())) == keep


@pytest.mark.parametrize("keep", [1, 5, 30, 60])
def test_ties_go_to_the_first_weight_and_the_first_place(keep):
    draw = torch.Generator().manual_seed(1)
    changes = {
        name: torch.randint(1, 4, shape, generator=draw).float() * 1e-6
        for name, shape in SHAPES.items()
    }
    sparsity = 1 - keep / 84
    found = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=sparsity)
    assert {name: one.tolist() for name, one in found.items()} == by_sorting(changes, keep)


def test_values_that_differ_in_their_last_bit_are_told_apart():
    near = torch.full(SHAPES["a"], 1.0)
    near[3, 2] = float(np.nextafter(np.float32(1), np.float32(2)))
    changes = {**vectors(), "a": near, "b": torch.zeros(SHAPES["b"]), "c": torch.zeros(SHAPES["c"])}
    found = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=1 - 1 / 84)
    assert {name: one.tolist() for name, one in found.items()} == {"a": [3 * 5 + 2]}


def test_a_weight_that_moved_more_keeps_more():
    changes = vectors()
    changes["b"] = changes["b"] * 100
    found = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.7)
    assert len(found["b"]) == round(0.3 * 84)
    assert found.keys() == {"b"}


def test_more_entries_than_moved_are_refused():
    changes = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    changes["c"][0, :3] = 1.0
    with pytest.raises(TicketError, match=r"sparsity=0\.9 keeps 8 entries, but only 3 moved"):
        pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_change_that_is_not_finite_is_refused(bad):
    changes = vectors()
    changes["b"][1, 1] = bad
    with pytest.raises(TicketError, match="the change of b is not finite"):
        pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.9)


def test_a_sparsity_that_keeps_nothing_is_refused():
    with pytest.raises(TicketError, match="keeps none of 84 entries"):
        pick_entries(ENTRY_CRITERIA["magnitude"], evidence(vectors()), sparsity=0.999)


def test_random_entries_are_as_many_follow_the_seed_and_fall_evenly():
    shapes = {"a": (200, 50), "b": (100, 100)}
    masks = [
        pick_entries(
            ENTRY_CRITERIA["random_entries"],
            EntryEvidence(shapes=shapes, task_vector=None, seed=seed),
            sparsity=0.9,
        )
        for seed in (0, 0, 1)
    ]
    same = [torch.equal(masks[0]["a"], one["a"]) for one in masks]
    assert same == [True, True, False]
    assert sum(map(len, masks[0].values())) == kept_entries([10_000, 10_000], 0.9) == 2000
    # Of 2,000 draws half fall on each weight; four standard deviations are 90.
    assert abs(len(masks[0]["a"]) - 1000) < 90
    assert masks[0]["a"].tolist() != masks[0]["b"].tolist()


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.95])
def test_excluded_entries_are_never_kept_and_the_next_largest_take_their_place(sparsity):
    changes = vectors(3)
    first = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.8)
    found = pick_entries(
        ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=sparsity, excluded=first
    )
    sizes = {name: np.abs(one.numpy().ravel()) for name, one in changes.items()}
    for name, places in first.items():
        sizes[name][places.numpy()] = -1
    left = {name: torch.from_numpy(one) for name, one in sizes.items()}
    whole = np.concatenate([one.numpy() for one in left.values()])
    keep = round((1 - sparsity) * 84)
    kept = np.sort(np.argsort(-whole, kind="stable")[:keep])
    starts = np.cumsum([0, *(len(one) for one in left.values())])
    places = [
        found[name].numpy() + start
        for name, start in zip(left, starts, strict=False)
        if name in found
    ]
    assert np.array_equal(np.concatenate(places), kept)


def test_more_entries_than_are_left_are_refused():
    changes = vectors()
    first = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.3)
    with pytest.raises(
        TicketError, match=r"sparsity=0\.5 keeps 42 entries, but earlier masks leave 25"
    ):
        pick_entries(ENTRY_CRITERIA["magnitude"], evidence(changes), sparsity=0.5, excluded=first)


def test_the_rest_is_the_complement():
    first = pick_entries(ENTRY_CRITERIA["magnitude"], evidence(vectors()), sparsity=0.9)
    rest = pick_entries(ENTRY_CRITERIA["rest"], evidence(vectors()), sparsity=None, excluded=first)
    for name, shape in SHAPES.items():
        none = torch.tensor([], dtype=torch.int64)
        both = torch.cat([first.get(name, none), rest.get(name, none)]).sort().values
        assert torch.equal(both, torch.arange(shape[0] * shape[1]))
    whole = pick_entries(ENTRY_CRITERIA["rest"], evidence(vectors()), sparsity=None)
    assert sum(map(len, whole.values())) == 84
