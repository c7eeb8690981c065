"""Pages hold what the stored boards say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "docs/tables.py"
PAGES = [
    str(one.relative_to(ROOT))
    for one in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "<!-- table: " in one.read_text()
]
"""All pages with generated tables."""
SCRIPTS = ("docs/tables.py", "docs/values.py", "docs/simulations.py")


def test_the_tables_of_results_are_those_of_the_stored_boards():
    done = subprocess.run([sys.executable, TABLES, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the pages and what writes them, whose stored boards may be changed."""
    for name in (*PAGES, *SCRIPTS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "docs/results").mkdir()
    for path in (ROOT / "docs/results").glob("*.json"):
        (tmp_path / "docs/results" / path.name).write_text(path.read_text())
    return tmp_path


def change(folder, suite, change_row):
    stored = folder / f"docs/results/{suite}.json"
    rows = json.loads(stored.read_text())
    change_row(rows)
    stored.write_text(json.dumps(rows))


def check(folder, *options):
    line = [sys.executable, folder / "docs/tables.py", *options]
    return subprocess.run(line, capture_output=True, text=True)


def test_a_stale_table_is_noticed(copy):
    def higher(rows):
        rows[1]["scores"]["raw"]["bleu"]["value"] += 1

    change(copy, "quickstart", higher)
    done = check(copy, "--check")
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "README.md")
    assert check(copy).returncode == 0
    assert check(copy, "--check").returncode == 0


def test_a_stale_number_in_a_sentence_is_noticed(copy):
    def other(rows):
        (row,) = (
            one
            for one in rows
            if one["baseline"] == "template_tokens" and one["condition"] == "response"
        )
        row["scores"]["raw"]["bleu"]["by_seed"]["0"] = 12.0  # stands in prose alone

    change(copy, "controls", other)
    done = check(copy, "--check")
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "docs/controls.md")
    check(copy)
    assert "12, 38 and 61" in (copy / "docs/controls.md").read_text()


def test_pages_with_tables_are_found():
    assert {"README.md", "docs/controls.md"} <= set(PAGES)


def test_a_stale_simulation_is_noticed(copy):
    stored = copy / "docs/results/coverage.json"
    report = json.loads(stored.read_text())
    report["coverage"][0]["paired"] = 91.2
    stored.write_text(json.dumps(report))
    done = check(copy, "--check")
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "docs/statistics.md")
    check(copy)
    assert "Ours covers 91.2 to" in (copy / "docs/statistics.md").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_no_interval_is_written_by_hand(page):
    text = (ROOT / page).read_text()
    for made in (
        r"<!-- table: .*?<!-- end of table -->",
        r"<!-- value: .*?<!-- end -->",
    ):
        text = re.sub(made, "", text, flags=re.S)
    assert re.findall(r"\[[+-]?\d+\.\d, [+-]?\d+\.\d\]", text) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_line_begins_with_a_value_which_markdown_would_take_as_html(page):
    assert not re.search(r"^\s*<!-- value", (ROOT / page).read_text(), flags=re.M)
