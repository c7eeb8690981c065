"""`ticket show`, `compare`, `merge`, `apply`, `export` and `translate` as a user meets them."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ksl_bench.lottery.ticket import Ticket
from ksl_bench.training.engine import import_deepspeed


@pytest.fixture
def files(tiny_ticket, tmp_path):
    """Tickets of the shipped base, and files that are none."""
    tiny_ticket([262, 5, 17, 300]).save(tmp_path / "a.safetensors")
    tiny_ticket([5, 262, 17, 9]).save(tmp_path / "b.safetensors")
    tiny_ticket(list(range(260, 1000))).save(tmp_path / "words.safetensors")
    tiny_ticket([30], carries="none").save(tmp_path / "names.safetensors")
    tiny_ticket([5], tensor="output_head").save(tmp_path / "head.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    (tmp_path / "edited.safetensors").write_bytes(whole.replace(b"tiny-base", b"tiny-bass"))
    (tmp_path / "text.safetensors").write_text("no ticket")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    return tmp_path


def test_show_prints_rows_and_where_they_come_from(ksl, files):
    done = ksl("ticket", "show", "a.safetensors", cwd=files)
    assert done.returncode == 0
    size = f"{(files / 'a.safetensors').stat().st_size:,} bytes"
    for one in ("tiny-base, input_embedding", "ks", "transferred", size, "262", "0.5000", "1e-05"):
        assert one in done.stdout
    assert "p ranks the rows and tests nothing" in done.stdout
    assert "template" not in done.stdout  # nothing is known of it


def test_show_json_is_the_header(ksl, files):
    shown = json.loads(ksl("ticket", "show", "a.safetensors", "--json", cwd=files).stdout)
    assert shown == Ticket.load(files / "a.safetensors").header()
    assert [row["token_id"] for row in shown["rows"]] == [262, 5, 17, 300]


def test_compare_tells_overlap_order_and_ceiling(ksl, files):
    arguments = ["ticket", "compare", "a.safetensors", "b.safetensors", "--k", "2", "--k", "4"]
    seeds = ["--seeds", "a.safetensors", "--seeds", "b.safetensors"]
    (pair,) = json.loads(ksl(*arguments, "--json", cwd=files).stdout)
    assert [(one["k"], one["shared"]) for one in pair["overlaps"]] == [(2, 2), (4, 3)]
    assert pair["spearman"] == pytest.approx(0.5)  # 1 2 3 against 2 1 3
    table = ksl(*arguments, *seeds, cwd=files).stdout
    assert "100 %" in table
    assert "0.60" in table  # three rows of five
    assert "seed ceiling" not in ksl(*arguments, cwd=files).stdout


def test_merge_writes_a_ticket(ksl, files):
    pair = ["a.safetensors", "b.safetensors"]
    refused = ksl("ticket", "merge", *pair, "--output", "m.safetensors", cwd=files)
    assert refused.returncode == 2
    assert "rows 262, 5 have different values" in refused.stderr
    done = ksl(
        "ticket", "merge", *pair, "--output", "m.safetensors", "--on-conflict", "last", cwd=files
    )
    assert done.returncode == 0, done.stderr
    assert Ticket.load(files / "m.safetensors").token_ids == [262, 5, 17, 300, 9]
    assert "5 rows from 4 + 4" in done.stdout


def test_apply_and_export_write_folders(ksl, files):
    # On its first import DeepSpeed tries a linker; that one is silenced only where stderr is a real file.
    import_deepspeed()
    arguments = ["a.safetensors", "--model", "tiny-base", "--output"]
    done = ksl("ticket", "apply", *arguments, "new", cwd=files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "new: tiny-base with 4 rows of its input_embedding replaced\n"
    done = ksl("ticket", "export", *arguments, "adapter", "--format", "peft", cwd=files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("adapter: a PEFT adapter of 4 rows, ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("show none.safetensors", "none.safetensors: cannot be read: No such file"),
        ("show full", "full: cannot be read: Is a directory"),
        ("show text.safetensors", "text.safetensors: not a whole ticket file"),
        ("show cut.safetensors", "cut.safetensors: not a whole ticket file"),
        ("show edited.safetensors", "edited.safetensors: its content is not what its digest says"),
        ("show", "Missing argument"),
        ("compare a.safetensors", "at least two tickets, got 1"),
        ("compare a.safetensors head.safetensors", "a.safetensors is for the input_embedding of"),
        ("compare a.safetensors b.safetensors --k 9", "k: must be <= 4 (the rows of a.safetensors)"),
        ("merge a.safetensors head.safetensors --output m", "head.safetensors for the output_head"),
        ("merge a.safetensors names.safetensors --output m", "names.safetensors has values: none"),
        ("merge a.safetensors b.safetensors --output b.safetensors", "exists and is not overwritten"),
        ("merge a.safetensors b.safetensors --output m --on-conflict best", "'best' is not one of"),
        ("apply names.safetensors --model tiny-base --output new", "carries no values"),
        ("apply a.safetensors --model tiny-base --output full", "full exists and is not overwritten"),
        ("apply a.safetensors --model tiny-base --output no/new", "no such folder: no"),
        ("apply a.safetensors --model ./full --output new", "model: './full' is no model folder"),
        ("export a.safetensors --model tiny-base --output new --format onnx", "'onnx' is not one of"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_a_problem_and_nothing_is_written(ksl, files, arguments, said):
    before = sorted(files.rglob("*"))
    done = ksl("ticket", *arguments.split(), cwd=files)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), done.stderr
    assert said in lines[0]
    assert sorted(files.rglob("*")) == before


def test_translate_reads_lines_and_writes_lines(ksl, files, monkeypatch):
    given = b"The dog sees a cat.\n\nThe cat sees a dog.\n"

    def translated(*options):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        return ksl("translate", "--max-new-tokens", "16", *options, cwd=files)

    done = translated()
    assert (done.returncode, done.stderr) == (0, "")
    first, empty, second = done.stdout.removesuffix("\n").split("\n")
    assert (first.startswith("El gos"), empty, second.startswith("El gat")) == (True, "", True)
    changed = translated("--ticket", "words.safetensors")
    assert changed.returncode == 0
    assert changed.stdout != done.stdout
    assert translated("--ticket", "names.safetensors").returncode == 2


@pytest.mark.slow
def test_translate_stops_quietly_when_nobody_reads(tmp_path):
    (tmp_path / "in").write_text("The dog sees a cat.\n" * 3000)
    command = f"{sys.executable} -m ksl_bench.cli translate --max-new-tokens 2 < in | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["show", "compare", "merge", "apply", "export", ""])
def test_every_command_has_a_help_page(ksl, command):
    done = ksl("ticket", *filter(None, [command]), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
