"""What must be right before anything starts, and needs the model's configuration and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ksl_bench.config import Baseline, Suite
from ksl_bench.errors import ConfigError, KslBenchError, MethodError
from ksl_bench.lottery.entries import ENTRY_CRITERIA, criterion_needs, kept_entries
from ksl_bench.lottery.published import PIECES, TICKETS, is_llama_tokenizer
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import WeightsNeededError, attach_shapes
from ksl_bench.methods.four_bits import missing_for_four_bits
from ksl_bench.methods.scope import TOKEN_SCOPES, find_scope, linear_layers
from ksl_bench.models import find_asked, load_tokenizer, skeleton, tokenizer_digest
from ksl_bench.plan import Plan

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BY_PEFT = ("lora", "prefix", "peft")
"""Methods whose fields PEFT judges, and some only when they meet a model."""


def check_model(plan: Plan, choices: Iterable[Baseline] = ()) -> None:
    """Check what needs the model's configuration and tokenizer: scopes, sizes of tickets, room for tokens.

    Args:
        plan: Of a suite, or of that of a sweep.
        choices: What a sweep may make of the suite's baselines.

    Raises:
        KslBenchError: With every problem, each with its path in the suite.
    """
    model = skeleton(plan.setting.model)
    tokenizer = load_tokenizer(plan.setting.model)
    room = getattr(model.config, "max_position_embeddings", None)
    problems: list[str] = []
    baselines = (*plan.suite.baselines, *choices)
    for one in baselines:
        steps = [one.at_step(step) for step in range(max(1, len(one.by_step)))]
        texts = [text for step in steps for text in _check_length(step, room)]
        texts += [text for step in steps for text in _check_scopes(step, model)]
        texts += [text for step in steps for text in _check_tokens(step, plan, tokenizer)]
        problems += [f"baselines.{one.name}.{text}" for text in dict.fromkeys(texts)]
        problems += [f"baselines.{one.name}.{text}" for text in _check_performer(one, tokenizer)]
    problems += adapter_problems(baselines, lambda: skeleton(plan.setting.model))
    if problems:
        raise KslBenchError(list(dict.fromkeys(problems)))


def adapter_problems(
    baselines: Iterable[Baseline], make_skeleton: Callable[[], PreTrainedModel]
) -> list[str]:
    """Attach every adapter by PEFT to the shapes of the base model.

    Args:
        baselines: Of a suite; others than those by PEFT, and merges, which attach none of their own, pass.
        make_skeleton: Makes the base model on the meta device.

    Returns:
        One line for each that is refused, with its path in the suite.
    """
    problems: dict[str, None] = {}
    for one in baselines:
        if one.method not in BY_PEFT or one.merge is not None:
            continue
        for step in range(max(1, len(one.by_step))):
            method = build_method(one.method, one.at_step(step).hyperparameters)
            try:
                attach_shapes(method, make_skeleton())
            except WeightsNeededError:  # seen by the worker, which has them
                continue
            except MethodError as error:
                problems[f"baselines.{one.name}.{error}"] = None
    return list(problems)


def check_devices(suite: Suite, *, here: bool) -> None:
    """Check that what a method asks of a device is there.

    Args:
        suite: Validated.
        here: Whether it runs on this machine; a cluster's own is seen by its workers alone.

    Raises:
        ConfigError: With every baseline that lacks something.
    """
    problems = []
    for one in suite.baselines:
        if not one.hyperparameters.get("quantize"):
            continue
        where = f"baselines.{one.name}.quantize"
        missing = missing_for_four_bits() if here else None
        if missing is not None:
            problems.append(f"{where}: {missing}")
        elif suite.resources.gpus_per_worker == 0:
            problems.append(
                f"{where}: needs a GPU for each worker, resources.gpus_per_worker must be > 0, got 0"
            )
        if suite.resources.zero_stage == 3:
            problems.append(
                f"{where}: 4-bit weights are not shared out, resources.zero_stage must be <= 2"
            )
    if problems:
        raise ConfigError(problems)


def _check_length(baseline: Baseline, room: int | None) -> list[str]:
    """Check the longest text of a baseline where it counts: in tuning, or for a statistic."""
    counts = METHODS[baseline.method].trains or baseline.statistic is not None
    longest = baseline.train.max_seq_length
    if room is None or not counts or longest <= room:
        return []
    return [f"train.max_seq_length: must be <= {room} (the model's positions), got {longest}"]


def _check_performer(baseline: Baseline, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Check that the second model of a statistic is there, and reads text as the base model does."""
    performer = baseline.statistic.performer if baseline.statistic is not None else None
    if performer is None or performer.model is None:
        return []
    where = "statistic.performer.model"
    try:
        reference = find_asked(performer.model, option=f"{where}.name_or_path")
        digest = tokenizer_digest(load_tokenizer(reference))
    except KslBenchError as error:
        return list(error.problems)
    if digest != tokenizer_digest(tokenizer):
        return [
            f"{where}: {performer.model.name_or_path!r} has another tokenizer than the base model; the two "
            "must share theirs"
        ]
    return []


def _check_scopes(baseline: Baseline, model: PreTrainedModel) -> list[str]:
    """Check that the weights that a baseline names are there, and hold as many rows as it wants."""
    ticket, named = baseline.ticket, baseline.hyperparameters.get("scope")
    try:
        if named is not None:
            find_scope(model, str(named))
    except MethodError as error:
        return [f"scope: {error}"]
    if ticket is None:
        return []
    try:
        if ticket.criterion in ENTRY_CRITERIA:
            return _check_sparsity(ticket.sparsity, model)
        rows = find_scope(model, ticket.scope).size
    except MethodError as error:
        return [f"ticket.scope: {error}"]
    if ticket.k is not None and ticket.k > rows:
        what = "the vocabulary" if ticket.scope in TOKEN_SCOPES else f"the rows of {ticket.scope}"
        return [f"ticket.k: must be <= {rows} ({what}), got {ticket.k}"]
    return []


def _check_sparsity(sparsity: float | None, model: PreTrainedModel) -> list[str]:
    sizes = [one.weight.numel() for one in linear_layers(model).values()]
    if sparsity is None or kept_entries(sizes, sparsity):
        return []
    return [f"ticket.sparsity: {sparsity:g} keeps none of the {sum(sizes):,} entries of this model"]


def _check_tokens(baseline: Baseline, plan: Plan, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Check that the tokenizer has what a criterion names."""
    if baseline.ticket is None:
        return []
    name = baseline.ticket.criterion
    needs = criterion_needs(name)
    if "languages" in needs:
        return _check_published(name, plan, tokenizer)
    if "tokenizer" in needs and tokenizer.bos_token_id is None:
        return [
            f"ticket.criterion: {name!r} needs a token that begins a text; this tokenizer has none"
        ]
    return []


def _check_published(name: str, plan: Plan, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    if not is_llama_tokenizer(tokenizer.convert_ids_to_tokens, tokenizer.vocab_size):
        return [
            f"ticket.criterion: {name!r} holds ids of LLaMA's tokenizer ({PIECES:,} pieces), "
            f"this model has another one ({tokenizer.vocab_size:,})"
        ]
    pairs = [one.language_pair for one in plan.suite.tasks.values()]
    known = ", ".join("-".join(one) for one in TICKETS)
    return [
        f"ticket.criterion: {name!r} has no ticket for {'-'.join(pair or ('this', 'task'))}; "
        f"allowed: {known}"
        for pair in pairs
        if pair not in TICKETS
    ]
