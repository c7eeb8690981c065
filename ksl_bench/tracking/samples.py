"""Some sentences of an evaluation as a table that MLflow's pages show."""

from __future__ import annotations

import json

SAMPLES_FILE = "samples.json"
SHOWN_AS_TABLE = json.dumps([{"path": SAMPLES_FILE, "type": "table"}])
"""Of the tag mlflow.loggedArtifacts, by which the pages know a table."""
SENTENCES = 20
"""The first ones: the same in every run of a suite, so that runs can be read side by side."""
LONGEST = 500
"""Characters of a cell; an output that never stops fills its table otherwise."""


def sample_table(outputs: bytes, rule: str) -> bytes:
    """Return the table in the format of MLflow's `log_table`.

    It is not written by `log_table`: that appends to a table that is there, and a sync that was broken off
    would leave its sentences twice.

    Args:
        outputs: A JSON line an example.
        rule: The extraction rule whose reading is the hypothesis.
    """
    # Not splitlines(): JSON leaves U+2028 and others as they are, and it would end a line at each.
    lines = [
        json.loads(line) for line in outputs.decode().split("\n", SENTENCES)[:SENTENCES] if line
    ]
    asked = "source" if lines and "source" in lines[0] else "text"
    columns = {"source": asked, "reference": "reference", "hypothesis": rule, "output": "output"}
    data = [[_cell(line.get(field, "")) for field in columns.values()] for line in lines]
    return json.dumps({"columns": list(columns), "data": data}, ensure_ascii=False).encode()


def _cell(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
