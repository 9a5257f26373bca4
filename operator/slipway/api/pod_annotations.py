"""`spec.pod.annotations`: which ones are refused for Slipway's engines, as CEL for the API server and again in Python.

The activator reads from annotations of a pod where the engine's metrics are. Slipway's own engines need none of these:
a wrong one would hide the metrics, a replica without metrics counts as used, and the model would never sleep. A user's
own ServingRuntime needs exactly these annotations, and the spec may override them.
"""

from __future__ import annotations

from slipway.api.schema import Rule, cel
from slipway.contract.flags import HARMLESS

OF_METRICS = "prometheus.kserve.io/"
_WHY = " says where an engine's metrics are, which Slipway knows for its own engines: remove it"

# --- in CEL ----------------------------------------------------------------------------------------------------------

_IS_OURS = f"self.engine.name in {cel(list(HARMLESS))}"
_FOUND = f"self.pod.annotations.filter(key, key.startsWith({cel(OF_METRICS)}))"
LET_THROUGH = Rule(
    rule=f"!has(self.pod) || !has(self.pod.annotations) || !({_IS_OURS}) || {_FOUND}.size() == 0",
    message="has an annotation that says where an engine's metrics are, which Slipway knows for its own engines: "
    "remove it",
    says=f"{_FOUND}[0] + {cel(_WHY)}",
    at=".pod.annotations",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, name: str) -> str | None:
    """Returns the same sentence, or None for an annotation that is allowed."""
    return name + _WHY if engine in HARMLESS and name.startswith(OF_METRICS) else None
