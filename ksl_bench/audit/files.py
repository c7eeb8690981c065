"""An audit from names and files: models, ticket and text are found, read and checked first."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench.audit.inputs import counterexample
from ksl_bench.audit.predictions import Smoothing
from ksl_bench.audit.report import DEFAULT_SIZES, Audit, audit, sizes_of
from ksl_bench.config import Precision
from ksl_bench.data.batching import Encoded, encode
from ksl_bench.data.columns import Languages
from ksl_bench.data.corpus import CONTROLLED, read_corpus
from ksl_bench.data.languages import language_name
from ksl_bench.data.prompts import Template, template
from ksl_bench.data.readers import Pair, read_tsv
from ksl_bench.errors import ConfigError, DataError
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.models import TINY_BASE, ModelReference, find_named, load_model, load_tokenizer
from ksl_bench.tasks.translation import FIELDS

COUNTEREXAMPLE_SENTENCES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be audited."""

    base: str | None = None
    """Name of the base model; the shipped one for the counterexample."""
    tuned: str | None = None
    """Name of the model with the tuned input embedding."""
    ticket: Path | None = None
    text: Path | None = None
    """Lines of source, tab, target; the controlled devtest for the counterexample."""
    counterexample: bool = False
    """Build tuned model and ticket from the base, so that the KS-sum rule fails on all positions."""
    prompt: str = "explicit"
    source_language: str = "eng"
    target_language: str = "cat"
    sizes: tuple[int, ...] = ()
    """k, each; none for 4, 18, 64 and the ticket's own."""
    precision: Precision = "fp32"
    """Of the weights: that of the suite that the ticket comes from."""
    limit: int | None = None
    """Sentences to use, from the first."""
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        """Check that what is given goes together.

        Raises:
            ConfigError: If it does not; all problems are told together.
        """
        given = {"tuned": self.tuned, "ticket": self.ticket}
        if self.counterexample:
            problems = [
                f"{name}: the counterexample brings its own"
                for name, value in given.items()
                if value is not None
            ]
        else:
            wanted = {"base": self.base, **given, "text": self.text}
            problems = [f"{name}: must be given" for name, value in wanted.items() if value is None]
        if problems:
            raise ConfigError(problems)


def certify_files(question: Question) -> Audit:
    """Load what a question names, and audit it.

    Raises:
        KslBenchError: Of the kind that fits, if anything cannot be read or does not fit.
    """
    form = template(question.prompt, required="source", allowed=FIELDS)
    pairs = _pairs(question)
    reference = find_named(question.base or TINY_BASE, option="base")
    tokenizer = load_tokenizer(reference)
    ticket = None if question.ticket is None else Ticket.load(question.ticket)
    base = _loaded(reference, question.precision)
    if ticket is None:
        tuned, ticket = counterexample(
            base, tokenizer, name=reference.name, k=max(question.sizes or DEFAULT_SIZES)
        )
    else:
        assert question.tuned is not None
        tuned = _loaded(find_named(question.tuned, option="tuned"), question.precision)
    sizes = sizes_of(ticket, question.sizes)
    examples = _encoded(pairs, base, tokenizer, form, question)
    found = audit(
        base, tuned, ticket, tokenizer, examples, sizes=sizes, smoothing=question.smoothing
    )
    origin = {
        "base": reference.name,
        "tuned": question.tuned or "the counterexample: every row of the base read backwards",
        "precision": question.precision,
        "prompt": question.prompt,
        "source_language": question.source_language,
        "target_language": question.target_language,
    }
    return Audit(origin | found.report, found.records)


def _pairs(question: Question) -> list[Pair]:
    source, target = question.source_language, question.target_language
    if question.text is None:
        size = question.limit or COUNTEREXAMPLE_SENTENCES
        corpus = read_corpus(
            CONTROLLED,
            source_language=source,
            target_language=target,
            split="devtest",
            size=size,
            seed=0,
        )
        return list(corpus.pairs)
    problems: list[str] = []
    pairs = read_tsv(str(question.text), Languages(source, target), problems)
    if problems:
        raise DataError(problems)
    return pairs[: question.limit]


def _loaded(reference: ModelReference, precision: Precision) -> PreTrainedModel:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load_model(reference, precision=precision).to(device)


def _encoded(
    pairs: list[Pair],
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Template,
    question: Question,
) -> list[Encoded]:
    """Put pairs into the prompt and tokenize them, as they are for tuning."""
    longest = int(getattr(base.config, "max_position_embeddings", 2048))
    languages = {
        "source_language": language_name(question.source_language),
        "target_language": language_name(question.target_language),
    }
    encoded = []
    for number, pair in enumerate(pairs, 1):
        text = form.render({**languages, "source": pair.source})
        response = form.response_prefix + pair.target
        one = encode(tokenizer, text, response, max_seq_length=longest)
        if len(one) > longest:
            raise DataError(
                f"sentence {number}: its prompt of {len(one.prompt_ids)} tokens leaves no room, "
                f"the model reads {longest}"
            )
        encoded.append(one)
    return encoded
