"""Figures: what is drawn, what is said of it, and that nothing is drawn of nothing."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from ksl_bench.leaderboard import read_board
from ksl_bench.leaderboard.board import Board
from ksl_bench.report import draw_figures
from ksl_bench.report.figures import scatter
from ksl_bench.report.figures.canvas import printable, styles
from ksl_bench.report.figures.directions import direction_maps
from ksl_bench.report.figures.losses import _running_mean
from ksl_bench.report.figures.scatter import abscissae, pareto
from ksl_bench.report.tokens import shown_tokens
from tests.boards import COST, Written


@pytest.fixture(scope="module")
def figures(bench):
    return {one.name: one for one in draw_figures(bench.whole, bench.store)}


def texts(figure):
    return [
        one.text for one in ElementTree.fromstring(figure.svg).iter() if one.tag.endswith("text")
    ]


def test_every_figure_is_drawn_where_its_data_are(figures):
    assert list(figures) == [
        *(f"figure-parameters-{one}" for one in ("one", "two")),
        *(f"figure-cost-{one}" for one in ("one", "two")),
        *(f"figure-gains-{one}" for one in ("one", "two")),
        *(f"figure-sizes-{one}" for one in ("one", "two")),
        "figure-tickets-4",
        next(name for name in figures if name.startswith("figure-transfer-ks")),
        *(f"figure-losses-{one}" for one in ("one", "two")),
    ]


def test_nothing_is_drawn_without_data(bare, empty):
    names = [one.name for one in draw_figures(bare.whole, bare.store)]
    assert names == [f"figure-{one}-default" for one in ("parameters", "cost", "gains", "losses")]
    assert list(draw_figures(empty.whole, empty.store)) == []


def test_figures_are_svg_with_a_name_and_a_text(figures):
    for figure in figures.values():
        root = ElementTree.fromstring(figure.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        title, text = list(root)[:2]
        assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], text.attrib["id"]]
        assert (title.text, text.text) == (figure.title, figure.alternative)
        assert figure.lines
        assert all(len(line) == len(figure.columns) for line in figure.lines)


def test_ids_are_distinct_over_all_figures_and_what_refers_to_them_exists(figures):
    ids, used = [], set()
    for figure in figures.values():
        for element in ElementTree.fromstring(figure.svg).iter():
            ids += [element.attrib["id"]] if "id" in element.attrib else []
            for value in element.attrib.values():
                used |= set(re.findall(r"url\(#(.*?)\)", value))
            used |= {element.attrib["href"][1:]} if "href" in element.attrib else set()
    assert len(set(ids)) == len(ids)
    assert used <= set(ids)


def test_figures_hold_no_style_no_image_and_no_date(figures):
    for figure in figures.values():
        assert not re.search(r"<style|style=|<image|<script|<metadata|\d{4}-\d\d-\d\dT", figure.svg)


def test_figures_are_the_same_when_drawn_again(bench, figures):
    again = {one.name: one for one in draw_figures(bench.whole, bench.store)}
    assert again == figures


def test_captions_say_sentences_seeds_and_which_interval(figures, bare):
    for kind in ("parameters", "cost", "gains", "sizes", "transfer"):
        caption = next(one.caption for name, one in figures.items() if kind in name)
        assert "n = 40 sentences, 2 seeds" in caption
        assert "95 % intervals over seeds and sentences together" in caption
    alone = next(iter(draw_figures(bare.whole, bare.store))).caption
    assert "n = 40 sentences, 1 seed." in alone
    assert "over sentences alone, so for these trained models only" in alone


def test_numbers_are_those_of_the_board(bench, figures):
    row = next(one for one in bench.whole.rows if one["baseline"] == "ks_k4")
    score = row["scores"]["first_line"]["bleu"]
    wanted = f"{score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]"
    for name in ("parameters", "cost", "sizes"):
        assert any(wanted in line for line in figures[f"figure-{name}-one"].lines)
    transfer = next(one for name, one in figures.items() if "transfer" in name)
    assert ("one", "one", wanted) in transfer.lines
    assert len(transfer.lines) == 4
    assert f"{score['value']:.1f}" in texts(transfer)


def test_what_trains_nothing_has_a_place_of_its_own(figures):
    ticks = {
        kind: texts(figures[f"figure-{kind}-one"]).count("0") for kind in ("parameters", "cost")
    }
    assert ticks["parameters"] == ticks["cost"] + 1  # the other one is the scores' own


def test_texts_are_shown_as_they_are(figures, bench):
    everything = " ".join(filter(None, texts(figures["figure-tickets-4"])))
    assert "<script>" in everything  # a token, escaped in the XML
    assert "<script>" not in figures["figure-tickets-4"].svg
    assert bench.baselines.keys() - {"lora", "only_source"} >= {
        line[0] for line in figures["figure-parameters-one"].lines
    }


def test_a_ticket_map_counts_seeds(figures):
    figure = figures["figure-tickets-4"]
    assert figure.columns == ("token", "id", "ks, one", "ks, two")
    assert figure.lines[0] == (".", "0", "1, 1", "1, 1")
    assert "2 seeds" in figure.caption


def test_losses_say_that_they_are_smoothed(figures):
    figure = figures["figure-losses-one"]
    assert "running mean over 10 steps" in figure.caption
    assert figure.lines[0][1] == "70"


def test_a_running_mean_is_that_of_the_last_ten():
    import numpy as np

    losses = np.random.default_rng(0).random((2, 30))
    found = _running_mean(losses)
    assert found[1, 0] == losses[1, 0]
    assert found[0, 4] == pytest.approx(losses[0, :5].mean())
    assert found[0, 29] == pytest.approx(losses[0, 20:].mean())


def test_the_pareto_front_holds_what_nothing_beats():
    assert pareto([0, 10, 10, 5, 20], [1.0, 3.0, 4.0, 0.5, 4.0]) == [0, 2]


def test_points_of_one_value_are_moved_apart_around_their_place():
    moved = abscissae([100, 100, 10_000, 0], spread=True)
    assert moved[0] != moved[1]
    assert (moved[0] + moved[1]) / 2 == pytest.approx(2.0)
    assert moved[2] == pytest.approx(4.0)
    assert moved[3] < 1.5


def test_no_point_changes_places_with_another():
    # Many of one count, others barely above it, and some that train nothing.
    values = [0, 0, 0, 2304, 2304, 2304, 2304, 2304, 2310, 2310, 2400, 12_288, 12_288]
    moved = abscissae(values, spread=True)
    by_value = {
        one: [at for at, own in zip(moved, values, strict=True) if own == one] for one in values
    }
    groups = [by_value[one] for one in sorted(by_value)]
    for lower, higher in itertools.pairwise(groups):
        assert max(lower) < min(higher)
    for value, places in by_value.items():
        if value == 0:
            continue
        others = [abs(math.log10(value / one)) for one in by_value if one not in (0, value)]
        assert max(abs(at - math.log10(value)) for at in places) <= min(others) / 3 + 1e-12


def test_costs_stand_where_they_were_measured():
    values = [0.0100, 0.0101, 0.0105, 0.0115, 0.0115, 0.9]
    assert abscissae(values, spread=False) == pytest.approx([math.log10(one) for one in values])


def test_the_front_never_runs_backwards(tmp_path, monkeypatch):
    made, drawn = Written(tmp_path), []
    for place, hours in enumerate((0.0115, 0.0100, 0.0105, 0.0101, 0.0110)):
        made.scored(f"row{place}", [0.5 + 10 * hours], cost={**COST, "device_hours": hours})
    board = read_board(made.done(), made.name)
    monkeypatch.setattr(scatter, "_front", lambda axes, xs, ys: drawn.append((xs, ys)))
    list(scatter.scores_against_cost(board, made.store))
    list(scatter.scores_against_parameters(board, made.store))
    for xs, ys in drawn:
        assert list(xs) == sorted(xs)
        assert list(ys) == sorted(ys)
    costs = [row["cost"]["total_device_hours"] for row in board.rows]
    assert set(drawn[0][0]) <= {math.log10(one) for one in costs}


def test_styles_differ_for_many_names():
    found = styles([str(one) for one in range(60)])
    assert len({(one.colour, one.marker) for one in found.values()}) == 60


def test_control_characters_become_printable():
    assert printable("a\x00b\nc\x9b") == "a␀b␊c\N{REPLACEMENT CHARACTER}"


def test_tokens_of_byte_level_tokenizers_are_read_as_bytes():
    assert shown_tokens([(0, "ĠjardÃŃ"), (1, "Ċ"), (2, "Ã"), (3, "")]) == [
        "␣jardí",
        "⏎",
        "Ã",
        "row 3",
    ]


def test_tokens_of_other_tokenizers_stay_as_they_are():
    assert shown_tokens([(0, "▁jardí"), (1, "Ã±")]) == ["␣jardí", "Ã±"]


def told(value):
    return {"value": value, "low": value - 1, "high": value + 1, "speaks_of": "sentences"}


@pytest.mark.parametrize("tuned", [True, False])
def test_a_map_of_directions_has_sources_in_lines_targets_in_columns_and_gains_below(tuned):
    """Not as many sources as targets, so that lines and columns cannot change places unseen."""
    scores = {"eng-cat": 61.0, "eng-deu": 52.0, "cat-deu": 43.0, "eng-dan": 34.0}
    gains = {"eng-cat": 11.0, "eng-deu": -8.0, "cat-deu": 3.0, "eng-dan": 0.5}
    row = {
        "baseline": "full",
        "task": "directions",
        "condition": "default",
        "scored_under": "default",
        "probe": None,
        "sentences": 40,
        "finished_seeds": [0],
        "scores": {rule: {"bleu": told(47.5)} for rule in ("raw", "first_line")},
        "by_group": {
            "direction": {
                name: {"raw": {"bleu": told(0.0)}, "first_line": {"bleu": told(value)}}
                for name, value in scores.items()
            }
        },
        "directions": {
            "tuned_on": ["eng-cat"],
            "gains": {"first_line": {name: told(value) for name, value in gains.items()}}
            if tuned
            else None,
        },
    }
    (figure,) = direction_maps(Board("mine", {}, [row], {}, []), None)
    cells = [one for one in texts(figure) if one and re.fullmatch(r"[+-]?\d+\.\d", one)]
    drawn = ["61.0", "52.0", "34.0", "43.0"]  # from eng into cat, deu, dan; from cat into deu
    below = ["+11.0", "-8.0", "+0.5", "+3.0"]
    assert cells == (drawn + below if tuned else drawn)
    ticks = [one for one in texts(figure) if one in ("eng", "cat", "deu", "dan")]
    assert ticks == ["cat", "deu", "dan", "eng", "cat"] * (2 if tuned else 1)
    assert [one for one in texts(figure) if one in ("score", "gain over the base")] == (
        ["score", "gain over the base"] if tuned else ["score"]
    )
    by_name = {line[0]: line[1:] for line in figure.lines}
    assert by_name["eng-deu"] == (
        "zero shot target", "52.0 [51.0, 53.0]", "-8.0 [-9.0, -7.0]" if tuned else "",
    )  # fmt: skip
