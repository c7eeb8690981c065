import pytest
import sacrebleu

from ksl_bench.errors import ConfigError
from ksl_bench.evaluation.metrics import check_tokenizer_files, score_corpus

HYPOTHESES = ["The cat sat on the mat.", "A dog runs.", "She reads many books today."] * 5
REFERENCES = ["The cat sat on a mat.", "The dog runs.", "She reads a lot of books today."] * 5


@pytest.mark.parametrize(
    ("metric", "reference"), [("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)]
)
def test_a_score_is_sacrebleus_with_its_signature(metric, reference):
    score = score_corpus(metric, HYPOTHESES, REFERENCES, language="eng")
    assert score.value == reference(HYPOTHESES, [REFERENCES]).score
    assert f"version:{sacrebleu.__version__}" in score.signature


def test_identical_text_scores_a_hundred():
    score = score_corpus("bleu", REFERENCES, REFERENCES, language="eng")
    assert score.value == pytest.approx(100)


def test_empty_hypotheses_score_zero():
    score = score_corpus("bleu", [""] * 15, REFERENCES, language="eng")
    assert score.value == 0


def test_chinese_is_tokenized_as_chinese():
    score = score_corpus("bleu", ["我喜欢猫。"], ["我喜欢狗。"], language="zho")
    assert "tok:zh" in score.signature


def test_spbleu_without_its_tokenizer_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path))
    check_tokenizer_files(["bleu", "chrf"])
    with pytest.raises(ConfigError) as caught:
        check_tokenizer_files(["bleu", "spbleu_flores101"])
    assert f"{tmp_path}/models/sacrebleu_tokenizer_spm.model" in str(caught.value)
