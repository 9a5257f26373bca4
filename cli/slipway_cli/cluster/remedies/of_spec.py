"""What to run next where the spec asks for what can't be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from slipway_cli.cluster.remedies.case import Blank, Case, Next, bare, quoted
from slipway_cli.cluster.remedies.of_pods import wrong_argument

REMEDY = re.compile(r"engine\.(\w+)(?:: (\w+)| ≤ ([\d,]+))")
FIELD = re.compile(
    r"\b(?:spec\.)?((?:model|engine|accelerator|scaling|rollout|access|observability|pod|budget|slo)\.\w+)"
)
REMOVED = re.compile(r"\bremove ((?:[a-z]\w*)(?:\.\w+)+)")
ANY = "lets it run on any accelerator that fits, which may cost more: the plan has its price"
OPENS = ("access.",)
"""Fields that protect a model."""


def fits_nowhere(case: Case) -> Next:
    """The status names changes that are enough, each of which was planned."""
    for field, word, number in REMEDY.findall(case.message):
        value = int(number.replace(",", "")) if number else int(word) if word.isdigit() else word
        return Next(case.patch({"engine": {field: value}}), "is enough, as the plan says", fixes=True)
    if limit := re.search(r"pod\.resources\.limits\.memory: (\w+)", case.message):
        spec = {"pod": {"resources": {"limits": {"memory": limit[1]}}}}
        return Next(case.patch(spec), "is enough, as the plan says", fixes=True)
    return _fewer_devices(case) or _other_accelerators(case) or case.planned()


def _fewer_devices(case: Case) -> Next | None:
    found = re.search(r"a replica wants \d+ devices?, and no node has more than (\d+)", case.message)
    wanted = (case.part("engine").get("parallelism") or {}).get("tensor")
    if found is None or not isinstance(wanted, int) or not int(found[1]):
        return None
    spec = {"engine": {"parallelism": {"tensor": int(found[1])}}}
    return Next(case.patch(spec), f"splits each layer over {found[1]}, which is the most that a node has", fixes=True)


def _other_accelerators(case: Case) -> Next | None:
    """Those that the spec names aren't there."""
    if not case.part("accelerator").get("profiles") or "the cluster has no node with it" not in case.message:
        return None
    return Next(case.patch({"accelerator": {"profiles": None}}), ANY)


def profile_missing(case: Case) -> Next:
    named = [str(each) for each in case.part("accelerator").get("profiles") or []]
    missing = [each for each in named if re.search(rf"(?<![\w.-]){re.escape(each)}(?![\w.-])", case.message)]
    if not missing:
        return Next("kubectl get acceleratorprofiles", "shows the existing profiles")
    left = [each for each in named if each not in missing]
    rest = f"leaves {', '.join(left)}" if left else ANY
    spec = {"accelerator": {"profiles": left or None, **_policy(case, left)}}
    return Next(case.patch(spec), f"removes {', '.join(missing)} and {rest}", fixes=bool(left))


def _policy(case: Case, left: list[str]) -> dict[str, None]:
    """An order needs profiles."""
    return {} if left or case.part("accelerator").get("policy") != "InOrder" else {"policy": None}


def runtime_missing(case: Case) -> Next:
    spec = {"engine": {"name": Blank("<vllm, llamacpp, or a ServingRuntime that exists>")}}
    return Next(case.patch(spec), "names an engine that there is")


def runtime_shadowed(case: Case) -> Next:
    found = re.search(r"The ServingRuntime ([\w.-]+) in namespace", case.message)
    if found is None:
        return Next(f"kubectl get servingruntimes -n {case.namespace}", "shows which one it is")
    command = f"kubectl delete servingruntime {found[1]} -n {case.namespace}"
    return Next(command, "deletes the one of this namespace: only if nothing else uses it. Slipway's own then counts")


def too_long(case: Case) -> Next | None:
    """The message has the longest context that is possible."""
    said = re.search(r"(?:can do|length is|fits there is) ([\d,]{2,})", case.message)
    if said is None:
        return None
    length = int(said[1].replace(",", ""))
    spec = {"engine": {"contextLength": length}}
    return Next(case.patch(spec), "sets the longest context that is possible", fixes=True)


