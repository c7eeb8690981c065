"""Against a plain loop over texts and tokens."""

import math

import pytest
import torch

from ksl_bench.detection.statistics import (
    STATISTICS,
    binoculars,
    machine_scores,
    one_model_statistics,
)
from ksl_bench.errors import ConfigError, DataError
from ksl_bench.evaluation.text_statistics import text_statistics
from ksl_bench.training.loop import Worker

VOCABULARY = 23


def padded(lengths, *, side, seed=0):
    """Return logits, ids and mask of random texts, padded on a side."""
    draw = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths)
    logits = 3 * torch.randn(*shape, VOCABULARY, generator=draw)
    ids = torch.randint(VOCABULARY, shape, generator=draw)
    place = torch.arange(shape[1]).expand(shape)
    length = torch.tensor(lengths)[:, None]
    real = place < length if side == "right" else place >= shape[1] - length
    return logits, ids, real


def texts(logits, ids, real):
    """Yield for each text its predictions, as lists, with the token that follows."""
    for row in range(len(ids)):
        kept = real[row].nonzero().flatten().tolist()
        yield [
            (logits[row, at].double().tolist(), int(ids[row, at + 1]))
            for at in kept[:-1]
            if at + 1 in kept
        ]


def log_softmax(logits):
    top = max(logits)
    total = math.log(sum(math.exp(one - top) for one in logits))
    return [one - top - total for one in logits]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("side", ["left", "right"])
def test_statistics_of_one_model_equal_a_loop_over_tokens(side):
    batch = padded([7, 2, 12, 5], side=side)
    found = one_model_statistics(*batch)
    expected = {"log_likelihood": [], "rank": [], "log_rank": [], "entropy": []}
    for text in texts(*batch):
        logs = [(log_softmax(logits), token) for logits, token in text]
        ranks = [sorted(one, reverse=True).index(one[token]) + 1 for one, token in logs]
        expected["log_likelihood"].append(mean(one[token] for one, token in logs))
        expected["rank"].append(mean(ranks))
        expected["log_rank"].append(mean(map(math.log, ranks)))
        expected["entropy"].append(mean(-sum(math.exp(x) * x for x in one) for one, _ in logs))
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values, rel=1e-5), name


@pytest.mark.parametrize("side", ["left", "right"])
def test_binoculars_equals_a_loop_over_tokens(side):
    observer, ids, real = padded([7, 2, 12, 5], side=side)
    performer, _, _ = padded([7, 2, 12, 5], side=side, seed=1)
    found = binoculars(observer, performer, ids, real)
    pairs = zip(texts(observer, ids, real), texts(performer, ids, real), strict=True)
    for score, (watching, performing) in zip(found.tolist(), pairs, strict=True):
        surprise, cross = [], []
        for (seen, token), (played, _) in zip(watching, performing, strict=True):
            log_observer, log_performer = log_softmax(seen), log_softmax(played)
            surprise.append(-log_performer[token])
            expected = zip(log_observer, log_performer, strict=True)
            cross.append(-sum(math.exp(p) * q for p, q in expected))
        assert score == pytest.approx(mean(surprise) / mean(cross), rel=1e-5)


def test_binoculars_of_one_model_with_itself_is_surprise_over_entropy():
    batch = padded([9, 4], side="left")
    alone = one_model_statistics(*batch)
    expected = -alone["log_likelihood"] / alone["entropy"]
    assert torch.allclose(binoculars(batch[0], *batch), expected, rtol=1e-6)


def test_padding_changes_nothing():
    logits, ids, real = padded([4, 9], side="right")
    alone = one_model_statistics(logits[:1, :4], ids[:1, :4], real[:1, :4])
    together = one_model_statistics(logits, ids, real)
    for name in alone:
        assert alone[name][0] == pytest.approx(together[name][0].item(), rel=1e-6), name


def test_equally_likely_tokens_share_the_best_rank():
    logits = torch.tensor([[[2.0, 2.0, 1.0, 2.0]] * 2])
    found = one_model_statistics(logits, torch.tensor([[0, 3]]), torch.ones(1, 2, dtype=bool))
    assert found["rank"].tolist() == [1.0]


def test_impossible_tokens_are_no_nan():
    logits, ids, real = padded([5], side="right")
    logits[..., 0] = -math.inf
    ids[:] = 1
    assert one_model_statistics(logits, ids, real)["entropy"].isfinite().all()
    assert binoculars(logits, logits, ids, real).isfinite().all()


def test_a_high_score_speaks_for_a_machine():
    names = [one for one in STATISTICS if one != "binoculars"]
    expected = torch.zeros(1, 6, VOCABULARY)
    expected[..., 3] = 5.0  # a model that expects token 3
    ids = torch.tensor([[3, 3, 3, 3, 3, 3]])
    real = torch.ones(1, 6, dtype=bool)
    as_expected = machine_scores(one_model_statistics(expected, ids, real))
    surprising = machine_scores(one_model_statistics(expected, ids + 1, real))
    for name in set(names) - {"entropy"}:
        assert as_expected[name] > surprising[name], name
    low = machine_scores({"binoculars": torch.tensor([0.7])})["binoculars"]
    assert low > machine_scores({"binoculars": torch.tensor([1.1])})["binoculars"]


def test_what_does_not_fit_is_refused():
    logits, ids, real = padded([5, 3], side="right")
    with pytest.raises(ValueError, match="do not fit together"):
        one_model_statistics(logits, ids[:1], real)
    with pytest.raises(ValueError, match="share a vocabulary"):
        binoculars(logits, logits[..., :-1], ids, real)
    real[1, 1:] = False
    with pytest.raises(ValueError, match=r"needs two tokens, rows with fewer: \[1\]"):
        one_model_statistics(logits, ids, real)
    with pytest.raises(ConfigError, match="Did you mean 'log_rank'"):
        machine_scores({"logrank": torch.zeros(1)})


def test_texts_of_one_token_are_named_by_their_place_in_the_split():
    def tokenizer(text):
        return {"input_ids": list(range(len(text.split())))}

    lines = ["a b", "lone", "c d e", ""]
    said = r"text 1 \('lone'\), 3 \(''\) \(from 0\) has fewer"
    with pytest.raises(DataError, match=said):
        text_statistics(
            torch.nn.Identity(), tokenizer, lines, max_tokens=8, batch_size=2, worker=Worker()
        )
