import pytest
import yaml

from ksl_bench.errors import ConfigError
from ksl_bench.suite import available, build_suite, find_file, load_suite, parse_set, read_yaml


def problems_of(*assignments: str, suite: str = "quickstart") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_suite(suite, assignments)
    return list(caught.value.problems)


TWELVE = [
    "base", "full", "embedding", "lora", "prefix", "ks_partial_k4", "ks_partial_k18",
    "ks_partial_k64", "ks_transfer_k18", "ks_transfer_k64", "frequency_k18", "random_k18",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(available("suite")))
def test_every_shipped_suite_is_valid(name):
    if name == "tuned":
        pytest.skip("its baselines are the winners of a sweep: see test_winners.py")
    assert load_suite(name).name == name


def with_sources(name):
    """Return the recipes that a recipe rests on, sources first, and itself."""
    recipe = read_yaml(find_file("baseline", name))
    named = (("ticket", "from"), ("probe", "of"), ("merge", "of"))
    found = [recipe[part][field] for part, field in named if field in recipe.get(part, {})]
    performer = recipe.get("statistic", {}).get("performer", {})
    found += [
        *([performer["baseline"]] if performer else []),
        *recipe.get("vote", {}).get("of", []),
    ]
    return list(dict.fromkeys([*(one for source in found for one in with_sources(source)), name]))


@pytest.mark.parametrize("name", sorted(available("baseline")))
def test_every_shipped_recipe_is_valid_and_names_its_source(name):
    recipe = read_yaml(find_file("baseline", name))
    assert len(recipe["source"]) > 10
    pairs = {"catalan": {}, "german": {"target_language": "deu"}}  # a merge joins several
    content = {**minimal(), "conditions": pairs}
    if "statistic" in recipe or "vote" in recipe:
        content = read_yaml(find_file("suite", "detection"))
    content["baselines"] = with_sources(name)
    assert build_suite(content, []).baselines[-1].name == name


def test_the_quickstart_has_the_twelve_baselines():
    assert [one.name for one in load_suite("quickstart").baselines] == TWELVE


def minimal() -> dict:
    content = read_yaml(find_file("suite", "quickstart"))
    return {**content, "baselines": ["base"]}


def test_later_layers_win():
    content = {**minimal(), "train": {"learning_rate": 0.5, "steps": 9, "micro_batch_size": 4}}
    content["baselines"] = [{"recipe": "full", "train": {"weight_decay": 0.25}}, "embedding"]
    full, embedding = build_suite(
        content, parse_set(["baselines.full.train.max_seq_length=77", "train.schedule=cosine"])
    ).baselines
    assert full.train.learning_rate == 2e-5  # the recipe over the suite's default
    assert (full.train.epochs, full.train.steps) == (3, None)  # its epochs replace the steps
    assert full.train.weight_decay == 0.25  # the suite's entry
    assert full.train.max_seq_length == 77  # --set on one baseline
    assert {full.train.schedule, embedding.train.schedule} == {"cosine"}  # --set train on all
    assert embedding.train.max_seq_length == 512


def test_set_on_train_overrides_every_recipe():
    suite = load_suite("quickstart", ["train.steps=7", "train.learning_rate=0.5"])
    assert {(one.train.steps, one.train.learning_rate) for one in suite.baselines} == {(7, 0.5)}


def test_baselines_can_be_chosen_by_set():
    suite = load_suite("quickstart", ["baselines=[base, {recipe: lora, lora_rank: 2}]"])
    assert [one.name for one in suite.baselines] == ["base", "lora"]
    assert suite.baselines[1].hyperparameters["lora_rank"] == 2


