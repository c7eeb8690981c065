"""The command line as a user meets it: exit codes, one line a problem, nothing written."""

import json
import shlex
import subprocess
import sys

import pytest
import yaml

from ksl_bench.data.prompts import TEMPLATES


@pytest.fixture
def files(tmp_path):
    """A suite over aligned files in a folder of their own."""
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.eng").write_text("The cat.\nThe dog.\n", encoding="utf-8")
        (tmp_path / f"{split}.cat").write_text("El gat.\nEl gos.\n", encoding="utf-8")
    return tmp_path


def refused(done, *said):
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines), done.stderr
    for one in said:
        assert any(one in line for line in lines), done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "quickstrat"], "Did you mean 'quickstart'?"),
        (["run", "quickstart", "--set", "baselines=[lorra]"], "Did you mean 'lora'?"),
        (["run", "quickstart", "--set", "train.step=3"], "Did you mean 'steps'?"),
        (
            ["run", "quickstart", "--set", "baselines.ks_partial_k18.ticket.k=0"],
            "baselines.ks_partial_k18.ticket.k: must be >= 1, got 0",
        ),
        (
            ["run", "quickstart", "--set", "baselines.ks_partial_k18.ticket.k=9999"],
            "baselines.ks_partial_k18.ticket.k: must be <= 1500 (the vocabulary), got 9999",
        ),
        (
            ["run", "quickstart", "--set", "baselines=[{recipe: lora, target_modules: [nope]}]"],
            "baselines.lora.target_modules: PEFT refuses LoraConfig: ",
        ),
        (
            [
                "plan",
                "quickstart",
                "--set",
                "baselines=[{recipe: prompt_tuning, peft_config: {prompt_tuning_init: TEXT, "
                "prompt_tuning_init_text: hi, tokenizer_name_or_path: /nope}}]",
            ],
            "baselines.prompt_tuning.peft_config: PEFT refuses PromptTuningConfig: ",
        ),
        (["run", "quickstart", "--set", "task.prompt=Say it."], "must hold {source}"),
        (["run", "quickstart", "--set", "resources.workers_per_run=64"], "the cluster has at most"),
        (
            ["run", "quickstart", "--set", "evaluate.metrics=[spbleu_flores200]"],
            "models/flores200sacrebleuspm",
        ),
        (["run", "quickstart", "--storage", "memory://x"], "tracking.uri: must be given"),
        (["run", "quickstart", "--sett", "x=1"], "No such option"),
        (["run", "quickstart", "--storage", ""], "--storage: must be a folder or a URI, got ''"),
        (["run", "quickstart", "--set", "seeds=[0, -1]"], "seeds.1: must be >= 0, got -1"),
        (["plan", "quickstart", "--set", f"seeds=[{2**32}]"], "must be <= 4294967295"),
        (["sweep", "learning_rate", "--set", "space.seeds=[-1]"], "must be >= 0, got -1"),
        (["run", "quickstart", "--set", "train={steps: 4, steps: 8}"], "the value is not YAML"),
        (["run", "quickstart", "--set", "task.train_files=[]"], "train_files: must name files"),
        (["certify", "--counterexample", "--seed", "-1"], "--seed"),
        (["run"], "Missing argument"),
        (["leaderboard", "quickstart", "--format", "pdf"], "unknown format 'pdf'"),
        (["leaderboard", "nothing"], "nothing is stored"),
        (["track", "--sync", "--storage", "nowhere"], "--storage: nothing is stored in "),
        (["list", "recipes"], "unknown listing 'recipes'"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(ksl, tmp_path, arguments, said):
    # more workers than the machine has: a batch that divides evenly, so that this is all that is wrong
    if "resources.workers_per_run=64" in arguments:
        arguments = [*arguments, "--set", "train.global_batch_size=1024"]
    refused(ksl(*arguments, cwd=tmp_path), said)
    assert list(tmp_path.iterdir()) == []


def test_files_of_unequal_length_are_refused_with_both_counts(ksl, files):
    (files / "train.cat").write_text("El gat.\n", encoding="utf-8")
    refused(ksl("run", "own_files", cwd=files), "train.eng", "2", "1")
    assert not (files / "ksl-results").exists()


def test_an_empty_file_is_refused(ksl, files):
    (files / "dev.eng").write_text("", encoding="utf-8")
    (files / "test.eng").write_text("", encoding="utf-8")
    refused(ksl("run", "own_files", cwd=files), "test.eng")


def test_a_file_that_is_not_utf8_is_refused_with_its_line(ksl, files):
    (files / "train.eng").write_bytes(b"The cat.\nThe d\xffg.\n")
    refused(ksl("run", "own_files", cwd=files), "train.eng:2")


def test_a_model_folder_without_safetensors_is_refused(ksl, files):
    (files / "model").mkdir()
    (files / "model" / "config.json").write_text("{}")
    (files / "model" / "pytorch_model.bin").write_bytes(b"")
    done = ksl("run", "own_files", "--set", "model.name_or_path=./model", cwd=files)
    refused(done, "holds no safetensors weights, only pytorch_model.bin")


def test_a_model_that_cannot_be_reached_is_refused_before_the_start(ksl, files):
    done = ksl("run", "own_files", "--set", "model.name_or_path=nobody/nothing", cwd=files)
    refused(done, "'nobody/nothing'")
    assert not (files / "ksl-results").exists()


def test_a_storage_that_cannot_be_written_is_refused(ksl, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(ksl("run", "quickstart", "--storage", "file/inside", cwd=tmp_path), "file/inside")


@pytest.mark.parametrize("suite", ["name: a\nname: b\n", "train: {steps: 4, steps: 8}\n"])
def test_a_key_that_stands_twice_is_refused_with_its_line(ksl, tmp_path, suite):
    (tmp_path / "mine.yaml").write_text(suite)
    done = ksl("plan", "mine.yaml", cwd=tmp_path)
    refused(done, "mine.yaml: not YAML: ", "stands there twice", "line ")


def test_a_ticket_that_is_there_is_not_overwritten(ksl, tmp_path):
    ticket = tmp_path / "ks18.safetensors"
    ticket.write_bytes(b"of days of work")
    done = ksl("ticket", "find", "--before", "tiny-base", "--after", "x", "--output", str(ticket))
    refused(done, "ks18.safetensors exists and is not overwritten")
    assert ticket.read_bytes() == b"of days of work"


@pytest.mark.parametrize("command", [[], ["submit"], ["ticket"]])
def test_without_arguments_there_is_a_help_page_and_no_empty_error(ksl, command):
    done = ksl(*command)
    assert (done.returncode, done.stderr) == (2, "")
    assert "Usage" in done.stdout


def test_prompts_are_listed_as_they_are(ksl):
    listed = json.loads(ksl("list", "prompts", "--json").stdout)
    assert listed == {name: one.text for name, one in TEMPLATES.items()}
    assert "\\n" in ksl("list", "prompts").stdout  # a line each for people


def test_list_names_the_twelve_baselines(ksl):
    listed = json.loads(ksl("list", "baselines", "--json").stdout)
    assert {"base", "full", "ks_partial_k18", "random_k18"} <= listed.keys()
    assert all(listed.values())


def test_plan_tells_parameters_and_memory_from_a_configuration_alone(ksl, tmp_path):
    llama = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000,
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(llama))
    done = ksl("plan", "quickstart", "--set", f"model.name_or_path={tmp_path}", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["baseline"]: row for row in json.loads(done.stdout)["baselines"]}
    assert rows["full"]["trainable_parameters"] == 6_738_415_616
    assert rows["embedding"]["trainable_parameters"] == 131_072_000
    assert rows["ks_partial_k18"]["trainable_parameters"] == 73_728
    assert rows["lora"]["trainable_parameters"] == 4_194_304
    assert rows["full"]["memory_bytes"]["total"] > rows["lora"]["memory_bytes"]["total"]


def test_doctor_finds_the_shipped_model(ksl):
    findings = json.loads(ksl("doctor", "--json").stdout)
    assert {one["what"]: one["level"] for one in findings}["tiny base"] == "ok"


def test_every_shipped_yaml_is_safe_yaml():
    from ksl_bench.suite import available

    for kind in ("suite", "baseline"):
        for path in available(kind).values():
            assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_command_itself_refuses_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ksl_bench.cli", "run", "quickstrat"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown suite 'quickstrat'. Did you mean 'quickstart'?")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    ["", "run", "plan", "leaderboard", "list", "doctor", "track"],
    ids=lambda c: c or "all",
)
def test_every_command_has_a_help_page(ksl, command):
    done = ksl(*filter(None, [command]), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_next_steps_go_on_with_what_was_asked(tmp_path, capsys):
    from ksl_bench.cli.suites import _next_steps
    from ksl_bench.store import Store
    from ksl_bench.suite import load_suite

    changes = ["baselines=[base, lora]", "tracking.uri=http://127.0.0.1:5000"]
    _next_steps(Store(str(tmp_path)), "quickstart", changes, load_suite("quickstart", changes))
    _, *told = capsys.readouterr().out.strip().splitlines()
    assert shlex.split(told[2]) == [
        "ksl-bench", "run", "quickstart", "--set", changes[0], "--set", changes[1],
        "--set", "seeds=[0,1,2]", "--storage", str(tmp_path),
    ]  # fmt: skip
    assert told[1].strip() == "http://127.0.0.1:5000"


def test_the_next_steps_show_no_password(tmp_path, monkeypatch, capsys):
    from ksl_bench.cli.suites import _next_steps
    from ksl_bench.store import Store
    from ksl_bench.suite import load_suite

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:pass@host/db")
    _next_steps(Store(str(tmp_path)), "quickstart", [], load_suite("quickstart"))
    assert "postgresql://***@host/db" in capsys.readouterr().out
