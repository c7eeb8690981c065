"""What certificates claim stands beside what is seen."""

from ksl_bench.leaderboard import read_board
from ksl_bench.store import key_of
from ksl_bench.store.audits import write_audit
from tests.boards import Written


def audit(seed, *, text="digest of default", certified=10, violations=1):
    return {
        "text": text,
        "seed": seed,
        "sentences": 60,
        "other_parameters_equal": True,
        "tickets": [
            {
                "k": 18,
                "agreement": {
                    "positions": 100, "share": 0.9, "contested_positions": 20, "contested_share": 0.5,
                },
                "ks_sum": {"certified": certified, "certified_share": 0.1, "violations": violations},
                "smoothing": [{"sigma": 0.1, "tested": 8, "certified": 2, "violations": 0}],
            }
        ],
    }  # fmt: skip


def certificate(folder, *audits):
    made = Written(folder, seeds=[0, 1])
    made.scored("embedding", [0.9, 0.9], method="embedding")
    made.scored("moved", [0.9, 0.9], method="partial_transfer", ticket={"criterion": "ks", "k": 18})
    for row in made.rows:
        if row["baseline"] == "moved":
            row["ticket"] = key_of({"ticket of seed": row["seed"]})
    store = made.done()
    for one in audits:
        write_audit(store, key_of({"ticket of seed": one["seed"]}), one)
    board = read_board(store, made.name)
    (found,) = (one for one in board.verdicts if one.question == "certificate")
    return found, board.rows[1]


def test_claims_of_all_seeds_are_added_up_beside_the_difference(tmp_path):
    found, row = certificate(tmp_path, audit(0), audit(1, certified=30, violations=2))
    assert found.verdict == "non_inferior"
    assert found.text.endswith(
        "; certificates of 2 of 2 seeds, 200 positions: the KS-sum rule, which is not sound, certifies "
        "20 % of positions with 3 violations, smoothing at sigma 0.1 certifies 25 % of tested positions "
        "with 0 violations; where base and tuned model differ it predicts as the tuned one at 50 %"
    )
    assert [one["seed"] for one in row["audits"]] == [0, 1]
    assert row["audits"][1]["ks_sum"] == {"positions": 100, "certified": 30, "violations": 2}


def test_seeds_without_an_audit_are_told(tmp_path):
    found, _ = certificate(tmp_path, audit(1))
    assert "certificates of 1 of 2 seeds, 100 positions" in found.text


def test_an_audit_of_another_text_does_not_count(tmp_path):
    found, row = certificate(tmp_path, audit(0, text="another"))
    assert found.text.endswith("; no certificate was audited")
    assert row["audits"] == []
