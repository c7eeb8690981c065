"""Base models by folder and by id: found, pinned, loaded, or refused in one line."""

import hashlib
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import GatedRepoError

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec
from ksl_bench.errors import ModelError
from ksl_bench.models import find_model, load_model, load_tokenizer, skeleton, tokenizer_digest

COMMIT = "a" * 40


@pytest.fixture
def folder(tmp_path):
    """A model folder of one's own: the shipped base, copied."""
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_base.PATH / name, tmp_path / name)
    return tmp_path


def digest(folder):
    return find_model(ModelSpec(name_or_path=str(folder))).digest


def test_a_folder_is_the_same_model_wherever_it_lies_and_whatever_is_said_of_it(
    folder, tmp_path_factory
):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copied"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "README.md").write_text("A model card.")
    (elsewhere / "generation_config.json").write_text('{"repetition_penalty": 1.1}')
    assert digest(elsewhere) == digest(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_folder_of_which_one_part_changed_is_another_model(folder, name):
    before = digest(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert digest(folder) != before


def test_remote_code_is_a_part_of_the_model(folder):
    before = digest(folder)
    (folder / "modeling_own.py").write_text("")
    assert digest(folder) != before


def test_the_shipped_base_is_known_by_its_weights_alone():
    """Results of earlier versions are found by this."""
    content = (tiny_base.PATH / "model.safetensors").read_bytes()
    weights = hashlib.sha256(content).digest()
    expected = hashlib.sha256(b"model.safetensors\0" + weights).hexdigest()
    assert find_model(ModelSpec(name_or_path="tiny-base")).digest == expected


@pytest.mark.parametrize("described", [True, False])
def test_a_gated_model_is_refused_with_what_to_do(monkeypatch, described):
    """The hub describes a gated model to everyone; only its files are for those who were let in."""
    answer = SimpleNamespace(headers={}, request=None)
    gated = GatedRepoError("401", response=answer)

    def refuse(*_, **__):
        raise gated

    def describe(*_, **__):
        files = [SimpleNamespace(rfilename="model.safetensors")]
        return SimpleNamespace(sha=COMMIT, siblings=files, gated="manual")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", describe if described else refuse)
    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", refuse)
    with pytest.raises(
        ModelError, match="'meta/llama' is gated: accept its terms and set HF_TOKEN"
    ):
        find_model(ModelSpec(name_or_path="meta/llama", revision=COMMIT))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_come_in_the_asked_precision_and_twice_the_same(folder, precision):
    reference = find_model(ModelSpec(name_or_path=str(folder)))
    one, two = (load_model(reference, precision=precision) for _ in range(2))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert {parameter.dtype for parameter in one.parameters()} == {dtype}
    assert not one.training
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_skeleton_has_the_shapes_and_no_memory(folder):
    (folder / "model.safetensors").unlink()
    reference = find_model(ModelSpec(name_or_path=str(folder)), weights=False)
    model = skeleton(reference)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.get_input_embeddings().weight.shape == (1500, 128)


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors weights, only pytorch_model\.bin"):
        find_model(ModelSpec(name_or_path=str(folder)))


def test_a_folder_has_no_revision(folder):
    with pytest.raises(ModelError, match=r"model\.revision: a folder has none, got 'main'"):
        find_model(ModelSpec(name_or_path=str(folder), revision="main"))


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        find_model(ModelSpec(name_or_path=str(tmp_path)))


def test_an_id_that_cannot_be_had_is_refused_in_one_line():
    with pytest.raises(ModelError, match="'nobody/nothing'") as caught:
        find_model(ModelSpec(name_or_path="nobody/nothing"))
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]


def test_a_tokenizer_without_eos_is_refused(folder):
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}'
    )
    with pytest.raises(ModelError, match="has no EOS token"):
        load_tokenizer(find_model(ModelSpec(name_or_path=str(folder))))


def test_a_tokenizer_is_known_by_its_vocabulary_and_special_tokens(folder):
    tokenizer = load_tokenizer(find_model(ModelSpec(name_or_path=str(folder))))
    before = tokenizer_digest(tokenizer)
    assert before == tokenizer_digest(
        load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base")))
    )
    tokenizer.add_tokens(["<new>"])
    assert tokenizer_digest(tokenizer) != before
    assert tokenizer.padding_side == "left"


def test_an_id_is_pinned_to_its_commit_and_loaded_through_the_hubs_cache(folder, tmp_path):
    """The real loading code by id, offline, from a cache laid out as the hub's client does it."""
    cache = tmp_path / "home" / "hub" / "models--someone--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    snapshot = cache / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for path in folder.glob("*.*"):
        shutil.copy(path, snapshot / path.name)
    code = (
        "from ksl_bench.config import ModelSpec\n"
        "from ksl_bench.models import find_model, load_model, load_tokenizer\n"
        "found = find_model(ModelSpec(name_or_path='someone/tiny', revision='main'))\n"
        "model = load_model(found, precision='fp32')\n"
        "load_tokenizer(found)\n"
        "print(found.revision, found.digest, sum(one.numel() for one in model.parameters()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [COMMIT, COMMIT, "1023872"]


def test_a_hub_that_cannot_be_reached_is_one_line_not_a_traceback(tmp_path):
    """A refused connection is an error of the HTTP library's own kind, neither the hub's nor the system's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "plan", "quickstart", "--set",
         "model.name_or_path=someone/nothing"],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9",
             "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: model.name_or_path: 'someone/nothing' is no folder, and the hub")
