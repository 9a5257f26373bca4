"""Requests and tokens: how many run, wait and are held, how many per second, and how many fail."""

from __future__ import annotations

from slipway_monitoring.promql import first_of, first_values, rate, total
from slipway_monitoring.rule import Group, Recording
from slipway_monitoring.vocabulary.sources import ANSWERED, OUTPUT_TOKENS, PROMPT_TOKENS, RUNNING, WAITING

FAULTS_OF_CLIENTS = (
    *("missing_api_key", "invalid_api_key", "not_allowed_from_here", "too_many_wrong_keys"),
    *("unknown_url", "model_not_found", "not_found", "method_not_allowed", "request_too_large"),
    *("RequestInvalid", "RequestTooLarge", "Silent", "HeadTooSlow", "MadeRoom", "AnswerNotTaken"),
)
"""Reasons of the activator for refusals that a client causes."""

AS_CONFIGURED = ("model_asleep", "budget_spent", "Deleting", "Paused", "ScalingPaused")
"""Reasons for refusals that the model's owner wants."""

_NOT_COUNTED = "|".join((*FAULTS_OF_CLIENTS, *AS_CONFIGURED))
REFUSED = f'slipway_activator_refused_total{{llmdeployment!="", reason!~"{_NOT_COUNTED}"}}'
FAILED = 'code=~"5xx|refused"'
COUNTED = 'code!="4xx"'


def _with_code(expression: str, code: str) -> str:
    return f'label_replace({expression}, "code", "{code}", "", "")'


def _counted(series: str) -> str:
    """With the first values: the first failures of their kind often come in one moment."""
    parts = {"later": rate(series), "first": first_values(series)}
    return "\nor ".join(f'label_replace({each}, "part", "{part}", "", "")' for part, each in parts.items())


def _requests() -> str:
    guard = f'label_replace({_counted("slipway_requests_total")}, "code", "${{1}}xx", "status", "(.).*")'
    answered = [_with_code(total(rate(name)), "2xx") for name in ANSWERED.values()]
    failed = _with_code(total(rate("nv_inference_request_failure")), "5xx")
    refused = _with_code(total(_counted(REFUSED)), "refused")
    return f"{first_of(total(guard, 'code'), *answered)}\nor {failed}\nor {refused}"


def _error_ratio() -> str:
    """The zeros are for models of which no request has failed."""
    rates = "slipway:requests:rate5m"
    failed = total(f"{rates}{{{FAILED}}} or {rates}{{{COUNTED}}} * 0")
    return f"{failed}\n/ ({total(f'{rates}{{{COUNTED}}}')} > 0)"


def _waiting() -> str:
    """Of llama.cpp, those in flight that it doesn't compute yet."""
    series = {engine: total(name) for engine, name in WAITING.items()}
    series["llamacpp"] = f"clamp_min({series['llamacpp']} - {total(RUNNING['llamacpp'])}, 0)"
    return first_of(*series.values())


GROUP = Group(
    name="slipway.requests",
    recordings=(
        Recording(
            name="slipway:requests_running",
            meaning="Requests that an engine computes, in all replicas",
            unit="requests",
            expression=first_of(*map(total, RUNNING.values())),
            sources=RUNNING,
        ),
        Recording(
            name="slipway:requests_waiting",
            meaning="Requests that wait for their turn in an engine, in all replicas",
            unit="requests",
            expression=_waiting(),
            sources=WAITING,
        ),
        Recording(
            name="slipway:requests_held",
            meaning="Requests that the activators hold until a replica is ready",
            unit="requests",
            expression=total("slipway_activator_held"),
        ),
        Recording(
            name="slipway:requests:rate5m",
            meaning="Requests per second by `code`: the class of the HTTP status, or `refused` by an activator for a "
            "reason that neither the client nor the model's owner has set. Of engines in their makers' images, only "
            "those that succeed are known",
            unit="per second",
            expression=_requests(),
            sources={**ANSWERED, "vllm": "slipway_requests_total", "llamacpp": "slipway_requests_total"},
        ),
        Recording(
            name="slipway:request_errors:ratio5m",
            meaning="Share of requests that failed with 5xx or were refused; 4xx are not counted at all",
            unit="ratio",
            expression=_error_ratio(),
        ),
        Recording(
            name="slipway:prompt_tokens:rate5m",
            meaning="Tokens of prompts per second",
            unit="tokens per second",
            expression=first_of(*(total(rate(name)) for name in PROMPT_TOKENS.values())),
            sources=PROMPT_TOKENS,
        ),
        Recording(
            name="slipway:output_tokens:rate5m",
            meaning="Computed tokens per second",
            unit="tokens per second",
            expression=first_of(*(total(rate(name)) for name in OUTPUT_TOKENS.values())),
            sources=OUTPUT_TOKENS,
        ),
        Recording(
            name="slipway:key_tokens:rate5m",
            meaning="Tokens per second by `key`, the name of an API key, and `kind`: `prompt` or `completion`",
            unit="tokens per second",
            expression=total(rate("slipway_tokens_total"), "key", "kind"),
        ),
    ),
)
