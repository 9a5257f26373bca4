"""`support-bundle`: what is in it and what is not, what is shown before, and what it makes of hostile input."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from slipway.api.names import OWNER_LABEL
from slipway.objects.kinds import Object
from slipway_cli.cluster import bundle as bundles
from slipway_cli.cluster import collecting
from slipway_cli.cluster.bundle import FOLDER, Bundle, archive_of, free_path, safe_name
from slipway_cli.main import cli
from support.builders import cli_worlds
from support.builders.objects import manifest
from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import Ran

SECRET = "q8Zt3LmX0vRb7KdY2wNs"  # noqa: S105
TOKEN = f"hf_{SECRET}"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slipway_cli.cluster.kubectl.Kubectl", fake.inside())
    fake.objects = [program("slipway-operator"), pod_of_program("slipway-operator"), *tenant("m")]
    fake.logs = {
        "slipway-operator-1/slipway-operator": "2026-11-30T12:00:00Z reconciled\n",
        "m-1/kserve-container": "2026-11-30T12:00:00Z loading\n",
    }
    return fake


def run(*arguments: str, given: str | None = None) -> Ran:
    found = CliRunner().invoke(cli, ["support-bundle", *arguments], input=given)
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Ran(found.exit_code, found.stdout, found.stderr)


def program(name: str) -> Object:
    labels = {"app.kubernetes.io/part-of": "slipway", "app.kubernetes.io/version": "1.2.3"}
    container = {"name": name, "image": "r/slipway-operator:1", "args": ["--runbooks-url=https://me:pa55word@wiki/x"]}
    return manifest(
        "apps/v1",
        "Deployment",
        name,
        metadata={"namespace": "home", "labels": labels},
        spec={
            "replicas": 1,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"spec": {"containers": [container]}},
        },
        status={"readyReplicas": 1},
    )


def pod_of_program(name: str) -> Object:
    metadata = {"namespace": "home", "labels": {"app.kubernetes.io/name": name}}
    return manifest("v1", "Pod", f"{name}-1", metadata=metadata, status=running(name))


def running(container: str) -> Object:
    return {"containerStatuses": [{"name": container, "state": {"running": {}}}]}


def tenant(name: str, *, namespace: str = "chat", **metadata: Any) -> list[Object]:
    """A model, its pod, an event about it, and one about another pod of the namespace."""
    llm = cli_worlds.deployment(name, namespace=namespace, status=cli_worlds.SERVING, **metadata)
    own = {"namespace": namespace, "labels": {OWNER_LABEL: name}, "uid": f"uid-{namespace}-{name}-1"}
    pod = manifest("v1", "Pod", f"{name}-1", metadata=own, spec={}, status=running("kserve-container"))
    return [llm, pod, event(own["uid"], "Started", namespace), event("another", "Foreign", namespace)]


def event(uid: object, reason: str, namespace: str) -> Object:
    about = {"involvedObject": {"uid": uid, "kind": "Pod", "name": "p"}}
    return {**manifest("v1", "Event", f"{reason}.1", metadata={"namespace": namespace}), **about, "reason": reason}


def files_in(archive: Path | bytes) -> dict[str, str]:
    content = archive.read_bytes() if isinstance(archive, Path) else archive
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        entries = tar.getmembers()
        assert all(each.isreg() for each in entries)  # no link leads out of it
        assert all(each.name.startswith(f"{FOLDER}/") and ".." not in each.name.split("/") for each in entries)
        assert [each.name for each in entries] == sorted(each.name for each in entries)
        found = {each.name.removeprefix(f"{FOLDER}/"): tar.extractfile(each) for each in entries}
        return {name: file.read().decode() for name, file in found.items() if file}


def made(*arguments: str) -> dict[str, str]:
    found = run("--yes", "--output=b.tar.gz", *arguments)
    assert found.code == 0, found.err
    return files_in(Path("b.tar.gz"))


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_it_has_the_checks_the_programs_the_models_their_events_and_logs(kubectl: FakeKubectl) -> None:
    found = made()
    assert set(found) >= {
        "README.txt",
        "doctor.json",
        "installation.json",
        "models/chat/llmdeployments.json",
        "models/chat/logs/m-1/kserve-container.log",
        "models/chat/pods.json",
        "programs/home/deployments.json",
        "programs/home/logs/slipway-operator-1/slipway-operator.log",
    }
    [installed] = json.loads(found["installation.json"])
    assert (installed["version"], installed["containers"][0]["args"]) == (
        "1.2.3",
        ["--runbooks-url=https://***@wiki/x"],
    )
    assert "reconciled" in found["programs/home/logs/slipway-operator-1/slipway-operator.log"]
    reasons = [each["reason"] for each in json.loads(found["models/chat/events.json"])]
    assert reasons == ["Started"]  # an event about something else is another tenant's


def test_models_of_other_namespaces_are_in_it_only_if_all_are_wanted(kubectl: FakeKubectl) -> None:
    kubectl.objects += tenant("n", namespace="other")
    assert not [name for name in made() if name.startswith("models/other/")]
    Path("b.tar.gz").unlink()
    assert "models/other/llmdeployments.json" in made("-A")


def test_a_program_of_a_tenant_that_sounds_like_one_of_ours_is_not_in_it(kubectl: FakeKubectl) -> None:
    def named(name: str, namespace: str) -> Object:
        found = program(name)
        found["metadata"] = {"name": name, "namespace": namespace}
        return found

    kubectl.objects += [named("keda-operator", "scaler"), named("keda-extra", "scaler"), named("keda-billing", "other")]
    installed = {each["name"] for each in json.loads(made()["installation.json"])}
    assert installed == {"slipway-operator", "keda-operator", "keda-extra"}
    kubectl.objects.append(named("keda-operator", "keda"))
    Path("b.tar.gz").unlink()
    installed_in = {each["name"]: each["namespace"] for each in json.loads(made()["installation.json"])}
    assert installed_in == {"slipway-operator": "home", "keda-operator": "keda"}  # the other is a tenant's


def test_secrets_are_never_requested(kubectl: FakeKubectl) -> None:
    made("-A")
    assert not [each for each in kubectl.calls if "secret" in str(each).lower()]


def test_nodes_are_without_their_addresses_and_images(kubectl: FakeKubectl) -> None:
    status = {"addresses": ["10.0.0.1"], "images": ["big"], "nodeInfo": {"kubeletVersion": "v1.34"}, "capacity": {}}
    kubectl.objects.append(manifest("v1", "Node", "n", spec={"taints": []}, status=status))
    [node] = json.loads(made()["cluster/nodes.json"])
    assert set(node["status"]) == {"nodeInfo", "capacity"}


# --- hostile tenants -------------------------------------------------------------------------------------------------


def test_a_token_is_nowhere_in_it_wherever_a_tenant_has_hidden_it(kubectl: FakeKubectl) -> None:
    spec = {
        "model": {"uri": f"https://me:{SECRET}@host/m?X-Amz-Signature={SECRET}"},
        "engine": {"extraArgs": ["--api-key", SECRET, f"--x={SECRET}"]},
        "pod": {"env": [{"name": "ANYTHING", "value": SECRET}], "annotations": {"a": SECRET}},
    }
    llm, pod, *events = tenant(TOKEN.replace("_", "-").lower(), annotations={"note": SECRET, TOKEN: "x"})
    pod["metadata"]["name"] = "sk-q8Zt3LmX0vRb7KdY2wNs"
    pod["spec"] = {"containers": [{"name": "c", "args": ["--hf-token", SECRET], "env": [{"name": TOKEN}]}]}
    pod["metadata"]["labels"][SECRET] = SECRET
    events[0]["message"] = f"Authorization: Bearer {SECRET}"
    kubectl.objects += [{**llm, "spec": spec}, pod, *events]
    kubectl.logs[f"{pod['metadata']['name']}/kserve-container"] = f"got {TOKEN} and \x1b[31mAPI_KEY={SECRET}\x1b[0m\n"
    found = made("-A")
    shown = run("--dry-run", "-A").out
    for name, content in {**found, "screen": shown}.items():
        assert SECRET not in name
        assert SECRET not in content, (name, content[content.index(SECRET) - 80 :][:120])
    assert "\x1b" not in "".join(found.values())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..", "_"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\x", "C__x"),
        (".hidden", "_hidden"),
        ("nul", "_nul"),
        ("COM1.log", "_COM1.log"),
        ("a" * 300, "a" * 120),
        ("tab\tnew\nline\x1b[2J", "tab_new_line__2J"),
        ("ends.", "ends"),
        ("", "_"),
        ("m-predictor-5d9f.log", "m-predictor-5d9f.log"),
    ],
)
def test_a_name_is_one_part_of_a_path_on_each_system(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_that_become_the_same_get_a_number() -> None:
    assert free_path("a/B.log", {"a/b.log": 0}) == "a/B-2.log"
    assert free_path("a/x", {"a/x": 0, "a/x-2": 0}) == "a/x-3"


def test_an_api_server_with_hostile_names_writes_nowhere_else(kubectl: FakeKubectl, tmp_path: Path) -> None:
    llm, pod, *_ = tenant("m", namespace="..")
    pod["metadata"]["name"] = "../../../../tmp/x"
    kubectl.objects += [llm, pod]
    kubectl.logs["../../../../tmp/x/kserve-container"] = "x\n"
    found = made("-A")  # files_in looks at the paths
    assert "models/_/logs/__.._.._.._tmp_x/kserve-container.log" in found


# --- its size, and the same content ----------------------------------------------------------------------------------


def test_the_same_content_makes_the_same_archive() -> None:
    packed = []
    for order in (["a", "b"], ["b", "a"]):
        one = Bundle()
        for name in order:
            one.add_log((f"{name}.log",), name)
        packed.append(archive_of(one.files))
    assert packed[0] == packed[1]


def test_it_is_bounded_and_says_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "LARGEST", 11_000)
    monkeypatch.setattr(bundles, "LARGEST_FILE", 8_000)
    one = Bundle()
    one.add_log(("long.log",), "first\n" + "line\n" * 1000 + "last\n")
    one.add_objects(("many.json",), [{"number": number, "text": "x" * 100} for number in range(200)])
    one.add_log(("more.log",), "word\n" * 390)
    by_name = {each.path: each.content.decode() for each in one.files}
    assert by_name["long.log"].endswith("last\n")
    assert "first" not in by_name["long.log"]
    assert json.loads(by_name["many.json"])[-1]["number"] == 199
    assert one.size <= 11_000
    assert [gap.split()[0] for gap in one.gaps] == ["long.log", "many.json", "more.log"]


def test_less_than_a_second_of_a_log_is_not_all_of_it(kubectl: FakeKubectl) -> None:
    """For kubectl, 0s is no limit."""
    made("--since=400ms")
    logs = [each for each in kubectl.calls if each[0] == "logs"]
    assert logs
    assert all("--since=1s" in each for each in logs)


@pytest.mark.parametrize("letters", [20, 3000])
def test_of_a_log_with_long_lines_the_end_is_kept(
    kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    """One line alone may be too long: then its start is kept, as of each long line."""
    monkeypatch.setattr(collecting, "MOST_BYTES", 2000)
    lines = [f"2026-11-30T12:00:00Z prompt {'x ' * (letters // 2)}" for _ in range(300)]
    kubectl.logs["m-1/kserve-container"] = "\n".join([*lines, f"2026-11-30T12:00:01Z crash {'y ' * (letters // 2)}\n"])
    found = made()
    assert "crash" in found["models/chat/logs/m-1/kserve-container.log"].splitlines()[-1]
    read = {20: 31, 3000: 1}[letters]
    assert f"Of the log of chat/m-1/kserve-container, {read} lines were read" in found["README.txt"]


# --- what is shown, asked and written --------------------------------------------------------------------------------


def test_files_sizes_and_what_was_replaced_are_shown_before_anything_is_written(kubectl: FakeKubectl) -> None:
    found = run("--dry-run")
    assert found.code == 0
    header, first, *_ = found.out.splitlines()
    assert header.split() == ["FILE", "SIZE", "REPLACED"]
    assert first.split()[0] == "README.txt"
    assert "installation.json" in found.out
    assert "Replaced by ***: values with a name such as password, and known forms of keys: 2." in found.out
    assert not list(Path().glob("*.tar.gz"))


def test_it_asks_and_without_a_terminal_it_wants_yes(kubectl: FakeKubectl) -> None:
    found = run(given="y\n")
    assert (found.code, "give --yes" in found.err) == (2, True)
    assert not list(Path().glob("*.tar.gz"))


def test_the_file_is_for_the_user_alone(kubectl: FakeKubectl) -> None:
    assert run("--yes").code == 0
    [written] = Path().glob("slipway-support-*.tar.gz")
    assert written.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("there", ["file", "link"])
def test_it_writes_over_nothing_and_through_no_link(kubectl: FakeKubectl, there: str) -> None:
    Path("victim").write_text("mine")
    os.link("victim", "b.tar.gz") if there == "file" else Path("b.tar.gz").symlink_to("nowhere")
    found = run("--yes", "--output=b.tar.gz")
    assert found.code == 2
    assert "b.tar.gz exists already: choose another file by --output." in found.err
    assert Path("victim").read_text() == "mine"
    assert not Path("nowhere").exists()


def test_a_folder_that_is_not_there_and_a_wrong_duration_are_named(kubectl: FakeKubectl) -> None:
    assert "nowhere/b can't be written (No such file or directory)" in run("--yes", "-o", "nowhere/b").err
    assert "--since 2 days is not a duration: write it as 90s or 10m." in run("--since", "2 days").err


# --- too few rights --------------------------------------------------------------------------------------------------


def test_what_may_not_be_read_is_said_and_the_rest_is_there(kubectl: FakeKubectl) -> None:
    no = "Error from server (Forbidden): no"
    kubectl.failures = {
        "/api/v1/nodes": no,
        "/apis/apps/v1/deployments": no,
        "/api/v1/namespaces/chat/events": no,
        "logs m-1": no,
        "/version": no,
    }
    found = made()
    for said in (
        "nodes can't be read (Forbidden).",
        "events of chat can't be read (Forbidden).",
        "The log of chat/m-1/kserve-container can't be read (Forbidden).",
    ):
        assert f"- {said}" in found["README.txt"]
    assert "models/chat/pods.json" in found
    assert "cluster/nodes.json" not in found


def test_nothing_is_written_where_nothing_may_be_read(kubectl: FakeKubectl) -> None:
    kubectl.failures = {"/": "Error from server (Forbidden): no"}
    found = run("--yes", "--output=b.tar.gz")
    assert found.code == 3
    assert "You may read nothing of this" in found.err
    assert not Path("b.tar.gz").exists()


def test_without_a_cluster_it_says_so(kubectl: FakeKubectl) -> None:
    kubectl.failures = {"/": "Unable to connect to the server: no such host"}
    found = run("--yes")
    assert (found.code, "Check the network" in found.err) == (3, True)
