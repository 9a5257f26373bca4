"""What the spec of a deployment says of its requests: who may ask, with which keys, and what wakes the model. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from slipway.activator import first_line
from slipway.activator.access import AllowFrom, allow_from
from slipway.activator.first_line import Patterns
from slipway.api.engine import EngineSpec
from slipway.api.exposure import AccessSpec
from slipway.api.scaling import HoldSpec
from slipway.contract.engines import BUILT_IN, VLLM
from slipway.objects.times import parse_time

Object = dict[str, Any]
ANY_PAGE = "*"
_ORIGINS = "--allowed-origins="  # of vLLM: whose pages may ask, as JSON
_HOW = ("--allowed-methods", "--allowed-headers", "--allow-credentials")  # and how, which is more than is told for it


@dataclass(frozen=True, kw_only=True)
class Rules:
    is_readable: bool = True  # or nobody is let in: what can't be read may be a restriction
    allow_from: AllowFrom | None = None  # None: from everywhere
    keys_secret: str | None = None
    wake_on: tuple[str, ...] | None = None  # None: what the engine computes for
    engine: str = VLLM.name
    names: tuple[str, ...] = ()  # that clients may send as "model"
    created: int = 0  # seconds since 1970
    web_pages: tuple[str, ...] = ()  # the origins whose pages the engine lets ask; * for all

    @property
    def is_ours(self) -> bool:
        """Whether the engine's pods have the guard, so that it is known what they serve."""
        return any(self.engine == each.name for each in BUILT_IN)

    @cached_property
    def waking(self) -> Patterns | None:
        """`wake_on`, taken apart once, and not for each request."""
        if self.wake_on is None:
            return None
        return Patterns(tuple(first_line.pattern(each, may_be_open=True) for each in self.wake_on))


def rules_of(deployment: Object) -> Rules:
    spec, metadata = deployment["spec"], deployment["metadata"]
    try:
        access = AccessSpec.model_validate(spec.get("access") or {})
        wake_on = HoldSpec.model_validate((spec.get("scaling") or {}).get("hold") or {}).wake_on
        engine = EngineSpec.model_validate(spec.get("engine") or {})
    except ValidationError:
        return Rules(is_readable=False)
    created = parse_time(metadata.get("creationTimestamp"))
    served = spec["model"].get("servedName") or metadata["name"]
    return Rules(
        allow_from=None if access.allow_from is None else allow_from(access.allow_from),
        keys_secret=access.api_keys_secret,
        wake_on=None if wake_on is None else tuple(wake_on),
        engine=engine.name,
        names=(served, *(adapter.name for adapter in engine.adapters)),
        created=int(created.timestamp()) if created else 0,
        web_pages=_web_pages(engine.extra_args) if engine.name == VLLM.name else (),
    )


def _web_pages(flags: Sequence[str]) -> tuple[str, ...]:
    """By default, vLLM lets none ask."""
    if any(flag.startswith(_HOW) for flag in flags):
        return ()
    *_, last = ("", *(flag.removeprefix(_ORIGINS) for flag in flags if flag.startswith(_ORIGINS)))
    try:
        origins = json.loads(last)
    except ValueError:
        return ()
    return tuple(each for each in origins if isinstance(each, str)) if isinstance(origins, list) else ()
