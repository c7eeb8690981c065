"""A mask's file: what goes in comes out, and nothing else does."""

import json

import pytest
import torch
from safetensors.torch import load, save

from ksl_bench.errors import TicketError
from ksl_bench.lottery.mask import Mask, read_selection
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.lottery.ticket_file import encode


@pytest.fixture
def mask():
    return Mask(
        base_model="tiny",
        revision="abc",
        base_digest="0" * 64,
        tensor="layers",
        criterion="magnitude",
        sparsity=0.75,
        source_state="1" * 20,
        shapes={"up": (4, 3), "down": (3, 4), "gate": (2, 2)},
        places={"up": torch.tensor([0, 5, 11]), "gate": torch.tensor([1])},
    )


def test_a_mask_survives_its_file_four_bytes_an_entry(mask):
    data = mask.to_bytes()
    found = read_selection(data)
    assert isinstance(found, Mask)
    assert found.header() == mask.header()
    assert {name: one.tolist() for name, one in found.places.items()} == {
        "up": [0, 5, 11],
        "gate": [1],
    }
    assert list(found.shapes) == ["up", "down", "gate"]  # the model's order, whatever JSON does
    assert {one.dtype for one in load(data).values()} == {torch.int32}
    assert (mask.entries, mask.header()["of"]) == (4, 28)


def test_a_ticket_of_rows_is_read_as_one(make_ticket):
    found = read_selection(make_ticket([3, 1]).to_bytes())
    assert isinstance(found, Ticket)
    assert found.token_ids == [3, 1]


def test_a_mask_is_refused_where_rows_are_wanted(mask):
    with pytest.raises(TicketError, match="its header is not a ticket's"):
        Ticket.from_bytes(mask.to_bytes())


def test_a_flipped_bit_is_noticed(mask):
    data = bytearray(mask.to_bytes())
    data[-1] ^= 1
    with pytest.raises(TicketError, match="its content is not what its digest says"):
        read_selection(bytes(data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entries": 5}, "counts other entries"),
        ({"of": 27}, "counts other entries"),
        ({"sparsity": "much"}, "its header is not a mask's: sparsity"),
        ({"shapes": [["up", [4, 3]]]}, "name different weights"),
        ({"more": 1}, "its header is not a mask's: more"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(mask, changes, said):
    tensors = load(mask.to_bytes())
    with pytest.raises(TicketError, match=said):
        read_selection(encode({**mask.header(), **changes}, tensors))


def test_values_in_place_of_places_are_refused(mask):
    tensors = {"up": torch.ones(3), "gate": torch.ones(1)}
    with pytest.raises(TicketError, match="holds more than places"):
        read_selection(encode(mask.header(), tensors))


@pytest.mark.parametrize("places", [[0, 0], [3, 1], [12], [-1], []])
def test_places_rise_and_lie_in_their_weight(mask, places):
    with pytest.raises(TicketError, match="must rise and lie in shape"):
        Mask(
            **{name: getattr(mask, name) for name in mask.__slots__ if name != "places"},
            places={"up": torch.tensor(places, dtype=torch.int64)},
        )


def test_another_base_is_refused(mask):
    mask.check_base("0" * 64)
    with pytest.raises(TicketError, match="the mask is for the layers of 'tiny'"):
        mask.check_base("2" * 64)


def test_it_is_no_pickle(mask):
    content = mask.to_bytes()
    assert save(load(content))[8:9] == b"{"
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
