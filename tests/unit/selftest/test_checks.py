"""The self-test of an installation: it passes if all parts work, and reports each fault with its remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest
from slipway.kube.errors import Call, ConflictError, InvalidError, KubeError, NotFoundError, UnavailableError
from slipway.objects.kinds import DEPLOYMENT, INFERENCE_SERVICE, LEASE, LLM_DEPLOYMENT, SCALED_OBJECT, Kind, Object
from slipway.selftest.checks import Check, Checks, scaled_object, target
from slipway.selftest.flags import SelftestSettings
from slipway.selftest.main import report
from support.fakes import virtual_time
from support.fakes.virtual_time import now
from support.programs.settings import selftest_settings

OPTIONS = selftest_settings([], {"SLIPWAY_POD": "slipway-selftest", "SLIPWAY_POD_UID": "u1"})
READYZ = "http://slipway-activator.slipway-system.svc:8081/readyz"


def call(verb: str, kind: Kind) -> Call:
    return Call(verb, kind.name, "")


@dataclass
class Installation:
    """An installation that works, unless a test changes it."""

    missing: set[Kind] = field(default_factory=set)
    holder: str | None = "operator-1"  # None: the Lease doesn't exist
    renews: bool = True
    keda: str | None = "ghcr.io/kedacore/keda:2.21.0"  # its image; None: KEDA isn't installed
    asks: bool = True  # whether KEDA queries the metric of a ScaledObject
    says: str = ""
    kserve: KubeError | None = None
    readyz: tuple[int, str] | OSError = (200, "ok")
    left: list[str] = field(default_factory=list)  # leftovers of an interrupted test; each is gone after a moment
    made: list[Object] = field(default_factory=list)
    tried: list[Object] = field(default_factory=list)

    def checks(self, options: SelftestSettings = OPTIONS) -> Checks:
        return Checks(options, self, self.ask, clock=now)

    async def ask(self, url: str) -> tuple[int, str]:
        assert url.endswith(".slipway-system.svc:8081/readyz")
        if isinstance(self.readyz, OSError):
            raise self.readyz
        return self.readyz

    async def serves(self, kind: Kind) -> bool:
        return kind not in self.missing

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        if kind == LEASE and (namespace, name) == ("slipway-system", "slipway-operator") and self.holder is not None:
            version = str(int(now() // 2)) if self.renews else "1"
            return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": self.holder}}
        if kind == DEPLOYMENT and (namespace, name) == ("keda", "keda-operator") and self.keda:
            template = {"spec": {"containers": [{"image": self.keda}]}}
            return {"metadata": {"name": name}, "spec": {"template": template}}
        if kind == SCALED_OBJECT:
            return self._scaled_object(name)
        raise NotFoundError(call("get", kind), "not found", code=404)

    def _scaled_object(self, name: str) -> Object:
        assert name in [each["metadata"]["name"] for each in self.made if each["kind"] == SCALED_OBJECT.name]
        if self.asks:
            return {"status": {"externalMetricNames": ["s0-requests"]}}
        finding_of = [{"type": "Ready", "status": "False", "message": self.says}] if self.says else []
        return {"status": {"conditions": finding_of}}

    async def create(self, kind: Kind, obj: Object, *, dry_run: bool = False) -> Object:
        if dry_run:
            self.tried.append(obj)
            if self.kserve:
                raise self.kserve
        elif obj["metadata"]["name"] in self.left:
            raise ConflictError(call("create", DEPLOYMENT), "it is there", code=409)
        else:
            self.made.append(obj)
        return obj

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        self.left = [each for each in self.left if each != name]
        self.made = [each for each in self.made if (each["kind"], each["metadata"]["name"]) != (kind.name, name)]
        return True


def finding_of(check_result: Awaitable[str | None]) -> str:
    """Returns the finding of a check that fails."""

    async def run() -> str | None:
        return await check_result

    found = virtual_time.run(run())
    assert found
    return found


def passes(check_result: Awaitable[str | None]) -> bool:
    async def run() -> str | None:
        return await check_result

    return virtual_time.run(run()) is None


# --- all checks ------------------------------------------------------------------------------------------------------


def reported(installation: Installation) -> tuple[int, str]:
    async def run() -> tuple[int, str]:
        lines: list[str] = []
        code = await report(installation.checks().all(), lines.append)
        return code, "".join(lines)

    return virtual_time.run(run())


def test_if_all_checks_pass_nothing_is_left_behind() -> None:
    installation = Installation()
    code, message = reported(installation)
    assert (code, installation.made) == (0, [])
    assert message.endswith("All works together.\n")
    assert "BAD" not in message


def test_one_failed_check_makes_the_test_fail_and_the_others_are_still_reported() -> None:
    code, message = reported(Installation(keda=None))
    assert code == 1
    assert [line for line in message.splitlines() if line.startswith("BAD")] == [
        "BAD   KEDA is recent enough: there is no Deployment keda/keda-operator: install KEDA, or name its namespace "
        "with the value platform.kedaNamespace."
    ]
    assert message.endswith("1 of 6 don't work.\n")


def test_while_the_api_server_is_unreachable_only_that_is_reported() -> None:
    async def unreachable() -> str | None:
        raise UnavailableError(call("get", LEASE), "connection refused")

    async def run() -> list[str]:
        lines: list[str] = []
        await report([Check("something", unreachable)], lines.append)
        return lines

    [line, _] = asyncio.run(run())
    assert line.startswith("BAD   something: it can't be checked, because the API server says: get Lease failed")


def test_every_activator_is_checked() -> None:
    options = selftest_settings(["--activators=one,two"])
    promises = [check.promise for check in Installation().checks(options).all()]
    assert [each for each in promises if "one" in each or "two" in each] == [
        "one answers",
        "two answers",
        "KEDA reaches its scaler one",
        "KEDA reaches its scaler two",
    ]


TIME = 240.0  # activeDeadlineSeconds of the chart's pod, in seconds


def test_with_many_activators_all_checks_end_within_the_deadline_of_the_pod() -> None:
    async def run() -> tuple[float, str]:
        lines: list[str] = []
        options, start = selftest_settings([f"--activators={','.join(f'a{number}' for number in range(20))}"]), now()
        broken = Installation(renews=False, asks=False, readyz=OSError("no such host"))
        await report(broken.checks(options).all(), lines.append)
        return now() - start, lines[-1]

    took, last = virtual_time.run(run())
    assert last == "41 of 44 don't work.\n"
    assert took < TIME / 2


# --- one by one ------------------------------------------------------------------------------------------------------


def test_a_missing_type_is_reported_with_what_installs_it() -> None:
    checks = Installation(missing={LLM_DEPLOYMENT, SCALED_OBJECT}).checks()
    assert finding_of(checks.types()) == (
        "it has no LLMDeployment (slipway.dev/v1alpha1): install the chart slipway-crds; "
        "it has no ScaledObject (keda.sh/v1alpha1): install KEDA 2.21 or later, as with the chart slipway-platform"
    )


@pytest.mark.parametrize(
    ("installation", "words"),
    [
        (
            Installation(holder=None),
            "there is no Lease slipway-system/slipway-operator, so no operator has",
        ),
        (Installation(holder=""), "has no holder: see"),
        (Installation(renews=False), "is held by operator-1, which doesn't renew it"),
    ],
    ids=["no Lease", "no holder", "no renewal"],
)
def test_an_operator_without_a_leader_is_reported_with_where_to_look(installation: Installation, words: str) -> None:
    message = finding_of(installation.checks().leader())
    assert words in message
    assert "kubectl --namespace slipway-system logs deployment/slipway-operator" in message


def test_an_operator_that_renews_its_lease_leads_whatever_its_clock_shows() -> None:
    assert passes(Installation().checks().leader())


@pytest.mark.parametrize(
    ("readyz", "words"),
    [
        (
            (503, "caches: ok\ndoors: KEDA isn't answered yet\n"),
            "answers 503 (caches: ok doors: KEDA isn't answered yet)",
        ),
        (OSError("no such host"), "doesn't answer (no such host)"),
    ],
    ids=["not ready", "silent"],
)
def test_an_activator_that_does_not_respond_is_reported_with_where_to_look(
    readyz: tuple[int, str] | OSError, words: str
) -> None:
    message = finding_of(Installation(readyz=readyz).checks().activator("slipway-activator"))
    assert message.startswith(f"{READYZ} {words}: see kubectl --namespace slipway-system describe pods -l")


def test_a_keda_with_a_critical_vulnerability_is_too_old() -> None:
    message = finding_of(Installation(keda="ghcr.io/kedacore/keda:2.20.1").checks().keda_version())
    assert "CVE-2026-77524" in message
    assert "update it to 2.21" in message


def test_a_keda_that_cannot_query_the_activator_is_reported_with_its_own_message() -> None:
    installation = Installation(asks=False, says="no metric specs returned from scalers")
    message = finding_of(installation.checks().scaler(0, "slipway-activator"))
    assert "at slipway-activator.slipway-system:9090 (no metric specs returned from scalers)" in message
    assert "platform.kedaNamespace (now keda) must name the namespace of KEDA's operator" in message
    assert installation.made == []


def test_a_keda_that_does_nothing_is_reported() -> None:
    message = finding_of(Installation(asks=False).checks().scaler(0, "slipway-activator"))
    assert message.startswith("KEDA has not reacted to a ScaledObject within 60 s: see whether its operator")


def test_leftovers_of_an_interrupted_test_are_removed_first() -> None:
    assert passes(Installation(left=["slipway-selftest-0"]).checks().scaler(0, "slipway-activator"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            UnavailableError(call("create", INFERENCE_SERVICE), "failed calling webhook: connection refused", code=500),
            "failed calling webhook: connection refused: KServe's webhook must answer, so see whether its "
            "controller, Deployment kserve-controller-manager, runs",
        ),
        (
            InvalidError(call("create", INFERENCE_SERVICE), "unknown field spec.predictor", code=400),
            "unknown field spec.predictor: Slipway needs KServe 0.20 in Standard mode",
        ),
    ],
    ids=["no webhook", "refused"],
)
def test_a_kserve_that_refuses_models_is_reported_with_the_remedy(answer: KubeError, words: str) -> None:
    assert finding_of(Installation(kserve=answer).checks().kserve()) == words


def test_kserve_is_checked_only_with_dry_runs() -> None:
    installation = Installation()
    assert passes(installation.checks().kserve())
    assert [each["kind"] for each in installation.tried] == ["InferenceService"]
    assert installation.made == []


# --- created objects -------------------------------------------------------------------------------------------------


def test_created_objects_end_with_the_pod_of_the_test_and_run_nothing() -> None:
    made = [target("x", OPTIONS), scaled_object("x", "a.b:9090", OPTIONS)]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "slipway-selftest", "uid": "u1"}
    assert all(each["metadata"]["ownerReferences"] == [owner] for each in made)
    assert made[0]["spec"]["replicas"] == 0
    assert made[1]["spec"]["minReplicaCount"] == 0


def test_outside_of_a_cluster_created_objects_have_no_owner() -> None:
    assert "ownerReferences" not in target("x", selftest_settings())["metadata"]
