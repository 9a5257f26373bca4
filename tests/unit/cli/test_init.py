"""`init` writes an LLMDeployment that the planner accepts, by flags alone or by questions in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from slipway.api.llmdeployment import LLMDeployment
from slipway_cli.main import cli
from support.programs.terminal import in_terminal

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments])


def written(*arguments: str) -> LLMDeployment:
    found = run(*arguments)
    assert found.exit_code == 0, found.stderr
    return LLMDeployment.model_validate(yaml.safe_load(found.stdout))


def test_a_model_is_enough() -> None:
    found = written(MODEL)
    assert (found.metadata.name, found.spec.model.uri) == ("llama-3-1-8b-instruct", f"hf://{MODEL}")
    assert (found.spec.scaling.min_replicas, found.spec.scaling.idle_after) == (0, "10m")


def test_each_flag_is_in_what_is_written() -> None:
    found = written(
        MODEL,
        "--name=chat",
        "--namespace=team",
        "--gpu=h100-80gb",
        "--target=ttft=500ms,tpot=40ms",
        "--idle-after=1h",
        "--max-replicas=3",
        "--keys=keys",
        "--hub-token=token",
        "--per-day=50",
    )
    assert (found.metadata.name, found.metadata.namespace) == ("chat", "team")
    assert found.spec.accelerator.profiles == ["h100-80gb"]
    assert found.spec.scaling.target is not None
    assert (found.spec.scaling.target.ttft_p95, found.spec.scaling.target.tpot_p95) == ("500ms", "40ms")
    assert (found.spec.scaling.idle_after, found.spec.scaling.max_replicas) == ("1h", 3)
    assert (found.spec.access.api_keys_secret, found.spec.model.credentials_secret) == ("keys", "token")
    assert found.spec.budget is not None
    assert found.spec.budget.per_day == 50


def test_a_model_that_never_sleeps_has_a_replica() -> None:
    assert written(MODEL, "--idle-after=never").spec.scaling.min_replicas == 1


def test_a_target_names_the_accelerator_that_meets_it() -> None:
    assert written(MODEL).spec.accelerator.profiles == []
    assert written(MODEL, "--target=tpot=10ms").spec.accelerator.profiles


def test_a_model_that_is_not_known_is_written_and_says_so() -> None:
    found = run("own/model")
    assert found.exit_code == 0
    assert found.stdout.startswith("# It wasn't planned")


def test_a_model_that_fits_nowhere_is_written_and_is_not_well() -> None:
    found = run("meta-llama/Llama-3.1-405B", "--gpu=t4")
    assert found.exit_code == 1
    assert "vllm would not start" in found.stdout


def test_a_file_is_replaced_by_force_only(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    assert run(MODEL, f"--file={file}").exit_code == 0
    first = file.read_text()
    refused = run(MODEL, "--name=other", f"--file={file}")
    assert refused.exit_code == 2
    assert "exists: choose another file, or replace it by --force." in refused.stderr
    assert file.read_text() == first
    assert run(MODEL, "--name=other", f"--file={file}", "--force").exit_code == 0
    assert "name: other" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MODEL, "--idle-after=10x"], "spec.scaling.idleAfter is '10x', and must be a duration"),
        ([MODEL, "--name=Chat"], "The name 'Chat' is invalid"),
        ([MODEL, "--gpu=nothing"], "--gpu nothing is not the name of a profile"),
        ([MODEL, "--target=soon"], "--target soon is invalid"),
        (["nothing"], "No known model is called nothing"),
        ([], "Name a model"),
    ],
)
def test_a_mistake_gets_a_sentence(arguments: list[str], said: str) -> None:
    found = run(*arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr


def test_in_a_terminal_it_asks_what_no_flag_says() -> None:
    typed = f"{MODEL}\nchat\ntpot=20ms\n\n2\nkeys\n"
    found = in_terminal(["slipway", "init"], width=100, keys=typed)
    assert found.code == 0, found.text
    assert "Sleep after so long without requests, or never [10m]:" in found.text
    text = found.text[found.text.index("apiVersion:") :]
    deployment = LLMDeployment.model_validate(yaml.safe_load(text))
    assert (deployment.metadata.name, deployment.spec.scaling.max_replicas) == ("chat", 2)
    assert deployment.spec.access.api_keys_secret == "keys"  # noqa: S105 - the name of a Secret
