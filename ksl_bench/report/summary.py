"""What stands at the head of a report: what was compared, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksl_bench.leaderboard import Board, told_verdicts, verdict_title
from ksl_bench.leaderboard.gains import headline, readings_of
from ksl_bench.leaderboard.tables import rank_text
from ksl_bench.leaderboard.verdicts import Verdict, unit
from ksl_bench.report.cells import Table
from ksl_bench.report.details import task_of
from ksl_bench.report.figures.figure import basis, conditions, home_rows, told
from ksl_bench.report.tables import comparison_table
from ksl_bench.tasks.readings import WHERE

QUESTIONS = {
    "replaces": "Does a ticket replace full fine-tuning or LoRA?",
    "controls": "Does the KS test pick better rows than simple controls?",
    "chance": "Would rows drawn by chance do?",
    "termination": "How much of a gain is form, such as learning to stop?",
    "smallest": "How small may a ticket be?",
    "transfer": "Does a tuning hold under another condition?",
    "certificate": "Do the ticket's rows alone carry the tuned embedding, as certificates claim?",
    "directions": "Does a method gain in every direction?",
}


@dataclass(frozen=True, slots=True)
class Question:
    """The answers to one question."""

    title: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All verdicts under one condition."""

    title: str
    questions: tuple[Question, ...]
    """On the rule that the suite bound its verdicts to."""
    others: tuple[Question, ...]
    """On the other rule."""
    numbers: Table
    """Behind all of them."""


def compared(board: Board) -> list[tuple[str, str]]:
    """Return what was compared, as terms and what they are."""
    suite = board.plan["suite"]
    model = board.plan.get("model") or suite.get("model") or {}
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    sentences = sorted({row["sentences"] for row in board.rows if row["sentences"]})
    seeds = f"{len(suite['seeds'])} ({', '.join(map(str, suite['seeds']))})"
    metrics = list(
        next((next(iter(row["scores"].values())) for row in board.rows if row["scores"]), [])
    )
    listed = [
        ("model", f"{model['name']}{revision}" if model.get("name") else ""),
        *((_term(board, one), _task(board, one)) for one in conditions(board)),
        ("baselines", str(len(suite["baselines"]))),
        ("seeds", seeds),
        ("sentences", " to ".join(map(str, dict.fromkeys([*sentences[:1], *sentences[-1:]])))),
        ("metrics", ", ".join(metrics)),
        ("ranked and judged", WHERE.get(board.spec.rule, board.spec.rule)),
    ]
    return [(term, said) for term, said in listed if said]


def _term(board: Board, condition: str) -> str:
    return f"condition {condition}" if len(conditions(board)) > 1 else "task"


def _task(board: Board, condition: str) -> str:
    spec = task_of(board, condition)
    pair = " to ".join(
        str(spec[one]) for one in ("source_language", "target_language") if spec.get(one)
    )
    if spec.get("directions"):
        pair = f"{len(spec['directions'])}, {len(spec['tuned_on'])} of them tuned on"
    prompt = f"prompt {spec['prompt']}" if spec.get("prompt") else ""
    data = (board.plan.get("data") or {}).get(condition) or {}
    counts = ", ".join(f"{one['examples']} {split}" for split, one in data.items())
    return ", ".join(filter(None, (spec.get("name"), pair, prompt, counts)))


def summary(board: Board) -> Iterator[str]:
    """Yield the sentences that a reader in a hurry needs."""
    whole = [row for row in board.rows if row["status"] == "finished"]
    missing = len(board.rows) - len(whole)
    yield f"{len(whole)} of {len(board.rows)} rows are finished" + (
        f"; {missing} {'is' if missing == 1 else 'are'} not, and say why below." if missing else "."
    )
    rule = board.spec.rule
    for condition in conditions(board):
        rows = home_rows(board, condition)
        if not rows:
            continue
        best = max(rows, key=lambda row: row["scores"][rule][headline(row)]["value"])
        where = f"Under {condition}, the" if len(conditions(board)) > 1 else "The"
        rank = rank_text(best["ranking"])
        yield (
            f"{where} highest score {WHERE.get(rule, rule)} is that of {best['baseline']}: "
            f"{told(best['scores'][rule][headline(best)])} {unit(best)}"
            + (f", rank {rank} of {best['ranking']['of']}." if rank else ".")
        )


def verdicts(board: Board) -> list[Verdicts]:
    """Return all verdicts by condition, those on the suite's own rule first."""
    main = {condition: own for condition, own in told_verdicts(board)}
    found = []
    for condition, every in told_verdicts(board, every=True):
        own = main.get(condition, [])
        others = [one for one in every if one not in own]
        title = verdict_title(board, condition)
        several = f" under {condition}" if len(conditions(board)) > 1 else ""
        table = comparison_table(every, f"Numbers behind the verdicts{several}")
        found.append(Verdicts(title, _grouped(own), _grouped(others), table))
    return found


def _grouped(verdicts: Sequence[Verdict]) -> tuple[Question, ...]:
    names = dict.fromkeys([*QUESTIONS, *(one.question for one in verdicts)])
    groups = (
        Question(QUESTIONS.get(name, name), tuple(one for one in verdicts if one.question == name))
        for name in names
    )
    return tuple(one for one in groups if one.verdicts)


def legend(board: Board) -> str:
    """Return what the columns of the results are."""
    scored = [row for row in board.rows if row["scores"]]
    if not scored:
        return "No row has a score yet."
    rule, form = board.spec.rule, readings_of(scored[0]).form
    plain = readings_of(scored[0]).plain
    share = (
        f" Form: share of the {plain} gain that is {form}, blank where the {plain} gain may be less than the "
        "margin."
        if form
        else ""
    )
    spread = [row["scores"][rule][headline(row)] for row in scored]
    detectable = [
        row["ranking"]["detectable_difference"]
        for row in scored
        if row["ranking"]["group"] is not None and row["ranking"]["detectable_difference"]
    ]
    power = (
        f" One planned comparison finds {max(detectable):.1f} points with 80 % power."
        if detectable
        else ""
    )
    return (
        f"{basis(scored, spread, drawn='In brackets')} Gains are over the untuned base, paired by sentence "
        f"and seed. Rank: {WHERE.get(rule, rule)}, shared unless chance is ruled out over all pairs "
        f"(Holm).{power}{share} EOS: share of outputs that the model ended by itself."
    )
