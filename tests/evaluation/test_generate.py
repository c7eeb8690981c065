import json
import shutil

import torch

from ksl_bench import tiny_base
from ksl_bench.config import DecodingSpec, ModelSpec
from ksl_bench.evaluation.generate import batches_by_length, generate
from ksl_bench.models import find_model, load_model, load_tokenizer
from ksl_bench.suite import load_suite
from ksl_bench.tasks import build_task
from ksl_bench.training.loop import Worker

PROMPTS = [
    "English: The dog sees the house.\nCatalan:",
    "English: My sister buys two red books at the market.\nCatalan:",
    "English: The cat sleeps.\nCatalan:",
]


def load():
    reference = find_model(ModelSpec(name_or_path="tiny-base"))
    return load_model(reference, precision="fp32"), load_tokenizer(reference)


def test_batches_hold_every_prompt_once_longest_first():
    batches = batches_by_length([[0] * n for n in (3, 9, 5, 9, 1)], batch_size=2)
    assert batches == [[1, 3], [2, 0], [4]]


def test_a_batch_gives_the_text_that_transformers_gives_prompt_by_prompt():
    model, tokenizer = load()
    decoding = DecodingSpec(max_new_tokens=16, batch_size=3)
    outputs = generate(model, tokenizer, PROMPTS, decoding=decoding, worker=Worker())
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            eos = tokenizer.eos_token_id
            greedy = model.generate(ids, max_new_tokens=16, do_sample=False, eos_token_id=eos)
        alone = greedy[0, ids.shape[1] :]
        assert output.text == tokenizer.decode(alone, skip_special_tokens=True)
        assert output.ended is (tokenizer.eos_token_id in alone.tolist())
        assert output.tokens == 16 or output.ended


def test_what_the_publisher_says_of_decoding_changes_nothing(tmp_path):
    folder = tmp_path / "published"
    shutil.copytree(tiny_base.PATH, folder)
    # As instruction-tuned models are published; it would end the rambling that is measured here.
    own = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "eos_token_id": [2, 14]}
    (folder / "generation_config.json").write_text(json.dumps(own))
    published = load_model(find_model(ModelSpec(name_or_path=str(folder))), precision="fp32")
    model, tokenizer = load()
    decoding = DecodingSpec(max_new_tokens=40, batch_size=3)
    one, other = (
        generate(each, tokenizer, PROMPTS, decoding=decoding, worker=Worker())
        for each in (model, published)
    )
    assert one == other


def test_many_directions_share_their_batches():
    suite = load_suite("directions", ["task.devtest_size=10"])
    task, reference = build_task(suite.task), find_model(suite.model)
    items, batches = task.read("devtest").items, []
    generate(
        load_model(reference, precision="fp32"),
        load_tokenizer(reference),
        [task.template.render(one.fields) for one in items],
        decoding=DecodingSpec(max_new_tokens=1, batch_size=50),
        worker=Worker(),
        before_batch=lambda indices, length: batches.append(indices),
    )
    assert [len(batch) for batch in batches] == [50] * 4
    for batch in batches:
        assert len({items[index].groups["direction"] for index in batch}) > 10


def test_beam_search_is_passed_on():
    model, tokenizer = load()
    decoding = DecodingSpec(max_new_tokens=8, batch_size=2, num_beams=3)
    outputs = generate(model, tokenizer, PROMPTS, decoding=decoding, worker=Worker())
    ids = tokenizer(PROMPTS[1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        alone = model.generate(ids, max_new_tokens=8, do_sample=False, num_beams=3)
    assert outputs[1].text == tokenizer.decode(alone[0, ids.shape[1] :], skip_special_tokens=True)
