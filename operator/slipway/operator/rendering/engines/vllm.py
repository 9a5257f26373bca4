"""The options of vLLM that are no plain `--flag=value`; its engine.yaml names these functions as `code`."""

from __future__ import annotations

import json

from slipway.api.engine import EngineSpec
from slipway.contract.pod import DRAFT_FOLDER
from slipway.operator.rendering.engines.built_in import Code
from slipway.operator.rendering.storage import adapter_folder

SPECULATION = {"ngram": "ngram", "eagle3": "eagle3", "draft": "draft_model"}
NOWHERE = "/"  # no URL has such a host; a name that doesn't exist yet could be created in the pod's own DNS domain
MOST_ADAPTERS_AT_ONCE = 8  # in one batch; each takes memory of the accelerator


def speculation(spec: EngineSpec) -> list[str]:
    if spec.speculative is None:
        return []
    model = {"model": DRAFT_FOLDER} if spec.speculative.model else {}
    method = SPECULATION[spec.speculative.method]
    settings = {"method": method, **model, "num_speculative_tokens": spec.speculative.tokens}
    return [f"--speculative-config={json.dumps(settings, separators=(',', ':'))}"]


def adapters(spec: EngineSpec) -> list[str]:
    if not spec.adapters:
        return []
    modules = [f"{adapter.name}={adapter_folder(adapter.name)}" for adapter in spec.adapters]
    at_once = min(len(spec.adapters), MOST_ADAPTERS_AT_ONCE)
    return ["--enable-lora", f"--max-loras={at_once}", "--lora-modules", *modules]


def media(spec: EngineSpec) -> list[str]:
    """The hosts from which it may fetch media that requests name by URL. With an empty list, vLLM would allow all."""
    return ["--allowed-media-domains", *(spec.media_domains or [NOWHERE])]


CODE: Code = {"speculation": speculation, "adapters": adapters, "media": media}
