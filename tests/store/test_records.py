"""A record notices whatever happens to it: no flipped bit goes by as another result."""

import json
from hashlib import sha256

import pytest

from ksl_bench.store.records import is_record, parse_object, render_object, render_record

KEY = "0123456789abcdef0123"
RECORD = {
    "schema": 3,
    "kind": "evaluation",
    "key": KEY,
    "status": "finished",
    "reason": None,
    "scores": {"raw": {"bleu": {"value": 61.25, "low": float("nan"), "signature": "13a"}}},
    "by_seed": {1: 2.5, 10: 3.5, 2: 1e-300},
    "sizes": (1, 2, 3),
    "text": "çä\u2028",
    "files": {"outputs.jsonl": {"sha256": "0" * 64, "bytes": 12}},
}


def read(content: bytes) -> dict | None:
    record = parse_object(content)
    return record if record is not None and is_record(record, content, "evaluation", KEY) else None


def test_a_sealed_record_is_read_again():
    record = read(render_record(RECORD))
    assert record is not None
    assert record["scores"]["raw"]["bleu"]["value"] == 61.25
    assert record["by_seed"] == {"1": 2.5, "10": 3.5, "2": 1e-300}


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_changes_what_is_read(bit):
    content = render_record(RECORD)
    whole = read(content)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        found = read(bytes(flipped))
        assert found is None or found == whole, flipped[place - 20 : place + 20]


def test_one_cut_short_is_none():
    content = render_record(RECORD)
    assert all(read(content[:length]) is None for length in range(len(content) - 1))


def test_the_seal_is_the_digest_of_the_text_below_it():
    first, second, below = render_record(RECORD).split(b"\n", 2)
    assert (first, second) == (b"{", f'  "digest": "{sha256(below).hexdigest()}",'.encode())


def test_sealing_again_changes_nothing():
    assert render_record(read(render_record(RECORD)) or {}) == render_record(RECORD)


def test_a_seal_of_another_record_is_none():
    content, other = render_record(RECORD), render_record({**RECORD, "reason": "another"})
    seal = len(b'{\n  "digest": "",\n') + 64
    assert read(other[:seal] + content[seal:]) is None


def test_a_record_from_before_there_were_seals_is_read():
    assert read(render_object({**RECORD, "schema": 1})) is not None


@pytest.mark.parametrize(("value", "whole"), [(61.25, True), (61.5, False)])
def test_a_record_sealed_by_what_it_says_is_read_unless_it_says_something_else(value, whole):
    said = {**RECORD, "schema": 2, "scores": 61.25, "by_seed": {}}
    digest = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    assert (read(render_object({**said, "scores": value, "digest": digest})) is not None) is whole
