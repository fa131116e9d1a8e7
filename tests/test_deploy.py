"""The container and Kubernetes files: linters, and what these do not know: our options, routes and metrics."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import typer.main
import yaml
from yamllint import linter  # type: ignore[import-untyped]
from yamllint.config import YamlLintConfig  # type: ignore[import-untyped]

from garbage_cli import __version__, vendor
from garbage_cli.cli import app
from garbage_cli.server import metrics
from garbage_cli.server.app import ROUTES
from garbage_cli.server.desk import HELD_BODIES
from garbage_cli.server.options import ServeOptions
from garbage_cli.server.worker import LAST_CALL

DEPLOY = Path(__file__).parents[1] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = sorted(set((DEPLOY / "kubernetes").glob("*.yaml")) - {DEPLOY / "kubernetes" / "kustomization.yaml"})
PARTS = [part for path in MANIFESTS for part in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def one(kind: str) -> dict[str, Any]:
    (found,) = [part for part in PARTS if part["kind"] == kind]
    assert isinstance(found, dict)
    return found


POD = one("Deployment")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


# ---- the field's linters


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_yamllint_finds_nothing(path: Path) -> None:
    config = YamlLintConfig(file=str(DEPLOY / ".yamllint"))
    assert [str(each) for each in linter.run(path.read_text(encoding="utf-8"), config, str(path))] == []


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.33"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part["kind"])
def test_kubernetes_takes_each_manifest(part: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(part, version, strict=True)


# ---- what they don't know


def test_the_image_installs_no_extra_and_no_newest() -> None:
    (words,) = (each.replace("\\", " ").split() for each in re.findall(r"pip install ([^&]*)", DOCKERFILE))
    assert [word for word in words if not word.startswith("--")] == ["."]
    images = [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE), CONTAINER["image"]]
    images += [each["image"] for each in POD["spec"]["initContainers"]]
    assert all(image.rpartition("/")[2].partition(":")[2][:1].isdigit() for image in images), images
    assert CONTAINER["image"].endswith(f":{__version__}")


def test_image_and_pod_start_the_same_program_as_the_same_user() -> None:
    assert 'ENTRYPOINT ["garbage"]' in DOCKERFILE
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    context = POD["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert int(user) > 0
    assert "command" not in CONTAINER
    assert set(re.findall(r"^STOPSIGNAL (\S+)", DOCKERFILE, re.MULTILINE)) <= {"SIGTERM"}  # what the server drains at


def arguments() -> list[list[str]]:
    (command,) = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    return [re.findall(r'"([^"]*)"', command), CONTAINER["args"]]


@pytest.mark.parametrize("args", arguments(), ids=["image", "pod"])
def test_every_option_is_one(args: list[str]) -> None:
    command = typer.main.get_command(app).commands[args[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {each for each in args if each.startswith("--")} <= known
    assert args[args.index("--host") + 1] == "0.0.0.0"
    assert args[args.index("--model") + 1] in {each["mountPath"] for each in CONTAINER["volumeMounts"]}


def test_ports_and_probes_are_those_of_the_server() -> None:
    (port,) = CONTAINER["ports"]
    assert str(port["containerPort"]) == CONTAINER["args"][CONTAINER["args"].index("--port") + 1]
    assert f"EXPOSE {port['containerPort']}" in DOCKERFILE
    assert f"127.0.0.1:{port['containerPort']}/readyz" in DOCKERFILE
    probes = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {each["port"] for each in probes.values()} == {port["name"]}
    assert {name: each["path"] for name, each in probes.items()} == {
        "startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz",
    }  # fmt: skip
    startup = CONTAINER["startupProbe"]
    assert (
        startup["periodSeconds"] * startup["failureThreshold"] >= 120
    )  # what a first start took on a busy node, twice
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert {each["path"] for each in probes.values()} | {annotations["prometheus.io/path"]} <= set(ROUTES)
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert one("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]


def test_the_autoscaler_follows_a_metric_that_the_server_has() -> None:
    (metric,) = one("HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert f'"{name}"' in Path(metrics.__file__).read_text(encoding="utf-8")
    (rule,) = yaml.safe_load((DEPLOY / "prometheus-adapter.yaml").read_text(encoding="utf-8"))["rules"]["custom"]
    assert (rule["name"]["matches"], rule["name"]["as"]) == (name, name)
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert int(re.findall(r"\[(\d+)m\]", rule["metricsQuery"])[0]) >= 2  # Prometheus asks once a minute
    assert "by (<<.GroupBy>>)" in rule["metricsQuery"]
    queue = int(CONTAINER["args"][CONTAINER["args"].index("--queue") + 1])
    assert float(metric["pods"]["target"]["averageValue"]) < queue / 4  # pods come before clients are sent away


def test_pods_go_slowly_and_one_is_always_left() -> None:
    scaler, budget = one("HorizontalPodAutoscaler")["spec"], one("PodDisruptionBudget")["spec"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert scaler["minReplicas"] > budget["maxUnavailable"]
    assert "minAvailable" not in budget  # of the two, Kubernetes takes one


def test_what_is_written_to_is_mounted() -> None:
    mounts = {each["mountPath"]: each for each in CONTAINER["volumeMounts"]}
    assert re.findall(r"^ENV .*?\bHOME=(\S+)", DOCKERFILE, re.MULTILINE | re.DOTALL)[0] == "/tmp"
    assert re.findall(r"XDG_CACHE_HOME=(\S+)", DOCKERFILE)[0].startswith("/tmp/")
    assert not mounts["/tmp"].get("readOnly")
    assert mounts["/model"]["readOnly"]
    assert mounts["/keys"]["readOnly"]
    volumes = {each["name"]: each for each in POD["spec"]["volumes"]}
    assert {each["name"] for each in mounts.values()} == set(volumes)
    assert all("sizeLimit" in each["emptyDir"] for each in volumes.values() if "emptyDir" in each)


def test_the_model_is_copied_to_where_the_server_looks_for_it() -> None:
    (first,) = POD["spec"]["initContainers"]
    (copied,) = first["volumeMounts"]
    assert first["command"][-1].rstrip("/") == copied["mountPath"]
    assert {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}[copied["name"]] == "/model"


def test_keys_are_asked_for_and_the_servers_user_alone_reads_them() -> None:
    args, context = CONTAINER["args"], POD["spec"]["securityContext"]
    (volume,) = (each for each in POD["spec"]["volumes"] if "secret" in each)
    (mount,) = (each["mountPath"] for each in CONTAINER["volumeMounts"] if each["name"] == volume["name"])
    file = Path(args[args.index("--api-key-file") + 1])
    assert str(file.parent) == mount
    made = rf"secret generic {volume['secret']['secretName']} --from-file={file.name}$"
    assert re.search(made, (DEPLOY / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert volume["secret"]["defaultMode"] == 0o440
    assert context["fsGroup"] == context["runAsGroup"]  # a secret's files are root's and this group's


def test_every_lock_is_shut() -> None:
    pod = POD["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in (*pod["containers"], *pod["initContainers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, each["name"]  # fmt: skip
        assert each["resources"].keys() == {"requests", "limits"}
    policy = one("NetworkPolicy")["spec"]
    assert (policy["egress"], policy["policyTypes"]) == ([], ["Ingress", "Egress"])


def test_a_pod_has_the_time_that_the_server_takes_to_stop() -> None:
    pause = int(re.findall(r"sleep\((\d+)\)", " ".join(CONTAINER["lifecycle"]["preStop"]["exec"]["command"]))[0])
    needed = pause + LAST_CALL + ServeOptions(Path()).drain_seconds
    assert POD["spec"]["terminationGracePeriodSeconds"] > needed
    assert one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_pod_has_the_memory_of_the_largest_bodies_and_photos() -> None:
    limits = CONTAINER["resources"]["limits"]
    photos = (int(limits["cpu"]) + 1) * 4 * ServeOptions(Path()).max_pixels  # one more is decoded than are inferred
    needed = (256 << 20) + HELD_BODIES + photos
    assert int(limits["memory"].removesuffix("Mi")) << 20 > needed
    assert CONTAINER["resources"]["requests"]["cpu"] == limits["cpu"]


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000 100000", 1), ("150000 100000", 2), ("20000 100000", 1), ("max 100000", 8), ("6400000 100000", 8),
     ("", 8), ("100000", 8), ("many 100000", 8), ("100000 0", 8)],
)  # fmt: skip
def test_a_server_counts_the_cores_that_its_pod_is_given(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(vendor, "CONTROL_GROUP", tmp_path)
    assert vendor.available_cores() == 8
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert vendor.available_cores() == cores


def test_all_select_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert one("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert one("Service")["spec"]["selector"] == labels
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == one("Deployment")["metadata"]["name"]


def test_the_kustomization_names_every_manifest() -> None:
    value = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    assert value["resources"] == [path.name for path in MANIFESTS]


def test_the_context_of_the_build_holds_what_the_image_copies_and_no_more() -> None:
    lines = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        name for each in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in each.split()
    }
    assert "*" in lines
    assert copied == allowed
    assert all((DEPLOY.parent / name).exists() for name in copied)
