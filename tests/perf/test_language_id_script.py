"""The measurement of language identification counts what it says."""

import json
import os
import subprocess
import sys

from tests.conftest import REPOSITORY

TEXTS = {
    "eng": "This is a sentence in plain English.\n\nThe house of my brother is old.\n",
    "cat": "Aquesta és una frase en català.\nAixò no ho havia vist mai, i tu tampoc.\n",
    "spa": "Esta es una frase en español.\nThe house of my brother is old.\n",
    "dan": "Det her er en sætning på dansk.\nHuset er gammelt, og døren er rød.\n",
}


def measure(folder):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "perf/language_id.py", str(folder), "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def test_lines_of_another_language_are_wrong_and_blank_ones_are_none(tmp_path):
    for language, text in TEXTS.items():
        (tmp_path / f"text.{language}").write_text(text, encoding="utf-8")
    done = measure(tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [one["candidates"] for one in rows][:2] == [4, 12]
    assert rows[0]["lines"] == {"eng": 2, "cat": 2, "spa": 2, "dan": 2}
    assert rows[0]["wrong"] == {"eng": 0, "cat": 0, "spa": 1, "dan": 0}


def test_a_folder_without_a_language_is_refused_in_a_line(tmp_path):
    done = measure(tmp_path)
    assert done.returncode == 2
    assert "must hold one file *.eng" in done.stderr.strip().split("\n")[-1]