def test_all_problems_are_reported_together_each_with_its_path():
    found = problems_of(
        "baselines.lora.lora_rank=0",
        "baselines.ks_partial_k18.ticket.k=0",
        "train.max_seq_length=2",
        "task.source_lang=eng",
        "evaluate.metrics=[bleu, blue]",
        "nonsense=1",
    )
    text = "\n".join(found)
    assert "baselines.lora.lora_rank: must be >= 1, got 0" in found
    assert "baselines.ks_partial_k18.ticket.k: must be >= 1, got 0" in found
    assert "baselines.base.train.max_seq_length: must be >= 8, got 2" in found
    assert "task.source_lang: unknown field. Did you mean 'source_language'?" in text
    assert "nonsense: unknown field." in text


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("baselines.ks_partial_k18.ticket.alpha=0", "ticket.alpha: must be > 0, got 0"),
        ("baselines.ks_partial_k18.ticket.alpha=1", "ticket.alpha: must be < 1, got 1"),
        ("baselines.ks_partial_k18.ticket.alpha=.5", "give k or alpha, not both"),
        (
            "baselines.ks_partial_k18.ticket.from=lora",
            "'lora' does not tune the whole input_embedding",
        ),
        ("baselines.ks_partial_k18.ticket.from=nobody", "unknown baseline of this suite 'nobody'"),
        (
            "baselines.ks_partial_k18.ticket.criterion=k",
            "unknown criterion 'k'. Did you mean 'ks'?",
        ),
        ("baselines.ks_partial_k18.ticket=null", "method 'partial_tuning' needs a ticket"),
        ("baselines.lora.ticket={criterion: ks, k: 3}", "method 'lora' takes no ticket"),
        ("baselines.lora.lora_ranks=3", "lora_ranks: unknown field. Did you mean 'lora_rank'?"),
        ("baselines.lorra.lora_rank=3", "unknown baseline 'lorra'. Did you mean 'lora'?"),
        ("baselines.full.method=ful", "unknown method 'ful'. Did you mean 'full'?"),
        ("baselines=[base, lorra]", "unknown baseline 'lorra'. Did you mean 'lora'?"),
        ("baselines=[base, base]", "'base' is listed twice"),
        ("seeds=[1, 1]", "seed given more than once: 1"),
        ("task.prompt='say it'", "task.prompt: a prompt must hold {source}, got 'say it'"),
        ("task.name=translatoin", "task.name: unknown task 'translatoin'. Did you mean"),
        ("task.target_language=eng", "source and target language are both 'eng'"),
        ("evaluate.split=train", "evaluate.split: must be 'dev' or 'devtest', got 'train'"),
        ("baselines.prefix.train.gradient_checkpointing=true", "not with method 'prefix'"),
        (
            "baselines=[{recipe: prompt_tuning, peft_type: CARTRIDGE, train: "
            "{gradient_checkpointing: true}}]",
            "baselines.prompt_tuning.train.gradient_checkpointing: not with method 'peft': CARTRIDGE is "
            "not tested with it; allowed: IA3, LN_TUNING, LORA, OFT, VERA, PROMPT_TUNING",
        ),
        ("train.micro_batch_size=5", "global_batch_size=16 is not a multiple of"),
        ("train.precision=bf16", "bf16 needs resources.zero_stage >= 1"),
        ("train.precision=fp16", "train.precision: must be 'fp32' or 'bf16', got 'fp16'"),
        ("resources.pack=0", "resources.pack: must be >= 1, got 0"),
        ("resources.zero_stage=4", "resources.zero_stage: must be 0, 1, 2 or 3, got 4"),
        ("train", "must be path=value"),
    ],
)
def test_bad_input_gets_a_line_with_field_value_and_what_is_allowed(assignment, said):
    found = problems_of(assignment)
    assert any(said in problem for problem in found), found
    assert not any("\n" in problem for problem in found)


def test_an_unknown_suite_names_the_closest_one():
    assert "Did you mean 'quickstart'?" in problems_of(suite="quickstrat")[0]


