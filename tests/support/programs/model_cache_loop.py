"""The operator's loop with a model whose files are kept on a claim. What may happen to one: compile_claim_loop.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.objects.kinds import INFERENCE_SERVICE, PERSISTENT_VOLUME_CLAIM, Object
from slipway.operator.installation import Fetcher
from slipway.operator.rendering.weights_store import fetchers_in, weights_store_in

from support.builders.llmdeployments import merged
from support.fakes.api_server import KEY, FakeApiServer
from support.programs.compile_claim_loop import put_what_it_needs, vllm
from support.programs.operator_loop import INSTALLATION, Loop, status

NAME = "llama-model"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
FETCHING = replace(INSTALLATION, fetcher=Fetcher("registry.example.com/slipway-fetcher:1"))


def fetched(*more: Object, **cache: Any) -> Object:
    """A model that is fetched from the Hub, and that keeps no compiled code."""
    made = merged(vllm(compileCache={"kind": "None"}), {"spec": {"model": {"uri": "hf://org/llama"}}})
    made = merged(made, {"spec": {"model": {"revision": COMMIT, "cache": cache}}})
    for each in more:
        made = merged(made, {"spec": each})
    return made


def fetching_loop(*more: Object, api: FakeApiServer | None = None, installation: Any = FETCHING, **cache: Any) -> Loop:
    loop = Loop(installation=installation, api=api)
    put_what_it_needs(loop)
    loop.api.put(fetched(*more, **cache))
    return loop


def model_cache(loop: Loop) -> Object:
    found: Object = status(loop)["modelCache"]
    return found


def keeps(loop: Loop) -> bool:
    return weights_store_in(loop.api.get(INFERENCE_SERVICE)) is not None


def weights_claim(loop: Loop) -> Object | None:
    return loop.api.objects.get((PERSISTENT_VOLUME_CLAIM, KEY.namespace, NAME))


def first_fetcher(loop: Loop) -> Object:
    return fetchers_in(loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"])[0]


def bind_weights(loop: Loop) -> None:
    bound = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pv-1"}}
    loop.api.change(PERSISTENT_VOLUME_CLAIM, bound, name=NAME)
