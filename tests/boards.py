"""Stores written by hand with real statistics: sentences of known quality, scored as a worker does it."""

from dataclasses import asdict

import numpy as np

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences, score_answers
from ksl_bench.store import Store, key_of

WORDS = np.array(
    [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "while",
        "two",
        "dogs",
        "ran",
        "home",
        "and",
        "slept",
        "until",
        "noon",
    ]
)
SENTENCES = 60
GARBAGE = " and then some more words that nobody asked for at all"

TICKET = {"from": "embedding", "scope": "input_embedding", "alpha": None}
TRAIN = {
    "learning_rate": 0.1,
    "steps": 120,
    "epochs": None,
    "global_batch_size": 16,
    "precision": "fp32",
}
COST = {
    "selection_seconds": 8.0,
    "train_seconds": 7.0,
    "evaluate_seconds": 1.0,
    "device_hours": 0.01,
    "money": None,
    "devices": 1,
    "state_bytes": 9000,
    "train_tokens_per_second": 100.0,
    "generated_tokens_per_second": 50.0,
    "train_peak_memory": [{"allocated": 5 * 2**20, "reserved": None}],
    "evaluate_peak_memory": [{"allocated": 3 * 2**20, "reserved": None}],
}


def references(condition="default"):
    draw = np.random.default_rng(len(condition))
    return [" ".join(draw.choice(WORDS, size=draw.integers(6, 14))) for _ in range(SENTENCES)]


def written(quality, seed, condition="default"):
    """Return sentences of which a share of words is right; equal arguments give equal text."""
    draw = np.random.default_rng([seed, round(1000 * quality)])
    return [
        " ".join(word if draw.random() < quality else draw.choice(WORDS) for word in line.split())
        for line in references(condition)
    ]


def result(lines, *, seed=0, stops=True, condition="default", trainable=2304, **fields):
    """Return an evaluation's record and files."""
    raw = lines if stops else [line + GARBAGE for line in lines]
    wanted = references(condition)
    drawn = draw_sentences([None] * SENTENCES, 200)
    answers = Answers({"raw": raw, "first_line": lines}, wanted, ["eng"] * SENTENCES, {})
    measures = {metric: build_measure(metric, []) for metric in ("bleu", "chrf")}
    scored = score_answers(answers, measures, drawn=drawn)
    if signature := fields.pop("signature", None):
        for metrics in scored.scores.values():
            for score in metrics.values():
                score["signature"] = signature
    record = {
        "seed": seed,
        "ticket_rows": fields.get("ticket_rows"),
        "sentences": SENTENCES,
        "truncated_training_examples": 0,
        "parameters": {"trainable": trainable, "total": 10**6},
        "scores": scored.scores,
        "draw": asdict(drawn.draw),
        "diagnostics": {"eos_rate": float(stops), "length_ratio": {"raw": 1.0, "first_line": 1.0}},
        "cost": COST,
        "data": {"digest": f"digest of {condition}", "origin": "by hand"},
    }
    return {**record, **fields}, {"outputs.jsonl": b"{}\n", **scored.files}


class Written:
    """A store and a plan that grow row by row."""

    def __init__(self, folder, name="mine", **suite):
        self.store, self.name = Store(str(folder)), name
        self.suite = {
            "name": name,
            "description": "",
            "conditions": {},
            "verdicts": {"margin": 1.0, "rule": "first_line"},
            "task": {"prompt": "explicit"},
            "tracking": {"experiment": None, "uri": None},
            "seeds": [0],
            **suite,
        }
        self.baselines, self.rows = {}, []

    def recipe(self, name, method, *, ticket=None, train=None, **fields):
        ticket = None if ticket is None else {**TICKET, **ticket}
        whole = {"name": name, "method": method, "ticket": ticket, "hyperparameters": {}}
        self.baselines[name] = {
            **whole,
            "train": {**TRAIN, **(train or {})},
            "source": "",
            **fields,
        }

    def row(self, name, seed, evaluation, *, condition="default", scored_under=None, **artifacts):
        keys = {"state": None, "ticket": None, "source_state": None, **artifacts}
        where = {"condition": condition, "scored_under": scored_under or condition}
        self.rows.append(
            {"baseline": name, "seed": seed, "evaluation": evaluation, **where, **keys}
        )

    def scored(
        self,
        name,
        qualities,
        *,
        method="full",
        seeds=None,
        condition="default",
        scored_under=None,
        **rest,
    ):
        """Add a baseline's rows, one a seed, each of a known quality."""
        recipe = {
            key: rest.pop(key) for key in ("ticket", "train", "probe", "search") if key in rest
        }
        self.recipe(name, method, **recipe)
        untrained = method in ("none", "partial_transfer")
        trainable = rest.pop("trainable", 0 if untrained else 2304)
        for seed, quality in zip(seeds or range(len(qualities)), qualities, strict=True):
            under = scored_under or condition
            fixed = method == "none"
            key = key_of(
                {"name": name, "seed": 0 if fixed else seed, "of": condition, "under": under}
            )
            rows = (recipe.get("ticket") or {}).get("k")
            lines = rest.get("lines") or written(quality, 0 if fixed else seed, under)
            fields = {key: value for key, value in rest.items() if key != "lines"}
            record, files = result(
                lines, seed=seed, condition=under, trainable=trainable, ticket_rows=rows, **fields
            )
            self.store.finish("evaluation", key, record, files)
            self.row(name, seed, key, condition=condition, scored_under=scored_under)
        return self

    def lost(self, name, seeds, *, status="diverged", condition="default", scored_under=None):
        """Add seeds of a baseline that came to nothing."""
        for seed in seeds:
            state = key_of({"state of": name, "seed": seed, "under": condition})
            self.store.fail("state", state, status, "the loss is nan")
            key = key_of({"lost": name, "seed": seed, "of": condition, "under": scored_under})
            self.row(name, seed, key, condition=condition, scored_under=scored_under, state=state)
        return self

    def done(self):
        """Write the plan; return the store."""
        plan = {
            "suite": {**self.suite, "baselines": list(self.baselines.values())},
            "model": {"name": "tiny-base", "revision": None},
            "data": {},
            "rows": self.rows,
        }
        self.store.plans.write(self.name, plan)
        return self.store
