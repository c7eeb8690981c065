"""The suite of many directions from one end to the other, small."""

import pytest

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import read_board
from ksl_bench.leaderboard.formats import as_markdown
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.report.html import as_html
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

SMALL = [
    "baselines=[base, lora]",
    "train.steps=2",
    "task.train_size=4",
    "task.devtest_size=2",
    "evaluate.bootstrap_samples=100",
    "evaluate.decoding.max_new_tokens=8",
]


def run(tmp_path, *assignments):
    suite = load_suite("directions", [*SMALL, *assignments])
    plan, store = make_plan(suite, find_model(suite.model)), Store(str(tmp_path))
    store.plans.write(suite.name, plan.record())
    assert Execution(plan, store).run(InProcessPool(plan, store)).complete
    return read_board(store, suite.name), store


@pytest.mark.slow
def test_twenty_directions_reach_the_board_and_the_report(tmp_path):
    board, store = run(tmp_path)
    base, lora = board.rows
    assert len(base["by_group"]["direction"]) == 20
    assert base["sentences"] == 40
    sizes = {name: len(one["directions"]) for name, one in lora["directions"]["buckets"].items()}
    assert sizes == {
        "supervised": 4,
        "zero_shot_pair": 2,
        "zero_shot_source": 6,
        "zero_shot_target": 6,
        "zero_shot_both": 2,
        "english_centric": 8,
        "not_english_centric": 12,
    }
    assert "zero-shot pair" in as_markdown(board)
    assert "Directions, lora" in as_html(board, store)


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_flores_folder_of_four_languages_gives_twelve_directions(tmp_path, shared_data):
    board, _ = run(
        tmp_path,
        "task.directions=[eng, cat, dan, spa]",
        "task.tuned_on=[eng, cat]",
        f"task.devtest_files={shared_data / 'flores101_devtest'}",
    )
    assert len(board.rows[0]["by_group"]["direction"]) == 12
    told = board.rows[0]["by_group"]["direction"]["eng-spa"]["first_line"]
    assert set(told) == {"bleu", "chrf", "off_target", "no_language"}


def test_languages_that_cannot_be_told_run_where_no_metric_asks(tmp_path):
    lines = {"eng": "one\ntwo\n", "zho_Hans": "一个\n两个\n", "zho_Hant": "一個\n兩個\n"}
    for split in ("train", "devtest"):
        for language, text in lines.items():
            mark = "." if split == "train" else "a."
            content = text.replace("\n", f"{mark}\n")
            (tmp_path / f"{split}.{language}").write_text(content, encoding="utf-8")
    files = {
        split: ", ".join(f"{one}: {tmp_path}/{split}.{one}" for one in lines)
        for split in ("train", "devtest")
    }
    board, _ = run(
        tmp_path / "store",
        "baselines=[base]",
        "seeds=[0]",
        "task.train_size=2",
        "task.directions=[eng, zho_Hans, zho_Hant]",
        "task.tuned_on=[eng, zho_Hans]",
        "evaluate.metrics=[chrf]",
        *(f"task.{split}_files={{{given}}}" for split, given in files.items()),
        f"task.dev_files={{{files['devtest']}}}",
    )
    assert board.rows[0]["scores"]["first_line"].keys() == {"chrf"}
    assert len(board.rows[0]["by_group"]["direction"]) == 6
