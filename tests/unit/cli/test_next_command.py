"""The command for each reason: what it changes, with the object's own names and numbers, and what a person fills in."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api.reasons import Reason
from slipway.objects.kinds import NODE, POD, SERVING_RUNTIME, Kind, Object
from slipway_cli.cluster.next_command import BEYOND, next_command
from slipway_cli.cluster.remedies.case import PLACEHOLDER, Next
from slipway_cli.cluster.world import World
from support.builders import cli_worlds

NOW = datetime(2026, 11, 30, 13, tzinfo=UTC)
NODE_POD: Object = {"metadata": {"name": "model-1"}, "spec": {"nodeName": "gpu-1", "containers": []}}


def following(
    reason: str, message: str = "", *, spec: Object | None = None, runtime: Object | None = None, **status: Any
) -> Next:
    llm = cli_worlds.deployment(spec=spec, status=cli_worlds.status("Failed", reason, message, ready="False", **status))
    objects: dict[Kind, tuple[Object, ...]] = {POD: (NODE_POD,)}
    if runtime is not None:
        objects[SERVING_RUNTIME] = (
            {"metadata": {"name": "own"}, "spec": {"containers": [{"name": "kserve-container", **runtime}]}},
        )
    return next_command(reason, message, World(now=NOW, llm=llm, objects=objects), NODE_POD)


def unschedulable(message: str, spec: Object, *nodes: Object) -> Next:
    llm = cli_worlds.deployment(spec=spec)
    return next_command("Unschedulable", message, World(now=NOW, llm=llm, objects={NODE: nodes}), NODE_POD)


def node(key: str = "", **labels: str) -> Object:
    taints = [{"key": key, "effect": "NoSchedule"}] if key else []
    return {"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}}


def patched(spec: str) -> str:
    return f"kubectl patch llm model -n chat --type=merge -p '{{\"spec\":{spec}}}'"


OWN = {"engine": {"name": "own"}}
IN_OWN = "kubectl patch servingruntime own -n chat --type=json -p "

QUOTA = "pods is forbidden: exceeded quota: team, requested: pods=1,cpu=500m, used: pods=2,cpu=1, limited: pods=2,cpu=1"
MAX = "maximum memory usage per Container is 16Mi, but limit is 32Mi"
NO_DEVICES = "h100-80gb: a replica wants 8 devices, and no node has more than 2"
NO_NODE = "mi300x: the cluster has no node with it, and nothing that would add one"
KEYS = "access.apiKeysSecret: nothing in it checks API keys: remove access.apiKeysSecret and use access.allowFrom"
EVICTED = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
SELECTOR = "No node is of the right kind: didn't match Pod's node affinity/selector; it requires a node with disk=nvme"
TAINT = "No node is both of the right kind and open to all: 3 node(s) had untolerated taint(s)"
KSERVE = "KServe's controller kserve/kserve-controller-manager is scaled to 0 replicas: run kubectl"
CRASHES = "KEDA's controller keda/keda-operator isn't running: crash, again and again; see kubectl"
ENV = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
FIRST = {"name": "cache", "emptyDir": {}}
TWO_VOLUMES = [FIRST, {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]

CASES: dict[str, tuple[Next, str]] = {
    "fewer devices": (
        following("NoAcceleratorFits", NO_DEVICES, spec={"engine": {"parallelism": {"tensor": 8}}}),
        patched('{"engine":{"parallelism":{"tensor":2}}}'),
    ),
    "other accelerators": (
        following("NoAcceleratorFits", NO_NODE, spec={"accelerator": {"profiles": ["mi300x"]}}),
        patched('{"accelerator":{"profiles":null}}'),
    ),
    "the profiles that are left": (
        following("ProfileMissing", "h300: there is none", spec={"accelerator": {"profiles": ["h300", "l4"]}}),
        patched('{"accelerator":{"profiles":["l4"]}}'),
    ),
    "an order without profiles": (
        following("ProfileMissing", "h300: no", spec={"accelerator": {"profiles": ["h300"], "policy": "InOrder"}}),
        patched('{"accelerator":{"profiles":null,"policy":null}}'),
    ),
    "a field that must go": (following("InvalidSpec", KEYS), patched('{"access":{"apiKeysSecret":null}}')),
    "a field that is wrong": (
        following("InvalidSpec", "The object is invalid: spec.scaling.minReplicas: a number, not 'many'"),
        patched('{"scaling":{"minReplicas":<a valid value of scaling.minReplicas>}}'),
    ),
    "an argument in other words": (
        following(
            "BadEngineArguments",
            "init: chat template parsing error",
            spec={"engine": {"extraArgs": ["--seed=1", "--chat-template=x"]}},
        ),
        patched('{"engine":{"extraArgs":["--seed=1"]}}'),
    ),
    "arguments of which none is named": (
        following("BadEngineArguments", "no", spec={"engine": {"extraArgs": ["--seed=1"]}}),
        patched('{"engine":{"extraArgs":null}}'),
    ),
    "the command of one's own runtime": (
        following("BadEngineArguments", "no", spec=OWN, runtime={}),
        IN_OWN + '\'[{"op":"add","path":"/spec/containers/0/command","value":<its command, as a list>}]\'',
    ),
    "variables of the spec": (
        following("EngineCrashed", "Segmentation fault", spec={"pod": {"env": ENV}}),
        patched('{"pod":{"env":[{"name":"B","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}}'),
    ),
    "more time to start": (
        following("StartTimeout", spec=OWN, runtime={"startupProbe": {"periodSeconds": 5, "failureThreshold": 3}}),
        IN_OWN + '\'[{"op":"add","path":"/spec/containers/0/startupProbe/failureThreshold","value":120}]\'',
    ),
    "an image": (
        following("ImageNameInvalid", "couldn't parse image name", spec=OWN, runtime={"image": "A:B"}),
        IN_OWN + '\'[{"op":"add","path":"/spec/containers/0/image","value":"<an image that the nodes can pull>"}]\'',
    ),
    "a login": (
        following(
            "ImagePullFailed",
            "401 Unauthorized",
            spec={**OWN, "pod": {"imagePullSecrets": [{"name": "own"}]}},
            runtime={},
        ),
        patched('{"pod":{"imagePullSecrets":[{"name":"own"},{"name":"<a Secret with a login of the registry>"}]}}'),
    ),
    "a Secret with its key": (
        following("PodConfigError", "spec.pod.env[B] names Secret s, which doesn't exist", spec={"pod": {"env": ENV}}),
        "kubectl create secret generic s -n chat '--from-literal=k=<the value of k>'",
    ),
    "a key": (
        following("PodConfigError", "spec.pod.env[B] names the key k of ConfigMap s, which doesn't exist in it"),
        'kubectl patch configmap s -n chat --type=merge -p \'{"data":{"k":"<the value of k>"}}\'',
    ),
    "a claim": (
        following("PodConfigError", "spec.model.uri names PersistentVolumeClaim models, which doesn't exist"),
        patched('{"model":{"uri":"pvc://<a claim that exists>/llama"}}'),
    ),
    "a folder": (
        following("ModelNotFound", "No .gguf file"),
        patched('{"model":{"uri":"pvc://models/<the folder of the right model>"}}'),
    ),
    "a model elsewhere": (
        following("ModelNotFound", "404", spec={"model": {"uri": "hf://a/b"}}),
        patched('{"model":{"uri":"<the URI of the right model>"}}'),
    ),
    "a pause of KEDA": (
        following(
            "ScalingPaused",
            "The annotation autoscaling.keda.sh/paused-replicas of ScaledObject model pauses KEDA; remove it",
        ),
        "kubectl annotate scaledobject model -n chat autoscaling.keda.sh/paused-replicas-",
    ),
    "a token": (
        following("ModelAccessDenied", "403", spec={"model": {"uri": "hf://a/b"}}),
        "kubectl create secret generic model-credentials -n chat "
        "--from-literal='HF_TOKEN=<a token that may read the model>' && "
        + patched('{"model":{"credentialsSecret":"model-credentials"}}'),
    ),
    "room in a quota": (
        following("QuotaExceeded", QUOTA),
        'kubectl patch resourcequota team -n chat --type=merge -p \'{"spec":{"hard":{"pods":"3","cpu":"1500m"}}}\'',
    ),
    "what a LimitRange allows": (
        following("AdmissionDenied", MAX),
        patched('{"pod":{"resources":{"requests":{"memory":"16Mi"},"limits":{"memory":"16Mi"}}}}'),
    ),
    "a label that no node has": (
        following("Unschedulable", SELECTOR, spec={"pod": {"nodeSelector": {"disk": "nvme", "zone": "a"}}}),
        patched('{"pod":{"nodeSelector":{"disk":null}}}'),
    ),
    "a taint": (
        following("Unschedulable", TAINT, spec={"pod": {"tolerations": [{"key": "a"}]}}),
        patched('{"pod":{"tolerations":[{"key":"a"},{"key":"<the key of their taint>","operator":"Exists"}]}}'),
    ),
    "the taint of the nodes that it asks for": (
        unschedulable(TAINT, {"pod": {"nodeSelector": {"gpu": "a"}}}, node("kept", gpu="a"), node("other", gpu="b")),
        patched('{"pod":{"tolerations":[{"key":"kept","operator":"Exists"}]}}'),
    ),
    "a label that no node has, while all have taints": (
        unschedulable(f"{TAINT}; {SELECTOR}", {"pod": {"nodeSelector": {"disk": "nvme"}}}, node("kept", gpu="a")),
        patched('{"pod":{"nodeSelector":{"disk":null}}}'),
    ),
    "a larger volume": (
        following("Evicted", EVICTED, spec={"pod": {"volumes": TWO_VOLUMES}}),
        patched(
            '{"pod":{"volumes":[{"name":"cache","emptyDir":{}},{"name":"scratch","emptyDir":{"sizeLimit":"4Mi"}}]}}'
        ),
    ),
    "a finalizer": (
        following("PodStuck", "Pod model-1 should have been gone; it waits for its finalizers: example.com/keep"),
        'kubectl patch pod model-1 -n chat --type=merge -p \'{"metadata":{"finalizers":null}}\'',
    ),
    "a budget": (
        following("BudgetSpent", "spent", spec={"budget": {"perDay": 10}}, cost={"day": {"spent": 10.5}}),
        patched('{"budget":{"perDay":<a number above 10.5>}}'),
    ),
    "a controller at zero": (
        following("KServeDown", KSERVE),
        "kubectl scale deployment kserve-controller-manager -n kserve --replicas=1",
    ),
    "a controller that crashes": (
        following("KedaDown", CRASHES),
        "kubectl rollout undo deployment keda-operator -n keda",
    ),
    "an object of another owner": (
        following("NameTaken", "NameTaken: Service model exists already and isn't ours; delete it, or give"),
        "kubectl delete service model -n chat",
    ),
}


@pytest.mark.parametrize(("found", "command"), CASES.values(), ids=CASES)
def test_the_command_says_what_to_change(found: Next, command: str) -> None:
    assert found.command == command


@pytest.mark.parametrize("found", [each for each, _ in CASES.values()], ids=CASES)
def test_a_command_with_a_value_of_a_person_claims_to_fix_nothing(found: Next) -> None:
    assert not (found.fixes and found.values)


@pytest.mark.parametrize(
    ("found", "warning"),
    [
        (CASES["a field that must go"][0], "no key is needed any more"),
        (CASES["an object of another owner"][0], "only if no one needs it"),
        (CASES["a finalizer"][0], "only if the program that set it no longer does its work"),
        (CASES["a taint"][0], "ask those first"),
        (CASES["a label that no node has, while all have taints"][0], "only if it may run elsewhere"),
        (CASES["other accelerators"][0], "may cost more"),
        (following("ProfileMissing", "h300: no", spec={"accelerator": {"profiles": ["h300"]}}), "may cost more"),
        (CASES["a pause of KEDA"][0], "if what it was paused for is over"),
        (following("Paused"), "if what it was paused for is over"),
        (following("PodStuck", "Pod model-1 should have been gone"), "only when its node is really gone"),
    ],
)
def test_a_command_that_may_do_harm_says_so_and_claims_to_fix_nothing(found: Next, warning: str) -> None:
    assert warning in found.why
    assert not found.fixes


def test_a_command_is_for_the_cluster_that_was_looked_at() -> None:
    flags = ("--context=other", "--kubeconfig=/my files/config")
    given = "--context=other '--kubeconfig=/my files/config'"
    assert Next("kubectl describe pod x", "").on(flags).command == f"kubectl describe {given} pod x"
    assert Next("kubectl llm resume x --yes", "").on(flags).command == f"kubectl llm resume {given} x --yes"
    two = Next("kubectl get llm x | kubectl llm plan - --all", "").on(flags).command
    assert two == f"kubectl get {given} llm x | kubectl llm plan - --all"
    token = CASES["a token"][0].on(flags).command
    assert token.count(given) == 2
    hostile = Next("kubectl patch llm x -p '{\"a\":\" && kubectl delete '\\'' | kubectl x\"}'", "").on(flags).command
    assert hostile.count(given) == 1
    shows = "isn't there; `kubectl describe nodes` and `kubectl llm logs x -n y` show it"
    says = Next("kubectl get pods", shows).on(flags)
    shown = f"`kubectl describe {given} nodes` and `kubectl llm logs {given} x -n y`"
    assert says.why == f"isn't there; {shown} show it"
    assert Next("kubectl describe pod x", "").on(()).command == "kubectl describe pod x"


MESSAGES = (
    "",
    "nothing that is known",
    "Secret keys",
    "Secret a'b; rm -rf /",
    "Pod x is stuck",
    "engine.x: ; ≤ ,",
    "unrecognized arguments: --bad",
)
SPECS: tuple[Object, ...] = (
    {},
    {"engine": None, "pod": None, "model": {"uri": 7}, "accelerator": {"profiles": None}, "budget": None},
    {"engine": {"extraArgs": ["--bad", "--a=\x9b2J\u202e\u200b\x1b[2J", "--b"]}},
    {"engine": {"extraArgs": ["--a='; rm -rf /'"], "name": "own"}, "pod": {"env": [{"name": "A", "value": "$(x)"}]}},
    {"pod": {"env": [None, {"valueFrom": None}], "volumes": [None], "tolerations": "all", "nodeSelector": {"a": 1}}},
)


@pytest.mark.parametrize("reason", [str(each) for each in Reason])
def test_each_command_is_one_line_of_a_shell_whatever_the_object(reason: str) -> None:
    for message in MESSAGES:
        for spec in SPECS:
            for runtime in (None, {}, {"startupProbe": None}):
                found = following(reason, message, spec=spec, runtime=runtime)
                assert found.command.startswith("kubectl ")
                assert "\n" not in found.command
                assert found.command.isprintable()
                assert _is_quoted(found.command), found.command
                assert set(found.values) == set(PLACEHOLDER.findall(found.command))
                assert not any("'" in each for each in found.values)  # it would be written in another way in a shell


def _is_quoted(command: str) -> bool:
    """Outside of quotes there is nothing that a shell would act on, but the joints of commands."""
    shlex.split(command)
    bare = re.sub(r"'[^']*'|\\'", "", command).replace(" && ", " ").replace(" | ", " ")
    return not re.search(r"[;&|<>$`\"()]", bare)


@pytest.mark.parametrize("reason", BEYOND)
def test_what_no_command_heals_says_what_has_to_happen_instead(reason: str) -> None:
    assert BEYOND[reason] in following(reason).why
    assert not following(reason).fixes
