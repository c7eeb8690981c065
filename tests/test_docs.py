"""Pages hold what the stored boards say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "docs/tables.py"


def test_the_tables_of_results_are_those_of_the_stored_boards():
    done = subprocess.run([sys.executable, TABLES, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_table_is_noticed(tmp_path):
    pages = [f"docs/{one.name}" for one in (ROOT / "docs").glob("*.md")]
    for name in ("README.md", "docs/tables.py", *pages):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "docs/results").mkdir()
    for path in (ROOT / "docs/results").glob("*.json"):
        (tmp_path / "docs/results" / path.name).write_text(path.read_text())
    stored = tmp_path / "docs/results/quickstart.json"
    rows = json.loads(stored.read_text())
    rows[1]["scores"]["raw"]["bleu"]["value"] += 1
    stored.write_text(json.dumps(rows))
    line = [sys.executable, tmp_path / "docs/tables.py"]
    done = subprocess.run([*line, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "README.md")
    subprocess.run(line, check=True, capture_output=True)
    assert subprocess.run([*line, "--check"], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "page", ["README.md", "docs/controls.md", "docs/directions.md", "docs/detection.md"]
)
def test_every_page_with_tables_has_some(page):
    assert "<!-- table: " in (ROOT / page).read_text()
