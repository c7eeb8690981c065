"""What the audits of a row's tickets found: the claims of certificates, beside what the models do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ksl_bench.leaderboard.runs import Run
from ksl_bench.store.audits import Audits

Row = dict[str, Any]


def audits_of(
    audits: Audits, recipe: Mapping[str, Any], place: tuple[str, str, str], done: Sequence[Run]
) -> list[Row]:
    """Return the audits of a row's tickets on the text that it was scored on, one a seed; none elsewhere.

    Args:
        audits: What `ksl-bench certify --suite` kept.
        recipe: The baseline, as the suite has it.
        place: Condition, baseline, and the condition it is scored under.
        done: Its finished runs.
    """
    if recipe["method"] != "partial_transfer" or place[0] != place[2]:
        return []
    found = []
    for run in done:
        if run.ticket is None or run.result is None:
            continue
        audit = audits.read(run.ticket, text=run.result["data"]["digest"])
        if audit is not None:
            found.append({"seed": run.seed, **_shortened(audit)})
    return found


def _shortened(audit: Mapping[str, Any]) -> Row:
    (ticket,) = audit["tickets"]
    return {
        "k": ticket["k"],
        "sentences": audit["sentences"],
        "assumptions_hold": audit["other_parameters_equal"],
        "agreement": ticket["agreement"],
        "ks_sum": {
            "positions": ticket["agreement"]["positions"],
            **{name: ticket["ks_sum"][name] for name in ("certified", "violations")},
        },
        "smoothing": [
            {name: one[name] for name in ("sigma", "tested", "certified", "violations")}
            for one in ticket["smoothing"]
        ],
    }


def told_audits(row: Row) -> str:
    """Return what certificates claim of a row's tickets and what the models do, as a clause."""
    audits = row["audits"]
    if not audits:
        return "no certificate was audited"
    positions = sum(one["ks_sum"]["positions"] for one in audits)
    contested = sum(one["agreement"]["contested_positions"] for one in audits)
    kept = sum(
        one["agreement"]["contested_positions"] * (one["agreement"]["contested_share"] or 0.0)
        for one in audits
    )
    claims = ", ".join(_claims(audits))
    seeds = "" if len(row["seeds"]) == 1 else f" of {len(audits)} of {len(row['seeds'])} seeds"
    seen = (
        f"where base and tuned model differ it predicts as the tuned one at {_percent(kept, contested)}"
        if contested
        else "base and tuned model predict the same"
    )
    return f"certificates{seeds}, {positions:,} positions: {claims}; {seen}"


def _claims(audits: Sequence[Row]) -> Iterator[str]:
    """Yield what each rule certifies, over all audits."""
    sums = [one["ks_sum"] for one in audits]
    yield _claim("the KS-sum rule, which is not sound,", sums, "positions", "positions")
    sigmas = dict.fromkeys(one["sigma"] for audit in audits for one in audit["smoothing"])
    for sigma in sigmas:
        found = [one for audit in audits for one in audit["smoothing"] if one["sigma"] == sigma]
        yield _claim(f"smoothing at sigma {sigma:g}", found, "tested", "tested positions")


def _claim(rule: str, found: Sequence[Row], of: str, what: str) -> str:
    certified, wrong = (sum(one[name] for one in found) for name in ("certified", "violations"))
    share = _percent(certified, sum(one[of] for one in found))
    told = f"{wrong} violation{'' if wrong == 1 else 's'}"
    return f"{rule} certifies {share} of {what} with {told}"


def _percent(part: float, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"
