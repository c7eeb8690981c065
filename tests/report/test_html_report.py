"""The report as a file: complete, and believing nothing that it is told."""

import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from ksl_bench.leaderboard import as_json
from ksl_bench.report import as_html
from ksl_bench.report.cells import Cell, Column, Line, Table
from ksl_bench.store import Store

EVIL = "</script></style><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>"
NAMED = "full <b onclick='alert(1)'>&"
REASON = "diverged at <script>alert(2)</script>"


class Page(HTMLParser):
    """Elements with their attributes, and the text of all of them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(bench):
    return as_html(bench.whole, bench.store)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_what_models_and_recipes_say_is_text(text, page):
    assert "alert(1)" in text  # it is there, as text
    assert len(page.named("script")) == 1
    assert len(page.named("style")) == 1
    assert page.named("img") == []
    assert page.named("b") == []
    assert not [one for _, one in page.elements if any(name.startswith("on") for name in one)]
    for said in (EVIL, NAMED, REASON):
        assert said not in text
        assert said in page.text


def test_nothing_is_fetched(page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert value.startswith("#") or value in ("", "data:,"), (tag, value)
        assert "style" not in attributes


def test_a_policy_lets_in_the_reports_own_script_alone(text, page):
    import base64
    import hashlib

    policy = next(one["content"] for one in page.named("meta") if "http-equiv" in one)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_numbers_are_those_of_the_json_unrounded(bench, page):
    shown = {one["data-value"] for one in page.named("td") if "data-value" in one}
    for row in json.loads(as_json(bench.whole)):
        if row["scores"] is None:
            continue
        for rule, metrics in row["scores"].items():
            for metric, score in metrics.items():
                assert str(score["value"]) in shown
                assert all(str(one) in shown for one in score["by_seed"].values())
                if row["gains"]:
                    assert str(row["gains"][rule][metric]["value"]) in shown
        assert str(row["cost"]["total_device_hours"]) in shown


def test_every_verdict_is_there(bench, page):
    said = re.sub(r"\s+", " ", page.text)
    assert len(bench.whole.verdicts) > 10
    for verdict in bench.whole.verdicts:
        assert verdict.text in said
        assert f"{verdict.baseline} {verdict.brief}" in said


def test_rows_that_failed_are_there_with_their_reason(bench, page):
    said = re.sub(r"\s+", " ", page.text)
    assert "lora (one): diverged: " + REASON in said
    assert said.count(REASON) >= 4  # notes, results, bill, its own section


def test_every_row_has_a_section_that_its_name_links_to(bench, page):
    anchors = {one.get("id") for _, one in page.elements}
    links = {one["href"][1:] for one in page.named("a")}
    assert {f"row-{place}" for place in range(1, len(bench.whole.rows) + 1)} <= links <= anchors


def test_ids_are_distinct(page):
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(set(ids)) == len(ids)


def test_examples_are_side_by_side_and_say_their_language(page):
    assert "20 of 40 sentences" in page.text
    assert {"en", "ca"} <= {one.get("lang") for one in page.named("td")}


def test_a_row_tells_where_it_comes_from(page):
    for said in ("2026-01-02T03:04:05Z", "c0ffee", "d1" * 32, "nrefs:1|", "200 resamples"):
        assert said in page.text.replace("resamples 200", "200 resamples")


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_heads_with_a_scope(page):
    assert len(page.named("table")) == len(page.named("caption"))
    assert all(one.get("scope") in ("col", "row") for one in page.named("th"))


def test_a_board_without_any_score_is_a_report_all_the_same(empty):
    page = Page(as_html(empty.whole, empty.store))
    assert "0 of 1 rows are finished; 1 is not" in page.text
    assert REASON in page.text
    assert page.named("figure") == []


def test_outputs_that_are_gone_leave_the_scores(bare, tmp_path):
    import shutil

    shutil.copytree(bare.store.root, tmp_path / "copy")
    for one in (tmp_path / "copy").rglob("outputs.jsonl"):
        one.unlink()
    page = Page(as_html(bare.whole, Store(str(tmp_path / "copy"))))
    assert "Source, reference" not in page.text
    assert "Scores under every rule" in page.text


def test_a_suite_that_is_not_shipped_is_repeated_from_its_file(text):
    assert "ksl-bench run mine.yaml --storage again" in html.unescape(text)


def test_heads_of_numbers_stand_over_them():
    table = Table(
        "some", [Column("name"), Column("score"), Column("money"), Column("status")],
        [
            Line([Cell("a", "a"), Cell("1.0", 1.0), Cell(""), Cell("finished", "finished")]),
            Line([Cell("b", "b"), Cell("failed", span=3)], finished=False),
        ],
    )  # fmt: skip
    assert [table.is_numeric(place) for place in range(4)] == [False, True, False, False]
