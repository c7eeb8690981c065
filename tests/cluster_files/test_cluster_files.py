"""The files for clusters: each fits its schema, each command in them is one that the CLI takes."""

import copy
import re
import shlex
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml
from jsonschema import Draft202012Validator, ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.exceptions import TyperException

import ksl_bench
from ksl_bench.cli import app
from ksl_bench.space import load_space
from ksl_bench.suite import load_suite

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = REPOSITORY / "cluster"
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file())
YAML = [path for path in FILES if path.suffix == ".yaml"]
LAUNCHERS = sorted((CLUSTER / "launcher").glob("*.yaml"))
KUBERNETES = [*sorted((CLUSTER / "kubernetes").glob("*.yaml")), CLUSTER / "mlflow/kubernetes.yaml"]
SCHEMA = "1.33"
RAY = next(
    line.split("==")[1]
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if line.startswith("ray==")
)


def named(path):
    return str(path.relative_to(CLUSTER))


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


OBJECTS = [
    pytest.param(one, id=f"{path.name}-{one['kind']}-{one['metadata']['name']}")
    for path in KUBERNETES
    for one in documents(path)
]


def walk(value):
    """Yield every mapping in a document."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)


def templates(document):
    """Yield the pod templates of a document, whatever holds them."""
    for one in walk(document):
        if "containers" in one.get("spec", {}) if isinstance(one.get("spec"), dict) else False:
            yield one


# Kubernetes.


def check(document):
    kubernetes_validate.validate(document, SCHEMA, strict=True)


@pytest.mark.parametrize("document", OBJECTS)
def test_every_object_fits_the_schema_of_kubernetes(document):
    if document["apiVersion"].startswith("ray.io/"):
        KUBERAY.validate(document)
        pods = list(templates(document))
        assert len(pods) >= 2  # the head and a group of workers
        for pod in pods:  # KubeRay's own fields hold templates of pods, which have a schema
            check(
                {
                    "apiVersion": "v1",
                    "kind": "PodTemplate",
                    "metadata": {"name": "x"},
                    "template": pod,
                }
            )
        check({"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]})
    else:
        check(document)


KUBERAY = Draft202012Validator(
    yaml.safe_load((REPOSITORY / "tests/cluster_files/kuberay.yaml").read_text())
)


def cluster_of(document):
    """Return the specification of a RayCluster, or of the one that a RayJob makes."""
    return document["spec"].get("rayClusterSpec", document["spec"])


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
@pytest.mark.parametrize(
    "break_it",
    [
        lambda one: one.update(kind="RayClusters"),
        lambda one: one["spec"].update(enableInTreeAutoscalling=True),
        lambda one: cluster_of(one).update(enableInTreeAutoscaling="true"),
        lambda one: cluster_of(one)["authOptions"].update(mode="tokens"),
        lambda one: cluster_of(one)["headGroupSpec"].pop("template"),
        lambda one: cluster_of(one)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda one: cluster_of(one)["workerGroupSpecs"][0].update(maxReplica=4),
        lambda one: cluster_of(one)["workerGroupSpecs"][0].update(maxReplicas="4"),
        lambda one: cluster_of(one)["workerGroupSpecs"][0].pop("groupName"),
        lambda one: cluster_of(one)["autoscalerOptions"].update(idleTimeout=5),
    ],
)
def test_a_wrong_field_of_kuberay_is_noticed(name, break_it):
    document = copy.deepcopy(documents(CLUSTER / "kubernetes" / name)[0])
    KUBERAY.validate(document)
    break_it(document)
    with pytest.raises(ValidationError):
        KUBERAY.validate(document)


def test_the_schema_notices_a_misspelt_field():
    (document,) = documents(CLUSTER / "kubernetes/cronjob.yaml")
    broken = copy.deepcopy(document)
    broken["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        check(broken)


@pytest.mark.parametrize("document", OBJECTS)
def test_no_container_runs_as_root_or_without_bounds(document):
    for pod in templates(document):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][bound].keys()


def ray_clusters():
    for path in (CLUSTER / "kubernetes").glob("*.yaml"):
        for one in documents(path):
            if one["kind"] == "RayCluster":
                yield one["spec"]
            elif one["kind"] == "RayJob":
                yield one["spec"]["rayClusterSpec"]


def test_ray_clusters_authenticate_grow_from_zero_and_keep_work_off_the_head():
    found = list(ray_clusters())
    assert len(found) == 2
    for one in found:
        assert one["rayVersion"] == RAY
        assert one["authOptions"] == {"mode": "token"}
        assert one["enableInTreeAutoscaling"] is True
        assert one["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        for group in one["workerGroupSpecs"]:
            assert group["minReplicas"] == 0 < group["maxReplicas"]


def labels_of(document):
    """Return the labels that the pods of a document will have; KubeRay gives its own to each of its pods."""
    is_ray = document["apiVersion"].startswith("ray.io/")
    given = {"ray.io/is-ray-node": "yes"} if is_ray else {}
    return [given | pod.get("metadata", {}).get("labels", {}) for pod in templates(document)]


def selects(policy, labels):
    selector = policy["spec"]["podSelector"]
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        one["operator"] == "In" and labels.get(one["key"]) in one["values"]
        for one in selector.get("matchExpressions", [])
    )


@pytest.mark.parametrize("path", KUBERNETES, ids=named)
def test_what_listens_is_reached_from_its_namespace_only(path):
    """By a policy of the same file, which may be the only one that is applied."""
    policies = [one for one in documents(path) if one["kind"] == "NetworkPolicy"]
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        (rule,) = policy["spec"]["ingress"]
        own, *others = rule["from"]
        assert own == {"podSelector": {}}
        operator = {"app.kubernetes.io/name": "kuberay-operator"}
        assert all(one["podSelector"]["matchLabels"] == operator for one in others)
    for document in documents(path):
        if document["kind"] in ("RayCluster", "RayJob", "Deployment", "StatefulSet"):
            for labels in labels_of(document):
                assert any(selects(policy, labels) for policy in policies), labels


def test_no_file_that_is_deleted_takes_another_files_objects_along():
    named = [
        (one["kind"], one["metadata"]["name"]) for path in KUBERNETES for one in documents(path)
    ]
    assert len(named) == len(set(named))


def test_what_a_container_takes_from_secrets_and_config_maps_is_made_as_the_readme_says():
    text = (CLUSTER / "kubernetes/README.md").read_text() + (
        CLUSTER / "mlflow/README.md"
    ).read_text()
    made = set(re.findall(r"create (?:secret generic|configmap) (\S+)", text))
    made |= {
        one["metadata"]["name"]  # KubeRay keeps the token in a Secret named like the cluster
        for path in KUBERNETES
        for one in documents(path)
        if one["kind"] == "RayCluster"
    }
    wanted = {
        one[kind]["name"]
        for path in KUBERNETES
        for document in documents(path)
        for one in walk(document)
        for kind in ("secretRef", "configMapRef", "secretKeyRef")
        if isinstance(one.get(kind), dict)
    }
    assert wanted <= made
    assert "ksl-bench-storage" in wanted


# Ray's launcher.


@pytest.mark.parametrize("path", LAUNCHERS, ids=named)
def test_ray_takes_the_launcher_file(path):
    (config,) = documents(path)
    whole = prepare_config(copy.deepcopy(config))
    validate_config(whole)
    assert "RAY_AUTH_MODE=token" in " ".join(config["docker"]["run_options"])
    assert config["idle_timeout_minutes"] <= 30
    with pytest.raises(Exception, match="max_worker"):
        validate_config({**whole, "max_worker": 3})


@pytest.mark.parametrize("path", LAUNCHERS, ids=named)
def test_a_launched_head_keeps_its_dashboard_to_itself(path):
    (config,) = documents(path)
    starts = [one for one in config["head_start_ray_commands"] if "ray start" in one]
    assert len(starts) == 1
    assert "--dashboard-host=127.0.0.1" in starts[0]


# MLflow's compose file.


def test_the_compose_file_hangs_together():
    (compose,) = documents(CLUSTER / "mlflow/compose.yaml")
    services = compose["services"]
    given = {
        line.split("=")[0]
        for line in (CLUSTER / "mlflow/settings.env.example").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    }
    text = (CLUSTER / "mlflow/compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == given
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]


def test_an_example_of_settings_holds_no_secret():
    for line in (CLUSTER / "mlflow/settings.env.example").read_text().splitlines():
        if re.match(r"\w*(PASSWORD|KEY)\w*=", line):
            assert line.endswith("=")


# The image.


def instructions():
    text = (CLUSTER / "image/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_pinned_and_does_not_run_as_root():
    found = instructions()
    bases = [rest for word, rest in found if word == "FROM"]
    assert all(re.search(r":\d+\.\d+\.\d+", one) for one in bases)
    assert [rest for word, rest in found if word == "USER"][-1] not in ("0", "root")
    installs = [rest for word, rest in found if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("-c constraints.txt" in one for one in installs)


def test_what_the_image_copies_is_there_and_not_ignored():
    ignored = (CLUSTER / "image/Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for word, rest in instructions():
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (REPOSITORY / source).exists()
                assert f"!{source}" in ignored


def test_the_extras_that_the_image_installs_exist():
    import tomllib

    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (wanted,) = re.findall(r'"\.\[([^\]]+)\]"', (CLUSTER / "image/Dockerfile").read_text())
    assert set(wanted.split(",")) <= extras.keys()


# All files.


@pytest.mark.parametrize("path", YAML, ids=named)
def test_every_yaml_file_holds_mappings(path):
    assert documents(path)
    assert all(isinstance(one, dict) for one in documents(path))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_image_is_the_latest_and_ours_is_of_this_version(path):
    text = path.read_text()
    assert ":latest" not in text
    for version in re.findall(r"example\.com/ksl-bench:([\w.]+)", text):
        assert version == ksl_bench.__version__


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_secret_is_in_a_file(path):
    text = path.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|-----BEGIN", text)
    for name, value in re.findall(
        r"(\w*(?:PASSWORD|SECRET|TOKEN)\w*)['\"]?[:=][ \t]*([^\s,}]+)", text
    ):
        assert re.match(r"^(\$|\"\$|/|s3://|http|\{)", value) or name.endswith("_PATH"), (
            name,
            value,
        )


def commands():
    """Yield every ksl-bench command line in any file: in text, in shell strings, in YAML lists."""
    for path in FILES:
        text = path.read_text().replace("\\\n", " ")
        if path.suffix == ".yaml":
            for document in documents(path):
                for one in walk(document):
                    for value in one.values():
                        if isinstance(value, list) and value[:1] == ["ksl-bench"]:
                            yield path, [str(word) for word in value]
                        elif isinstance(value, str) and value.startswith("ksl-bench "):
                            yield path, shlex.split(value)
        else:
            for line in re.findall(r"^(?:\w+=\S+ )*(ksl-bench .*)$", text, flags=re.M):
                yield path, shlex.split(line, comments=True)


COMMANDS = [
    pytest.param(words, id=f"{path.relative_to(CLUSTER)}-{number}")
    for number, (path, words) in enumerate(commands())
]


def resolve(group, words, parent=None):
    """Parse a group's own options; return its context, and the command that follows with its words."""
    context = group.make_context(group.name, list(words), parent=parent)
    rest = [*context._protected_args, *context.args]
    return context, *group.resolve_command(context, rest)


def parse(words):
    """Parse a command line with the CLI itself; nothing is run. Returns the verb and its values."""
    root = typer.main.get_command(app)
    context, verb, command, rest = resolve(root, words)
    while hasattr(command, "commands"):
        group = verb
        context, verb, command, rest = resolve(command, rest, context)
        if group == "submit" and verb in ("run", "sweep"):
            command = root.commands[verb]  # what the job will run
    return verb, command.make_context(verb, list(rest)).params


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_is_one_that_the_command_line_takes(words):
    if words[1:] == ["--help"]:
        return
    verb, values = parse(words[1:])
    if verb == "run":
        load_suite(values["suite"], values["set_"] or [])
    if verb == "sweep":
        load_space(values["space"], values["set_"] or [])


def test_commands_are_found_and_a_wrong_one_is_noticed():
    assert len(COMMANDS) >= 8
    for wrong in (
        "run quickstart --nonsense",
        "submit -- run quickstart --nonsense",
        "submit --no",
    ):
        with pytest.raises(TyperException):
            parse(shlex.split(wrong))


def test_every_schedule_names_what_is_new_each_time():
    (document,) = documents(CLUSTER / "kubernetes/cronjob.yaml")
    (container,) = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "--seed-offset" in container["command"]
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
