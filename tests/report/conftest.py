"""A store written by hand, with real statistics, and texts that a page must not believe."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences, score_answers
from ksl_bench.leaderboard import read_board
from ksl_bench.store import Store, key_of

EVIL = "</script></style><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>"
NAMED = "full <b onclick='alert(1)'>&"
REASON = "diverged at <script>alert(2)</script>"
SENTENCES = 40
WORDS = ["the", "cat", "sat", "on", "a", "mat", "two", "dogs", "ran", "home", "until", "noon"]
TOKENS = [".", "Ġthe", "ĠjardÃŃ", "<script>", "$x^2$", "Ċ"]
TRAIN = {"learning_rate": 0.1, "steps": 70, "epochs": None, "global_batch_size": 16}
TASK = {
    "name": "translation",
    "source_language": "eng",
    "target_language": "cat",
    "prompt": "explicit",
    "train_files": "controlled",
    "dev_files": "controlled",
    "devtest_files": "controlled",
}
COST = {
    "selection_seconds": 8.0,
    "train_seconds": 7.25,
    "evaluate_seconds": 1.0,
    "device_hours": 0.0125,
    "money": None,
    "devices": 1,
    "state_bytes": 9000,
    "train_tokens_per_second": 100.0,
    "generated_tokens_per_second": 50.0,
    "train_peak_memory": [{"allocated": 5 * 2**20, "reserved": None}],
    "evaluate_peak_memory": [{"allocated": 3 * 2**20, "reserved": None}],
}
PROVENANCE = {
    "versions": {"python": "3.11.7", "ksl-bench": "0.1.0"},
    "hardware": {"device": "a CPU", "threads": 1},
    "git_commit": "c0ffee",
    "finished_at": "2026-01-02T03:04:05Z",
}


def lines_of(quality, seed):
    draw = np.random.default_rng([seed, round(100 * quality)])
    wanted = references()
    return wanted, [
        " ".join(word if draw.random() < quality else draw.choice(WORDS) for word in line.split())
        for line in wanted
    ]


def references():
    draw = np.random.default_rng(7)
    return [" ".join(draw.choice(WORDS, size=draw.integers(6, 12))) for _ in range(SENTENCES)]


class Bench:
    """A store and a plan that grow row by row."""

    def __init__(self, folder, conditions=("one", "two"), seeds=(0, 1)):
        self.store, self.seeds, self.rows, self.baselines = Store(str(folder)), seeds, [], {}
        self.conditions = conditions

    def recipe(self, name, method, criterion=None, k=None, probe=None):
        ticket = criterion and {"from": "embedding", "criterion": criterion, "k": k, "alpha": None}
        self.baselines[name] = {
            "name": name,
            "method": method,
            "ticket": ticket,
            "train": {**TRAIN, "precision": "fp32"},
            "probe": probe,
        }

    def row(self, name, seed, condition, scored_under=None, **artifacts):
        evaluation = key_of({"row": [name, seed, condition, scored_under]})
        place = {"condition": condition, "scored_under": scored_under or condition}
        chain = {"state": None, "ticket": None, "source_state": None, **artifacts}
        self.rows.append(
            {"baseline": name, "seed": seed, "evaluation": evaluation, **place, **chain}
        )
        return evaluation

    def scored(self, name, quality, *, trainable, scored_under=None, stops=True, tokens=()):
        for condition in self.conditions:
            for seed in self.seeds:
                elsewhere = scored_under if condition != scored_under else None
                if scored_under is not None and elsewhere is None:
                    continue
                artifacts = {}
                if trainable:
                    artifacts["state"] = self.state(name, seed, condition)
                if tokens:
                    artifacts["ticket"] = self.ticket(name, seed, condition, tokens)
                key = self.row(name, seed, condition, elsewhere, **artifacts)
                self.result(
                    key, quality - 0.1 * bool(elsewhere), seed, trainable, stops, len(tokens)
                )

    def state(self, name, seed, condition):
        key = key_of({"state": [name, seed, condition]})
        losses = [{"step": step, "loss": 2.0 / step + seed / 10} for step in range(1, 71)]
        self.store.write_lines("state", key, "metrics.jsonl", [json.dumps(one) for one in losses])
        self.store.finish("state", key, {})
        return key

    def ticket(self, name, seed, condition, tokens):
        key = key_of({"ticket": [name, seed, condition]})
        rows = [{"token_id": TOKENS.index(one), "token": one} for one in tokens]
        criterion = self.baselines[name]["ticket"]["criterion"]
        ticket = {"criterion": criterion, "k": len(rows), "rows": rows}
        self.store.finish("ticket", key, {"ticket": ticket}, {"ticket": b"rows"})
        return key

    def result(self, key, quality, seed, trainable, stops, rows):
        wanted, lines = lines_of(quality, seed)
        raw = lines if stops else [f"{line} {line}" for line in lines]
        drawn = draw_sentences([None] * SENTENCES, 200)
        answers = Answers({"raw": raw, "first_line": lines}, wanted, ["eng"] * SENTENCES, {})
        measures = {metric: build_measure(metric, []) for metric in ("bleu", "chrf")}
        scored = score_answers(answers, measures, drawn=drawn)
        record = {
            "seed": seed,
            "ticket_rows": rows,
            "sentences": SENTENCES,
            "truncated_training_examples": 0,
            "parameters": {"trainable": trainable, "total": 10**6},
            "scores": scored.scores,
            "draw": asdict(drawn.draw),
            "diagnostics": {"eos_rate": float(stops), "length_ratio": {"raw": 1.0}},
            "cost": COST,
            "data": {"digest": "d1" * 32, "origin": "by hand"},
            "model": {"name": "tiny", "revision": None, "digest": "m0"},
            "provenance": PROVENANCE,
        }
        outputs = [
            {
                "source": f"source {EVIL}",
                "reference": one,
                "output": f"{line} {EVIL}",
                "ended": stops,
            }
            for one, line in zip(wanted, raw, strict=True)
        ]
        content = "".join(json.dumps(one) + "\n" for one in outputs).encode()
        self.store.finish("evaluation", key, record, {"outputs.jsonl": content, **scored.files})

    def board(self, transfer=()):
        conditions = {name: TASK for name in self.conditions} if len(self.conditions) > 1 else {}
        suite = {
            "name": "mine",
            "description": f"By hand, {EVIL}",
            "model": {"name_or_path": "tiny"},
            "task": TASK,
            "conditions": conditions,
            "transfer": list(transfer),
            "seeds": list(self.seeds),
            "baselines": list(self.baselines.values()),
            "verdicts": {"margin": 1.0, "rule": "first_line"},
        }
        plan = {"suite": suite, "model": {"name": "tiny", "revision": None}, "rows": self.rows}
        self.store.plans.write("mine", plan)
        return read_board(self.store, "mine")


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Two conditions, two seeds: everything that a report can show, and a row that failed."""
    bench = Bench(tmp_path_factory.mktemp("store"))
    bench.recipe("base", "none")
    bench.recipe(NAMED, "full")
    bench.recipe("embedding", "embedding")
    bench.recipe("ks_k2", "partial_tuning", "ks", 2)
    bench.recipe("ks_k4", "partial_tuning", "ks", 4)
    bench.recipe("frequency_k4", "partial_tuning", "frequency", 4)
    bench.recipe("only_source", "partial_tuning", "ks", 4, probe={"of": "ks_k4"})
    bench.recipe("lora", "lora")
    bench.scored("base", 0.5, trainable=0, stops=False)
    bench.scored(NAMED, 0.9, trainable=10**6)
    bench.scored("embedding", 0.8, trainable=10**5)
    bench.scored("ks_k2", 0.7, trainable=256, tokens=TOKENS[:2])
    bench.scored("ks_k4", 0.75, trainable=512, tokens=TOKENS[:4])
    bench.scored("frequency_k4", 0.7, trainable=512, tokens=TOKENS[2:])
    bench.scored("only_source", 0.6, trainable=512)
    for seed in bench.seeds:
        state = key_of({"lora": seed})
        bench.store.fail("state", state, "diverged", REASON)
        bench.row("lora", seed, "one", state=state)
    for scored_under in bench.conditions:
        bench.scored("ks_k4", 0.75, trainable=512, scored_under=scored_under)
    bench.whole = bench.board(transfer=["ks_k4"])
    return bench


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A base and one method, one seed, one condition: no tickets, no transfer, no sizes."""
    bench = Bench(tmp_path_factory.mktemp("bare"), conditions=("default",), seeds=(0,))
    bench.recipe("base", "none")
    bench.recipe("full", "full")
    bench.scored("base", 0.5, trainable=0, stops=False)
    bench.scored("full", 0.9, trainable=10**6)
    bench.whole = bench.board()
    return bench


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """Nothing is finished."""
    bench = Bench(tmp_path_factory.mktemp("empty"), conditions=("default",), seeds=(0,))
    bench.recipe("lora", "lora")
    state = key_of({"lora": 0})
    bench.store.fail("state", state, "diverged", REASON)
    bench.row("lora", 0, "default", state=state)
    bench.whole = bench.board()
    return bench
