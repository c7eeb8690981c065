import pytest

from ksl_bench.data.prompts import TEMPLATES, template
from ksl_bench.errors import ConfigError

FIELDS = {
    "source": "Hello.", "source_language": "English", "target_language": "Catalan",
    "text": "Hello.", "language": "English", "labels": "health, sports",
}  # fmt: skip
OWN = {name: "text" if "{text}" in one.text else "source" for name, one in TEMPLATES.items()}
"""The field that is the example's own text."""


def test_the_explicit_template_renders_as_published():
    assert TEMPLATES["explicit"].render(FIELDS) == (
        "Translate the following text from English to Catalan.\n\nEnglish: Hello.\nCatalan:"
    )


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_holds_its_text_and_parts_the_response_by_white_space(name):
    one = TEMPLATES[name]
    rendered = one.render(FIELDS) + one.response_prefix
    assert "Hello." in rendered
    assert rendered[-1].isspace()


def test_a_text_with_a_source_is_a_template():
    one = template("{source_language}? {source}", required="source", allowed=frozenset(FIELDS))
    assert one.render(FIELDS) == "English? Hello."


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("explicitt", "Did you mean 'explicit'?"),
        ("Translate this.", "must hold {source}"),
        ("{source} {tone}", "unknown prompt field 'tone'"),
        ("{source", "not a prompt template"),
        ("topic", "must hold {source}, got 'topic'"),
    ],
)
def test_what_is_no_template_is_refused(prompt, said):
    with pytest.raises(ConfigError, match=said.replace("{", r"\{").replace("?", r"\?")):
        template(prompt, required="source", allowed=frozenset(FIELDS))


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_span_is_where_the_field_stands_in_the_rendered_prompt(name):
    values = {**FIELDS, OWN[name]: "A {cat}: sat."}
    begin, end = TEMPLATES[name].span(values, OWN[name])
    assert TEMPLATES[name].render(values)[begin:end] == "A {cat}: sat."