def invalid(case: Case) -> Next:
    """The sentence names a field, and often that it must go."""
    if found := REMOVED.search(case.message):
        field = found[1].removeprefix("spec.")
        risk = ": then no key is needed any more" if field == "access.apiKeysSecret" else ""
        risk = risk or (": that may let others in" if field.startswith(OPENS) else "")
        return Next(case.patch(_at(field, None)), f"removes {field}{risk}", fixes=not risk)
    if "engine.extraArgs" in case.message and (argument := wrong_argument(case)):
        return argument
    if found := FIELD.search(case.message):
        value = bare(f"<a valid value of {found[1]}>")
        return Next(case.patch(_at(found[1], value)), f"corrects {found[1]}, as the sentence says")
    return Next(f"kubectl edit llm {case.name} -n {case.namespace}", "to correct what the sentence names")


def _at(field: str, value: Any) -> dict[str, Any]:
    """`a.b` → {a: {b: value}}"""
    head, _, rest = field.partition(".")
    return {head: _at(rest, value) if rest else value}


# --- the model -------------------------------------------------------------------------------------------------------


def other_model(what: str) -> Callable[[Case], Next]:
    """For `spec.model.uri`: another folder of the same claim, where it is on one."""

    def command(case: Case) -> Next:
        if "adapter" in case.message.lower() and case.part("engine").get("adapters"):
            spec = {"engine": {"adapters": bare("<the list of adapters, each with its right URI>")}}
            return Next(case.patch(spec), "corrects the adapter that the sentence names")
        uri = str(case.part("model").get("uri") or "")
        claim = re.match(r"pvc://([^/]+)/", uri)
        value = Blank(f"<the folder of {what}>", f"pvc://{claim[1]}/") if claim else Blank(f"<the URI of {what}>")
        return Next(case.patch({"model": {"uri": value}}), f"names {what}, instead of {uri}")

    return command


def volume_not_ready(case: Case) -> Next:
    uri = str(case.part("model").get("uri") or "")
    if not uri.startswith("pvc://"):
        return Next(f"kubectl describe pvc -n {case.namespace}", "shows the claims and their events")
    folder = uri.removeprefix("pvc://").partition("/")[2]
    spec = {"model": {"uri": Blank("<a claim that is Bound>", "pvc://", f"/{folder}")}}
    return Next(case.patch(spec), "names a claim that has a volume; `kubectl describe pvc` says why this one has none")


def credentials(case: Case) -> Next:
    model = case.part("model")
    uri, secret = str(model.get("uri") or ""), model.get("credentialsSecret")
    if uri.startswith("pvc://"):
        claim = uri.removeprefix("pvc://").partition("/")[0]
        return Next(
            case.patch({"model": {"uri": Blank("<a folder that all users may read>", f"pvc://{claim}/")}}),
            "names files that its user may read; the runbook says how to make these readable",
        )
    key, token = ("HF_TOKEN" if uri.startswith("hf://") else "<the key>"), "<a token that may read the model>"
    if secret:
        body = quoted({"stringData": {key: Blank(token)}})
        command = (
            f"kubectl patch secret {secret} -n {case.namespace} --type=merge -p {body} && {case.ours('restart')} --yes"
        )
        return Next(command, f"puts another token into the Secret {secret}, and replaces its pods as a rollout does")
    name = f"{case.name}-credentials"
    create = f"kubectl create secret generic {name} -n {case.namespace} --from-literal='{key}={token}'"
    return Next(f"{create} && {case.patch({'model': {'credentialsSecret': name}})}", "gives it your token")


def quantization(case: Case) -> Next:
    own = case.part("engine").get("quantization")
    if own:
        return Next(
            case.patch({"engine": {"quantization": None}}), f"removes {own}: the model's own counts", fixes=True
        )
    return other_model("a model in a quantization that the engine and the GPU support")(case)


# --- money -----------------------------------------------------------------------------------------------------------


def budget(case: Case) -> Next:
    """How much more it may cost is a person's decision."""
    period = "perDay" if "perDay" in case.part("budget") else "perMonth"
    period = "perMonth" if re.search(r"\bmonth\b", case.message) and "perMonth" in case.part("budget") else period
    name = {"perDay": "day", "perMonth": "month"}[period]
    costs: Mapping[str, Any] = case.world.status.get("cost") or {}
    spent = (costs.get(name) or {}).get("spent") if isinstance(costs.get(name), dict) else None
    more = bare(f"<a number above {spent if spent is not None else case.part('budget').get(period)}>")
    return Next(case.patch({"budget": {period: more}}), f"raises its budget; or wait until the next {name}")
