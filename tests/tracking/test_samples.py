"""The table of sentences, from the lines of an evaluation."""

import json

import pytest

from ksl_bench.tracking.samples import sample_table


def lines_of(texts):
    lines = [
        json.dumps({"source": one, "reference": "r", "raw": "h", "output": "o"}, ensure_ascii=False)
        for one in texts
    ]
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_a_separator_within_a_text_ends_no_line(separator):
    table = json.loads(sample_table(lines_of([f"a{separator}b", "c"]), "raw"))
    assert table["data"] == [[f"a{separator}b", "r", "h", "o"], ["c", "r", "h", "o"]]


@pytest.mark.parametrize(("there", "shown"), [(0, 0), (19, 19), (20, 20), (21, 20)])
def test_no_more_than_twenty_are_shown(there, shown):
    table = json.loads(sample_table(lines_of(map(str, range(there))), "raw"))
    assert [row[0] for row in table["data"]] == [str(one) for one in range(shown)]
