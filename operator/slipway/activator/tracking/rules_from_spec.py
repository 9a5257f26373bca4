"""Reads what the spec of a model says about requests. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from pydantic import ValidationError

from slipway.activator.shared.allow_from import (
    AddressBlock,
    AddressRange,
    AllowFrom,
    PodEntry,
    PodSelector,
    SelectorRequirement,
)
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.engine import EngineSpec
from slipway.api.exposure import AccessSpec, IpBlock, Peer
from slipway.api.kubernetes import LabelSelector
from slipway.api.scaling import HoldSpec
from slipway.contract.engines import VLLM
from slipway.contract.tasks import Task
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time

AUTO = "Auto"
_ORIGINS = "--allowed-origins="  # of vLLM: the origins of web pages that may call it, as JSON
_HOW = (
    "--allowed-methods",
    "--allowed-headers",
    "--allow-credentials",
)  # further rules for web pages, which aren't implemented here


def rules_of(deployment: Object) -> RequestRules:
    spec, metadata = deployment["spec"], deployment["metadata"]
    try:
        access = AccessSpec.model_validate(spec.get("access") or {})
        wake_on = HoldSpec.model_validate((spec.get("scaling") or {}).get("hold") or {}).wake_on
        engine = EngineSpec.model_validate(spec.get("engine") or {})
    except ValidationError:
        return RequestRules(is_readable=False)
    created = parse_time(metadata.get("creationTimestamp"))
    served = spec["model"].get("servedName") or metadata["name"]
    return RequestRules(
        allow_from=None if access.allow_from is None else allow_from(access.allow_from),
        keys_secret=access.api_keys_secret,
        wake_on=None if wake_on is None else tuple(wake_on),
        engine=engine.name,
        task=_task(spec["model"], deployment.get("status") or {}),
        names=(served, *(adapter.name for adapter in engine.adapters)),
        created=int(created.timestamp()) if created else 0,
        web_pages=_web_pages(engine.extra_args) if engine.name == VLLM.name else (),
    )


def _task(model: Object, status: Object) -> str:
    """The spec's, else the plan's. That an architecture generates text isn't the last word: the files of a model that
    was made of it for embeddings say so, and only its pod sees them."""
    told = model.get("task", AUTO)
    if told != AUTO:
        return str(told)
    planned = (status.get("plan") or {}).get("task")
    return str(planned) if planned in [*Task] and planned != Task.GENERATE else ""


def _web_pages(flags: Sequence[str]) -> tuple[str, ...]:
    """By default, vLLM allows none."""
    if any(flag.startswith(_HOW) for flag in flags):
        return ()
    *_, last = ("", *(flag.removeprefix(_ORIGINS) for flag in flags if flag.startswith(_ORIGINS)))
    try:
        origins = json.loads(last)
    except ValueError:
        return ()
    return tuple(each for each in origins if isinstance(each, str)) if isinstance(origins, list) else ()


# --- access.allowFrom -------------------------------------------------------------------------------------------------


def allow_from(peers: Iterable[Peer]) -> AllowFrom:
    """Entries that match no address are left out."""
    blocks, pods = [], []
    for peer in peers:
        if peer.ip_block is not None:
            if block := _block(peer.ip_block):
                blocks.append(block)
        elif peer.namespace_selector is not None or peer.pod_selector is not None:
            pods.append(PodEntry(_selector(peer.namespace_selector), _selector(peer.pod_selector)))
    return AllowFrom(tuple(blocks), tuple(pods))


def _block(block: IpBlock) -> AddressBlock | None:
    try:
        within = ipaddress.ip_network(block.cidr, strict=False)
        without = [ipaddress.ip_network(each, strict=False) for each in block.except_]
    except ValueError:
        return None
    if any(each.version != within.version for each in without) or _is_mapped(within):
        return None  # it would except nothing, or match nothing
    return AddressBlock(_range(within), tuple(map(_range, without)))


def _range(network: IPv4Network | IPv6Network) -> AddressRange:
    return AddressRange(network.version, int(network.network_address), int(network.broadcast_address))


def _is_mapped(network: object) -> bool:
    return isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None


def _selector(selector: LabelSelector | None) -> PodSelector | None:
    if selector is None:
        return None
    requirements = (
        SelectorRequirement(each.key, each.operator, frozenset(each.values)) for each in selector.match_expressions
    )
    return PodSelector(dict(selector.match_labels), tuple(requirements))
