"""The settings of the operator: by flag, by variable, and which values are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from slipway.contract.runbooks import NO_RUNBOOKS
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.main import main
from support.programs.settings import operator_settings, variables

FLAGS = {
    "--kubeconfig": "SLIPWAY_KUBECONFIG",
    "--namespace": "SLIPWAY_NAMESPACE",
    "--watch-namespaces": "SLIPWAY_WATCH_NAMESPACES",
    "--activators": "SLIPWAY_ACTIVATORS",
    "--ports-per-namespace": "SLIPWAY_PORTS_PER_NAMESPACE",
    "--inspect-namespaces": "SLIPWAY_INSPECT_NAMESPACES",
    "--compile-cache-size": "SLIPWAY_COMPILE_CACHE_SIZE",
    "--compile-cache-storage-class": "SLIPWAY_COMPILE_CACHE_STORAGE_CLASS",
    "--compile-cache-shared-storage-class": "SLIPWAY_COMPILE_CACHE_SHARED_STORAGE_CLASS",
    "--fetcher-image": "SLIPWAY_FETCHER_IMAGE",
    "--fetcher-pull-policy": "SLIPWAY_FETCHER_PULL_POLICY",
    "--fetcher-pull-secrets": "SLIPWAY_FETCHER_PULL_SECRETS",
    "--keep-old-runtimes": "SLIPWAY_KEEP_OLD_RUNTIMES",
    "--runtimes": "SLIPWAY_RUNTIMES",
    "--lease-name": "SLIPWAY_LEASE_NAME",
    "--identity": "SLIPWAY_IDENTITY",
    "--workers": "SLIPWAY_WORKERS",
    "--resync": "SLIPWAY_RESYNC",
    "--opencost-metrics": "SLIPWAY_OPENCOST_METRICS",
    "--prometheus-namespace": "SLIPWAY_PROMETHEUS_NAMESPACE",
    "--management-port": "SLIPWAY_MANAGEMENT_PORT",
    "--runbooks": "SLIPWAY_RUNBOOKS",
    "--log-level": "SLIPWAY_LOG_LEVEL",
    "--log-format": "SLIPWAY_LOG_FORMAT",
}


def test_without_flags_and_variables_the_defaults_apply() -> None:
    options = operator_settings([], {})
    assert options == OperatorSettings(
        kubeconfig=None,
        namespace="slipway-system",
        watch_namespaces=(),
        activators=("slipway-activator",),
        ports_per_namespace=1000,
        inspect_namespaces=(),
        compiled_size="10Gi",
        compiled_storage_class="",
        compiled_shared_class="",
        weights_size="100Gi",
        weights_storage_class="",
        weights_shared_class="",
        fetcher_image="",
        fetcher_pull_policy="IfNotPresent",
        fetcher_pull_secrets=(),
        hub_endpoint="",
        hub_redirects_to=(),
        runtimes={},
        keep_old_runtimes=3600.0,
        kserve_namespace="kserve",
        keda_namespace="keda",
        lease_name="slipway-operator",
        identity=options.identity,
        workers=16,
        resync=600.0,
        prometheus_namespaces=("monitoring",),
        opencost_metrics=False,
        runbooks=NO_RUNBOOKS,
        management_port=8081,
        log_level="info",
        log_format="console",
    )


def test_two_replicas_on_one_host_have_different_identities() -> None:
    assert operator_settings([], {}).identity != operator_settings([], {}).identity


def test_a_variable_sets_the_same_as_its_flag_and_the_flag_wins() -> None:
    environment = {"SLIPWAY_WORKERS": "4", "SLIPWAY_LOG_FORMAT": "json", "SLIPWAY_RESYNC": "90s"}
    options = operator_settings(["--workers=8"], environment)
    assert (options.workers, options.log_format, options.resync) == (8, "json", 90.0)


NAMESPACES = [
    ("monitoring", ("monitoring",)),
    ("monitoring, observability", ("monitoring", "observability")),
    ("", ()),
]


@pytest.mark.parametrize(("value", "namespaces"), NAMESPACES)
def test_prometheus_may_be_in_several_namespaces_or_in_none(value: str, namespaces: tuple[str, ...]) -> None:
    assert operator_settings([f"--prometheus-namespace={value}"], {}).prometheus_namespaces == namespaces


def test_models_may_be_limited_to_some_namespaces() -> None:
    assert operator_settings(["--watch-namespaces=chat, code"], {}).watch_namespaces == ("chat", "code")


def test_several_activators_are_separated_by_commas() -> None:
    assert operator_settings(["--activators=one,two"], {}).activators == ("one", "two")


def test_an_empty_variable_counts_as_none() -> None:
    assert operator_settings([], {"SLIPWAY_KUBECONFIG": "", "SLIPWAY_WORKERS": ""}).workers == 16


def test_an_existing_kubeconfig_is_used(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()
    assert operator_settings([], {"SLIPWAY_KUBECONFIG": str(file)}).kubeconfig == file


REFUSED = [
    ("--activators", "one,one", "'one,one' names none, or one of them twice: name each once"),
    ("--activators", ",", "',' names none, or one of them twice: name each once"),
    ("--activators", "One", "'One' can't be the name of an object: use at most 63 lower-case letters, digits and '-'"),
    ("--kubeconfig", "/nowhere", "'/nowhere' is not a file: name a kubeconfig that exists"),
    ("--namespace", "Chat", "'Chat' can't be the name of an object: use at most 63 lower-case letters, digits and '-'"),
    ("--prometheus-namespace", "monitoring,Team_A", "'Team_A' can't be the name of an object"),
    ("--watch-namespaces", "chat,*", "'*' can't be the name of an object"),
    ("--lease-name", "a_b", "'a_b' can't be the name of an object"),
    ("--workers", "0", "'0' is not a whole number from 1 to 256"),
    ("--workers", "²", "'²' is not a whole number from 1 to 256"),
    ("--resync", "600", "'600' is not a time of at least 10s: write it as 30s, 10m or 1h"),
    ("--resync", "1s", "'1s' is not a time of at least 10s"),
    ("--management-port", "70000", "'70000' is not a whole number from 0 to 65535"),
    ("--log-level", "loud", "'loud'"),
    ("--log-format", "xml", "'xml'"),
]


def run(arguments: list[str], environment: dict[str, str]) -> None:
    with variables(environment):
        main(arguments)


@pytest.mark.parametrize(("flag", "value", "sentence"), REFUSED)
@pytest.mark.parametrize("by_variable", [False, True], ids=["flag", "variable"])
def test_an_invalid_value_is_refused_with_the_name_of_its_flag_and_the_remedy(
    flag: str, value: str, sentence: str, by_variable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, environment = ([], {FLAGS[flag]: value}) if by_variable else ([f"{flag}={value}"], {})
    with pytest.raises(SystemExit) as ended:
        run(arguments, environment)
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in message
    assert flag in message or FLAGS[flag] in message


def test_an_unknown_flag_is_refused_and_abbreviations_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--work=4"], {})
    assert "--work" in capsys.readouterr().err


def test_help_names_every_flag_with_its_variable_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"], {})
    help_text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert all(flag in help_text and f"[env var: {variable}" in help_text for flag, variable in FLAGS.items())
    assert "default: slipway-system]" in help_text


# --- the runtimes of this release ------------------------------------------------------------------------------------

RUNTIME = {
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "slipway-vllm-cuda-1.2.3-0a1b2c3d", "labels": {"slipway.dev/runtime": "slipway-vllm-cuda"}},
}


def test_runtimes_are_read_from_a_folder_by_the_names_that_plans_use(tmp_path: Path) -> None:
    (tmp_path / "vllm-cuda.json").write_text(json.dumps(RUNTIME))
    (tmp_path / "README").write_text("of no interest")
    assert operator_settings([f"--runtimes={tmp_path}"], {}).runtimes == {"slipway-vllm-cuda": RUNTIME}


OTHERS: tuple[object, ...] = (
    {**RUNTIME, "kind": "Pod"},
    {**RUNTIME, "metadata": 1},
    {**RUNTIME, "metadata": {"name": "x"}},
    [],
    {},
)


@pytest.mark.parametrize("text", ["", "{", *map(json.dumps, OTHERS)])
def test_a_file_without_a_runtime_of_a_release_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(SystemExit):
        run([f"--runtimes={tmp_path}"], {})
    assert "odd.json holds no ClusterServingRuntime" in capsys.readouterr().err
