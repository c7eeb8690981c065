import pytest

from ksl_bench.config import TranslationSpec
from ksl_bench.tasks import build_task
from ksl_bench.tasks.base import Output
from ksl_bench.tasks.translation import first_line, prompt_restart, raw


@pytest.mark.parametrize(
    ("output", "expected_raw", "expected_line", "expected_restart"),
    [
        (" El gos veu.", "El gos veu.", "El gos veu.", "El gos veu."),
        (
            " El gos.\n\nEnglish: The cat.\nCatalan: El gat.",
            "El gos. English: The cat. Catalan: El gat.",
            "El gos.",
            "El gos.",
        ),
        ("\n\n  El gos.\nI el gat.", "El gos. I el gat.", "El gos.", "El gos. I el gat."),
        ("Nota: El gos.", "Nota: El gos.", "Nota: El gos.", ""),
        ("El gos diu: hola.", "El gos diu: hola.", "El gos diu: hola.", ""),
        ("El 1r gos diu: hola.", *["El 1r gos diu: hola."] * 3),
        ("El gos.\nEnglish:", "El gos. English:", "El gos.", "El gos."),
        ("", "", "", ""),
        (" \n \n", "", "", ""),
    ],
)
def test_the_three_rules(output, expected_raw, expected_line, expected_restart):
    assert raw(output) == expected_raw
    assert first_line(output) == expected_line
    assert prompt_restart(output) == expected_restart


@pytest.fixture
def task():
    files = {f"{split}_files": "controlled" for split in ("train", "dev", "devtest")}
    spec = TranslationSpec(source_language="eng", target_language="cat", devtest_size=5, **files)
    return build_task(spec)


def test_examples_fill_the_prompt_with_the_languages_names(task):
    (one, *_) = task.read("devtest").items
    rendered = task.template.render(one.fields)
    assert rendered.startswith("Translate the following text from English to Catalan.\n\nEnglish: ")
    assert rendered.endswith("\nCatalan:")
    assert one.response not in rendered


def test_diagnostics_count_ends_and_compare_lengths(task):
    outputs = [Output("abcd", True, 3), Output("abcd\nefgh", False, 5)]
    found = task.diagnostics(outputs, ["abcd", "abcd"])
    assert found["eos_rate"] == 0.5
    assert found["mean_new_tokens"] == 4
    assert found["length_ratio"] == {"raw": 13 / 8, "first_line": 1.0, "prompt_restart": 13 / 8}