def test_a_file_that_is_no_yaml_is_named_with_its_line(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\n  model: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not YAML: .*line 2"):
        load_suite(str(path))


def test_yaml_cannot_make_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not YAML"):
        load_suite(str(path))


def test_recipes_in_the_working_directory_come_first(tmp_path, monkeypatch):
    (tmp_path / "baselines").mkdir()
    recipe = {"source": "a local choice", "method": "lora", "lora_rank": 3, "train": {"steps": 1}}
    (tmp_path / "baselines" / "lora.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    suite = build_suite({**minimal(), "baselines": ["lora"]}, [])
    assert suite.baselines[0].hyperparameters == {"lora_rank": 3}


CONDITIONS = "conditions={explicit: {prompt: explicit}, german: {target_language: deu}}"


def test_a_condition_is_the_task_with_what_it_gives_in_place():
    suite = load_suite("quickstart", [CONDITIONS, "task.train_size=7"])
    assert list(suite.tasks) == ["explicit", "german"]
    assert suite.tasks["german"].target_language == "deu"
    assert {one.train_size for one in suite.tasks.values()} == {7}
    assert list(load_suite("quickstart").tasks) == ["default"]


def test_a_probe_has_the_method_ticket_and_training_of_what_it_probes():
    listed = "baselines=[embedding, ks_partial_k18, random_change_k18]"
    _, probed, probe = load_suite("quickstart", [listed, "train.steps=9"]).baselines
    assert (probe.method, probe.ticket, probe.train) == (probed.method, probed.ticket, probed.train)
    assert probe.probe.change == "random"
    assert probe.description != probed.description


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["conditions={}"], "conditions: must map names to fields of the task, got {}"),
        (["conditions={a: explicit}"], "conditions.a: must be a mapping of fields of the task"),
        (["conditions={a: {promt: bare}}"], "conditions.a.promt: "),
        (["conditions={a: {prompt: bar}}"], "conditions.a.prompt: unknown prompt 'bar'"),
        (["transfer=[full]"], "transfer: needs two conditions or more"),
        ([CONDITIONS, "transfer=[ful]"], "transfer: unknown baseline of this suite 'ful'"),
        (
            ["baselines=[embedding, random_change_k18]"],
            "baselines.random_change_k18.probe.of: unknown baseline of this suite 'ks_partial_k18'",
        ),
        (
            ["baselines=[full, {recipe: random_change_k18, probe: {of: full}}]"],
            "probe.of: 'full' is full; only partial_tuning can be probed",
        ),
        (
            ["baselines=[embedding, ks_partial_k18, {recipe: random_change_k18, train: {steps: 3}}]"],
            "baselines.random_change_k18.train: a probe has that of the baseline it probes",
        ),
        (
            ["baselines=[embedding, ks_partial_k18, {recipe: random_change_k18, probe: {change: learned}}]"],
            "a probe changes something: give change or active_in",
        ),
        (
            ["baselines=[frequency_k18]", "baselines.frequency_k18.ticket.scope='*.up_proj'"],
            "ticket.scope: criterion 'frequency' picks tokens: must be input_embedding or output_head",
        ),
        (
            ["baselines=[embedding, ks_partial_k18]", "baselines.ks_partial_k18.ticket.scope=output_head"],
            "'embedding' does not tune the whole output_head",
        ),
        (
            ["baselines=[frequency_k18]", "baselines.frequency_k18.ticket.k=null"],
            "ticket.k: criterion 'frequency' needs k",
        ),
        (
            ["baselines=[lota_calibration, lota_s90]", "resources.zero_stage=3"],
            "baselines.lota_s90.method: 'lota' reads whole weights, so resources.zero_stage must be <= 2",
        ),
        (
            ["baselines=[lota_calibration, {recipe: lota_s90, ticket: {sparsity: null, k: 4}}]"],
            "ticket.sparsity: criterion 'magnitude' needs it, in place of k",
        ),
        (
            ["baselines=[lota_calibration, {recipe: lota_s90, ticket: {k: 4}}]"],
            "give k, alpha or sparsity, got k=4, alpha=None, sparsity=0.9",
        ),
        (
            ["baselines=[lota_calibration, {recipe: lota_s90, ticket: {scope: input_embedding}}]"],
            "ticket.scope: entries are picked in 'layers', got 'input_embedding'",
        ),
        (
            ["baselines=[embedding, {recipe: lota_s90, ticket: {from: embedding}}]"],
            "ticket.from: 'embedding' must be of method 'full'",
        ),
        (
            ["baselines=[lota_calibration, {recipe: lota_s90, method: partial_tuning}]"],
            "method: 'partial_tuning' tunes rows; entries are tuned by 'lota'",
        ),
        (
            ["baselines=[embedding, {recipe: lota_s90, ticket: {from: embedding, criterion: ks}}]"],
            "ticket.criterion: unknown criterion of entries 'ks'. Known: magnitude, random_entries",
        ),
    ],
)  # fmt: skip
def test_conditions_probes_and_scopes_that_cannot_be_are_refused(assignments, said):
    found = problems_of(*assignments)
    assert any(said in problem for problem in found), found


def test_a_scope_takes_its_source_from_full_tuning_or_from_tuning_of_that_scope():
    listed = "baselines=[{recipe: embedding, scope: output_head}, full, ks_partial_k18]"
    scope = "baselines.ks_partial_k18.ticket.scope=output_head"
    assert load_suite("quickstart", [listed, scope]).baselines[2].ticket.scope == "output_head"
    source = "baselines.ks_partial_k18.ticket.from=full"
    pattern = "baselines.ks_partial_k18.ticket.scope='*.mlp.up_proj'"
    assert load_suite("quickstart", [listed, source, pattern]).baselines[2].ticket.source == "full"


@pytest.mark.parametrize("suite", ["classification", "detection"])
def test_a_probe_of_positions_is_refused_where_labels_are_scored(suite):
    content = read_yaml(find_file("suite", suite))
    listed = ["baselines=[embedding, ks_partial_k18, ks_k18_only_source]"]
    with pytest.raises(ConfigError, match="works where text is generated, not where labels are"):
        build_suite(content, parse_set(listed))


def test_a_password_in_the_tracking_uri_is_refused_not_repeated_and_the_variable_named():
    (problem,) = problems_of("tracking.uri=postgresql://me:pass/word@host/db")
    assert problem.startswith("tracking.uri: postgresql://***@host/db: the stored plan")
    assert problem.endswith("$MLFLOW_TRACKING_URI")


def test_a_tracking_uri_without_a_password_stands_in_the_suite():
    uri = "http://127.0.0.1:5000"
    assert load_suite("quickstart", [f"tracking.uri={uri}"]).tracking.uri == uri
