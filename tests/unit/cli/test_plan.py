"""`plan` says what a model needs, with the operator's own numbers; a model that fits nowhere, or isn't known, gets a
sentence and an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from slipway.api.llmdeployment import LLMDeployment
from slipway.models.catalogue import shipped as shipped_models
from slipway.models.sources import known_of
from slipway.observing import plan_report
from slipway.operator.planning import Plan, make_plan
from slipway_cli.main import cli
from slipway_cli.offline.families import families_with
from slipway_cli.offline.profiles import shipped

SAMPLES = Path(__file__).parents[3] / "manifests/samples"
LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments], input=given)


def planned(*arguments: str, code: int = 0) -> dict[str, Any]:
    found = run(*arguments, "--output=json")
    assert found.exit_code == code, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    assert (document["apiVersion"], document["kind"]) == ("cli.slipway.dev/v1", "Plan")
    return document


def test_a_model_of_the_catalogue_gets_the_plan_that_the_operator_makes() -> None:
    document = planned(LLAMA_70B)
    manifest = {"spec": {"model": {"uri": f"hf://{LLAMA_70B}"}}, "metadata": {"name": "llama-3-1-70b-instruct"}}
    deployment = LLMDeployment.model_validate(
        {"apiVersion": "slipway.dev/v1alpha1", "kind": "LLMDeployment", **manifest}
    )
    by_operator = make_plan(
        deployment.spec,
        shipped().values(),
        name=deployment.metadata.name,
        known=known_of(deployment.spec.model.uri),
    )
    assert isinstance(by_operator, Plan)
    assert document["plan"] == json.loads(json.dumps(plan_report.reported(by_operator)))
    assert document["offers"][0]["profile"] == by_operator.profile
    assert document["offers"][0]["devices"] == by_operator.gpus_per_replica


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3-8B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-Embedding-8B"]
)
def test_the_first_offer_is_the_operators_choice(model: str) -> None:
    found = run(model, "--output=json")
    document = json.loads(found.stdout)
    if document["fits"]:
        first = document["offers"][0]
        assert (first["profile"], first["devices"]) == (
            document["plan"]["accelerator"],
            document["plan"]["gpusPerReplica"],
        )
    else:
        assert not document["offers"]


def test_offers_are_in_the_order_of_their_price() -> None:
    prices = [each["pricePerHour"] for each in planned("Qwen/Qwen3-8B")["offers"] if "pricePerHour" in each]
    gpus = prices[: prices.index(max(prices)) + 1]
    assert len(gpus) > 10
    assert gpus == sorted(gpus)


def test_people_get_a_table_the_choice_and_the_reasons() -> None:
    found = run(LLAMA_70B)
    assert found.exit_code == 0
    assert "70.6 billion parameters, 80 layers, 131,072 tokens of context" in found.stdout
    assert "* " in found.stdout
    assert "the cheapest of" in found.stdout
    assert "left for the KV cache" in found.stdout
    assert "Per token, " in found.stdout


def test_each_output_is_the_same_at_each_run() -> None:
    assert run(LLAMA_70B, "--all").stdout == run(LLAMA_70B, "--all").stdout


def test_a_model_is_found_without_parsing_all_families() -> None:
    for name in shipped_models().names:
        uri = name if "://" in name else f"hf://{name}"
        assert families_with(uri).find(uri) == shipped_models().find(uri), name
    assert len(families_with("hf://Qwen/Qwen3-8B")) < len(shipped_models()) / 3


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_target_changes_what_to_take_and_the_manifest_says_so() -> None:
    found = run("Qwen/Qwen3-8B", "--target", "tpot=8ms", "--manifest")
    assert found.exit_code == 0, found.output
    manifest = yaml.safe_load(found.stdout)
    [profile] = manifest["spec"]["accelerator"]["profiles"]
    best = planned("Qwen/Qwen3-8B", "--target", "tpot=8ms")
    assert best["offers"][0]["profile"] == profile
    assert best["meetsTarget"] is True
    assert best["offers"][0]["secondsPerToken"] <= 0.008
    assert planned("Qwen/Qwen3-8B")["offers"][0]["profile"] != profile


def test_an_offer_whose_speed_is_unknown_meets_no_target() -> None:
    offers = planned("Qwen/Qwen3-8B", "--target", "tpot=1s")["offers"]
    assert any("secondsPerToken" not in each for each in offers)
    assert all(each["missedTarget"] == "unknown" for each in offers if "secondsPerToken" not in each)


def test_a_target_that_nothing_meets_is_not_well() -> None:
    document = planned("Qwen/Qwen3-8B", "--gpu=l4", "--target=tpot=1ms", code=1)
    assert document["fits"] is True
    assert document["meetsTarget"] is False
    assert "None of" in run("Qwen/Qwen3-8B", "--gpu=l4", "--target=tpot=1ms").stdout


def test_more_devices_are_tried_for_a_target() -> None:
    offers = planned("Qwen/Qwen3-8B", "--gpu=h100-80gb", "--target=tpot=4ms", code=0)["offers"]
    assert offers[0]["devices"] > 1
    found = run("Qwen/Qwen3-8B", "--gpu=h100-80gb", "--target=tpot=4ms", "--manifest")
    assert yaml.safe_load(found.stdout)["spec"]["engine"]["parallelism"]["tensor"] == offers[0]["devices"]


# --- what fits nowhere ------------------------------------------------------------------------------------------------


def test_what_fits_nowhere_is_said_with_what_would_help() -> None:
    found = run("meta-llama/Llama-3.1-70B", "--gpu=a10", "--devices=2")
    assert found.exit_code == 1
    assert "vllm would not start" in found.stdout
    assert "needs" in found.stdout


def test_a_context_longer_than_the_models_fits_nowhere() -> None:
    found = run(LLAMA_70B, "--context=200000")
    assert found.exit_code == 1
    assert "131,072 tokens at most" in found.stdout


# --- other ways to name a model --------------------------------------------------------------------------------------


def test_a_model_may_be_named_without_its_organization() -> None:
    assert planned("Llama-3.1-70B-Instruct")["model"] == f"hf://{LLAMA_70B}"


def test_a_manifest_is_planned_as_it_is() -> None:
    document = planned(str(SAMPLES / "llama-8b.yaml"))
    assert document["plan"]["accelerator"] == "h100-80gb"
    assert document["plan"]["contextLength"] == 8192


def test_without_the_models_numbers_a_plan_says_what_it_did_not_look_at() -> None:
    document = planned(str(SAMPLES / "gemma-cpu.yaml"))
    assert document["plan"]["accelerator"] == "cpu"
    assert "was not looked at" in " ".join(document["plan"]["why"])
    found = run(str(SAMPLES / "gemma-cpu.yaml"))
    assert "was not looked at" in found.stdout


def test_flags_win_over_the_manifest() -> None:
    document = planned(str(SAMPLES / "llama-8b.yaml"), "--context=4096", "--gpu=a100-80gb")
    assert (document["plan"]["accelerator"], document["plan"]["contextLength"]) == ("a100-80gb", 4096)


def test_a_manifest_may_come_from_standard_input() -> None:
    found = run("-", "--output=name", given=(SAMPLES / "llama-8b.yaml").read_text())
    assert found.stdout.splitlines()[0] == "h100-80gb"


def test_the_manifest_that_it_prints_is_planned_alike() -> None:
    first = run(LLAMA_70B, "--gpu=h100-80gb", "--context=16384", "--manifest")
    again = run("-", "--output=json", given=first.stdout)
    assert json.loads(again.stdout)["plan"] == planned(LLAMA_70B, "--gpu=h100-80gb", "--context=16384")["plan"]


def test_a_config_json_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    document = planned(str(file))
    assert document["sources"] == ["the model's own files"]
    assert document["plan"]["contextLength"] <= 8192


def test_facts_are_enough() -> None:
    facts = {
        "parameters": "8e9",
        "layers": "32",
        "hiddenSize": "4096",
        "vocabularySize": "128256",
        "contextLength": "8192",
        "attentionHeads": "32",
        "kvHeads": "8",
    }
    flags = [f"--fact={name}={value}" for name, value in facts.items()]
    assert planned("own/model", *flags)["sources"] == ["spec.model.facts"]


def test_prices_are_those_of_the_user() -> None:
    offers = planned("Qwen/Qwen3-8B", "--price=h200-141gb=0.01")["offers"]
    assert (offers[0]["profile"], offers[0]["pricePerHour"]) == ("h200-141gb", 0.01)


def test_profiles_may_come_from_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "profiles.yaml"
    profile = shipped()["l4"].model_dump(mode="json", by_alias=True, exclude_none=True)
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [profile]}))
    assert {each["profile"] for each in planned("Qwen/Qwen3-8B", f"--profiles={file}")["offers"]} == {"l4"}


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["foo/Bar"], 3, "foo/Bar is not among the"),
        (["Llama-3.1-8BB"], 2, "similar: meta-llama/Llama-3.1-8B"),
        (["nothing.yaml"], 2, "There is no file nothing.yaml."),
        ([LLAMA_70B, "--gpu=h1000"], 2, "Did you mean h100"),
        ([LLAMA_70B, "--target=fast"], 2, "--target fast is invalid: write ttft=500ms,tpot=40ms"),
        ([LLAMA_70B, "--target=tpot=fast"], 2, "spec.scaling.target.tpotP95 is 'fast', and must be a duration"),
        ([LLAMA_70B, "--quantization=fp9"], 2, "spec.engine.quantization is 'FP9'"),
        ([LLAMA_70B, "--price=h100-80gb=cheap"], 2, "is not a price per hour"),
        ([LLAMA_70B, "--price=tpu=1"], 2, "--price names tpu, and there is no such profile"),
        ([LLAMA_70B, "--fact=layers"], 2, "--fact layers is invalid: write it as layers=80."),
        ([LLAMA_70B, "--fact=layer=80"], 2, "spec.model.facts.layer is not a field"),
        (["own/model", "--fact=layers=80"], 3, "add --fact parameters=…"),
        ([], 2, "Name a model"),
    ],
)
def test_a_mistake_gets_a_sentence_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    found = run(*arguments)
    assert (found.exit_code, found.stdout) == (code, "")
    assert said in found.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod\nmetadata: {name: x}\n", "has neither a LLMDeployment"),
        ("a: [", "can't be read as YAML or JSON"),
        ("kind: LLMDeployment\nmetadata: {name: x}\n", "without metadata.name or spec"),
        ("kind: LLMDeployment\nmetadata: {name: X}\nspec: {model: {uri: 'hf://a/b'}}\n", "The name 'X' is invalid"),
        ("kind: LLMDeployment\nmetadata: {name: x}\nspec: {model: {}}\n", "spec.model.uri is missing: add it."),
        ("kind: LLMDeployment\nmetadata: {name: x}\nspec: {modell: {}}\n", "spec.model is missing"),
        ("", "has neither"),
    ],
)
def test_a_wrong_file_gets_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    found = run(str(file))
    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr
