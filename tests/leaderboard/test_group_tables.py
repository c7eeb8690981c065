"""Tables by group, from a board of classification."""

from ksl_bench.leaderboard.group_tables import group_sections


def number(value):
    return {"value": value, "low": value - 2.0, "high": value + 2.0}


def row(name, whole, **languages):
    return {
        "baseline": name,
        "task": "classification",
        "condition": "default",
        "scored_under": "default",
        "probe": None,
        "status": "finished",
        "scores": {rule: {"accuracy": number(whole)} for rule in ("raw", "likelihood")},
        "by_group": {
            "language": {
                language: {"likelihood": {"accuracy": number(value)}}
                for language, value in languages.items()
            }
        },
    }


def test_every_language_has_a_column_after_the_whole():
    rows = [row("base", 20.0, eng=30.0, cat=10.0), row("full", 90.0, eng=95.0, cat=85.0)]
    (section,) = group_sections(rows)
    assert section.title == ", by language: points of accuracy by the likelihood of the labels"
    assert section.columns == ("baseline", "all", "eng", "cat")
    assert section.lines[1].cells("half_width") == ["full", "90.0±2.0", "95.0±2.0", "85.0±2.0"]
    assert section.lines[0].cells("interval")[2] == "30.0 [28.0, 32.0]"


def test_one_group_alone_and_unscored_rows_have_no_table():
    assert list(group_sections([row("base", 20.0, eng=30.0)])) == []
    waiting = row("full", 90.0, eng=95.0, cat=85.0)
    assert list(group_sections([{**waiting, "by_group": {}}])) == []
