"""Tickets and their file: what comes back, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.selection import Selection
from ksl_bench.lottery.ticket import Ticket, TicketRow, matrix_digest, rows_of

IDS = [29871, 13, 263]
VALUES = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7


def ticket(**changes: object) -> Ticket:
    fields: dict[str, object] = {
        "base_model": "meta/llama",
        "revision": "abc",
        "base_digest": "0123456789ab" + "0" * 52,
        "tokenizer_digest": "f" * 64,
        "tensor": "input_embedding",
        "criterion": "ks",
        "alpha": None,
        "k": 3,
        "source_state": "key",
        "values": "transferred",
        "rows": (
            TicketRow(29871, "▁", 0.1 + 0.2, 3.3e-301, 1.5),
            TicketRow(13, '<0x0A>"\\\u2028', 0.25, 5e-324, 0.1),
            TicketRow(263, "▁a", 1.0, 0.0, 1e300),
        ),
        "row_values": VALUES,
    }
    return Ticket(**(fields | changes))  # type: ignore[arg-type]


def tampered(header: dict | str, tensors: dict[str, Tensor]) -> bytes:
    """Return a file whose digest is right for whatever it holds, made without the code under test."""
    text = header if isinstance(header, str) else json.dumps(header, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        one = tensors[name]
        digest.update(f"\n{name} {one.dtype} {list(one.shape)}\n".encode())
        digest.update(one.numpy().tobytes())
    return save(tensors, metadata={"ticket": text, "digest": digest.hexdigest()})


def tensors() -> dict[str, Tensor]:
    return {"token_ids": torch.tensor(IDS), "values": VALUES.clone()}


def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path):
    saved = ticket()
    saved.save(tmp_path / "one.safetensors")
    found = Ticket.load(tmp_path / "one.safetensors")
    assert found.header() == saved.header()
    assert found.rows == saved.rows
    assert found.token_ids == IDS
    assert torch.equal(found.row_values, VALUES)
    assert [one.name for one in tmp_path.iterdir()] == ["one.safetensors"]


@pytest.mark.parametrize("values", ["none", "transferred", "trained"])
def test_each_kind_of_values_comes_back(values):
    carried = None if values == "none" else VALUES
    found = Ticket.from_bytes(ticket(values=values, row_values=carried).to_bytes())
    assert found.values == values
    assert (found.row_values is None) == (values == "none")


def test_rows_without_a_tuned_state_come_back():
    rows = tuple(TicketRow(one, "x", None, None, None) for one in IDS)
    saved = ticket(
        rows=rows, criterion="frequency", revision=None, tokenizer_digest=None, source_state=None
    )
    assert Ticket.from_bytes(saved.to_bytes()).header() == saved.header()


def test_the_file_is_plain_safetensors_with_a_json_header(tmp_path: Path):
    ticket().save(tmp_path / "one.safetensors")
    with safe_open(tmp_path / "one.safetensors", "np") as file:
        header = json.loads(file.metadata()["ticket"])
        assert sorted(file.keys()) == ["token_ids", "values"]
        ids, values = file.get_tensor("token_ids"), file.get_tensor("values")
    assert (ids.dtype, ids.tolist()) == (np.int64, IDS)
    assert (values.dtype, values.shape) == (np.float32, (3, 4))
    assert header["schema"] == 1
    assert [row["token_id"] for row in header["rows"]] == IDS
    assert set(header["rows"][0]) == {"token_id", "token", "D", "p", "l2", "count", "template"}
    assert header == ticket().header()


def test_equal_tickets_have_equal_bytes():
    assert ticket().to_bytes() == Ticket.from_bytes(ticket().to_bytes()).to_bytes()


def test_a_ticket_of_eighteen_rows_takes_kilobytes():
    rows = tuple(TicketRow(one, f"▁token{one}", 0.1234567, 1e-17 / 3, 0.123) for one in range(18))
    small = ticket(rows=rows, k=18, values="none", row_values=None)
    assert len(small.to_bytes()) < 8 * 1024


def test_trained_parameters_in_half_precision_are_kept_as_float32():
    found = Ticket.from_bytes(ticket(row_values=torch.nn.Parameter(VALUES.bfloat16())).to_bytes())
    assert torch.equal(found.row_values, VALUES.bfloat16().float())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 4}, r"a ticket of k=4 must name as many distinct rows.*got 3: \[29871, 13, 263\]"),
        ({"k": 0, "rows": ()}, "at least one, got 0"),
        ({"rows": (TicketRow(1, "", None, None, None),) * 3}, "distinct"),
        ({"rows": tuple(TicketRow(one, "", None, None, None) for one in (1, -1, 2))}, "distinct"),
        ({"row_values": None}, "values: transferred carries no rows"),
        ({"values": "none"}, "values: none carries rows"),
        ({"row_values": VALUES[:2]}, r"must carry a matrix of 3 rows, got \(2, 4\)"),
        ({"row_values": VALUES[:, 0]}, r"must carry a matrix of 3 rows, got \(3,\)"),
        ({"row_values": VALUES / 0}, "not finite"),
    ],
)
def test_parts_that_disagree_are_refused(changes, message):
    with pytest.raises(TicketError, match=message):
        ticket(**changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_not_written(value):
    rows = (replace(ticket().rows[0], l2=value), *ticket().rows[1:])
    with pytest.raises(TicketError, match="must be finite"):
        ticket(rows=rows).to_bytes()


def test_text_that_is_no_unicode_is_not_written():
    rows = (replace(ticket().rows[0], token="\ud800"), *ticket().rows[1:])
    with pytest.raises(TicketError, match="must be Unicode"):
        ticket(rows=rows).to_bytes()


def test_a_file_cut_anywhere_is_refused_in_one_line():
    data = ticket().to_bytes()
    for length in [*range(0, len(data), 7), len(data) - 1]:
        with pytest.raises(TicketError, match="not a whole ticket file") as caught:
            Ticket.from_bytes(data[:length])
        assert "\n" not in str(caught.value)


def test_a_changed_byte_anywhere_is_refused():
    data = ticket().to_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(TicketError):
            Ticket.from_bytes(bytes(changed))


def test_noise_is_refused_in_one_line():
    draw = random.Random(0)
    for _ in range(300):
        noise = draw.randbytes(draw.randrange(64))
        for data in (noise, struct.pack("<Q", len(noise)) + noise):
            with pytest.raises(TicketError) as caught:
                Ticket.from_bytes(data)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2; this version reads 1"),
        ({"schema": None}, "schema None; this version reads 1"),
        ({"k": "3"}, "its header is not a ticket's: k: Input should be a valid integer"),
        ({"k": 2}, "a ticket of k=2"),
        ({"values": "stolen"}, "values: Input should be 'none', 'transferred' or 'trained'"),
        ({"values": "none"}, "values: none carries rows"),
        ({"alpha": 1.5}, "alpha: Input should be less than or equal to 1"),
        ({"base_digest": None}, "base_digest"),
        ({"extra": 1}, "extra: Unexpected keyword argument"),
        ({"rows": []}, "name different rows"),
        ({"rows": "abc"}, "rows: Input should be a valid"),
        ({"rows": [{"token_id": 1}]}, "rows.0.token: "),
    ],
)
def test_a_header_that_is_no_tickets_is_refused_though_its_digest_is_right(changes, message):
    header = ticket().header() | changes
    with pytest.raises(TicketError, match=message) as caught:
        Ticket.from_bytes(tampered(header, tensors()), name="some.safetensors")
    assert str(caught.value).startswith("some.safetensors: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("token_id", -1), ("token_id", 1.0), ("token_id", True), ("D", 1.1), ("p", -0.1), ("l2", -1)],
)
def test_a_row_with_an_impossible_number_is_refused(field, value):
    header = ticket().header()
    header["rows"][1][field] = value
    with pytest.raises(TicketError, match=f"rows.1.{field}"):
        Ticket.from_bytes(tampered(header, tensors()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_ids": torch.tensor([29871, 13, 264])}, "name different rows"),
        ({"token_ids": torch.tensor(IDS[::-1])}, "name different rows"),
        ({"token_ids": torch.tensor(IDS, dtype=torch.int32)}, "name different rows"),
        ({"values": VALUES.double()}, "holds more than"),
        ({"values": VALUES[:2].clone()}, "must carry a matrix of 3 rows"),
        ({"values": VALUES / 0}, "not finite"),
        ({"more": torch.zeros(1)}, "holds more than"),
    ],
)
def test_tensors_that_disagree_with_the_header_are_refused(changes, message):
    with pytest.raises(TicketError, match=message):
        Ticket.from_bytes(tampered(ticket().header(), tensors() | changes))
    without = tensors()
    del without["token_ids"]
    with pytest.raises(TicketError, match="name different rows"):
        Ticket.from_bytes(tampered(ticket().header(), without))


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", "{", "[" * 100_000, '{"schema": 1}', '{"schema": NaN}']
)
def test_json_that_is_no_header_is_refused(text):
    with pytest.raises(TicketError) as caught:
        Ticket.from_bytes(tampered(text, tensors()))
    assert "\n" not in str(caught.value)


def test_another_safetensors_file_is_no_ticket():
    with pytest.raises(TicketError, match="not a whole ticket file: no 'ticket' in it"):
        Ticket.from_bytes(save({"weight": VALUES}))


def test_a_header_beyond_its_bound_is_neither_written_nor_read(monkeypatch):
    data = ticket().to_bytes()
    monkeypatch.setattr("ksl_bench.lottery.ticket_file.MAX_HEADER_BYTES", 100)
    with pytest.raises(TicketError, match="bytes is more than 100"):
        ticket().to_bytes()
    with pytest.raises(TicketError, match="bytes is more than 100"):
        Ticket.from_bytes(data)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    path = tmp_path / "missing" / "one.safetensors"
    with pytest.raises(TicketError, match=r"one\.safetensors: cannot be read: No such file"):
        Ticket.load(path)
    with pytest.raises(TicketError, match=r"one\.safetensors: cannot be written: No such file"):
        ticket().save(path)


def test_another_base_or_tokenizer_is_refused_and_both_are_named():
    one = ticket()
    same = {"base_digest": one.base_digest, "tokenizer_digest": one.tokenizer_digest}
    one.check_base(**same)
    one.check_base(**(same | {"tokenizer_digest": None}))
    ticket(tokenizer_digest=None).check_base(**same)
    with pytest.raises(TicketError, match=r"'meta/llama' at abc .*0123456789ab.*eeeeeeeeeeee"):
        one.check_base(**(same | {"base_digest": "e" * 64}))
    with pytest.raises(TicketError, match=r"tokenizer of 'meta/llama'.*ffffffffffff.*dddddddddddd"):
        one.check_base(**(same | {"tokenizer_digest": "d" * 64}))


def test_the_digest_of_a_matrix_is_that_of_its_shape_and_float32_bytes():
    expected = hashlib.sha256(b"[3, 4]" + struct.pack("<12f", *VALUES.flatten().tolist()))
    assert matrix_digest(VALUES) == expected.hexdigest()
    assert matrix_digest(torch.nn.Parameter(VALUES.T.contiguous().T)) == expected.hexdigest()
    assert matrix_digest(VALUES.reshape(4, 3)) != expected.hexdigest()
    half = VALUES.bfloat16()
    assert matrix_digest(half) == matrix_digest(half.float())
    assert matrix_digest(torch.tensor([[0.0]])) != matrix_digest(torch.tensor([[-0.0]]))


def test_rows_take_the_tokens_text_where_there_is_one():
    selection = Selection(
        [5, 900], [0.5, 0.25], [0.01, 0.2], [1.0, 2.0], [7, 0], [True, False], None
    )
    assert rows_of(selection, lambda ids: ["▁a" if one == 5 else None for one in ids]) == (
        TicketRow(5, "▁a", 0.5, 0.01, 1.0, 7, True),
        TicketRow(900, "", 0.25, 0.2, 2.0, 0, False),
    )
    bare = Selection([5], None, None, None, None, None, None)
    assert rows_of(bare, lambda ids: ["x"]) == (TicketRow(5, "x", None, None, None),)
