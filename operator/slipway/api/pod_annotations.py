"""`spec.pod.annotations`: which of them Slipway's engines don't get, in CEL for the API server and the same in Python.

Where an engine's metrics are, its pods' annotations tell the activator. Slipway's own engines have theirs where the
activator looks by itself; sent elsewhere, it would find none, and a replica without metrics counts as used: the model
would never sleep. A ServingRuntime of somebody else's says so in these very annotations, and a spec may say otherwise.
"""

from __future__ import annotations

from slipway.api.schema import Rule, cel
from slipway.contract.flags import HARMLESS

OF_METRICS = "prometheus.kserve.io/"
_WHY = " tells where an engine's metrics are, which Slipway knows of its own engines: leave it out"

# --- in CEL ----------------------------------------------------------------------------------------------------------

_IS_OURS = f"self.engine.name in {cel(list(HARMLESS))}"
_FOUND = f"self.pod.annotations.filter(key, key.startsWith({cel(OF_METRICS)}))"
LET_THROUGH = Rule(
    rule=f"!has(self.pod) || !has(self.pod.annotations) || !({_IS_OURS}) || {_FOUND}.size() == 0",
    message="has an annotation that tells where an engine's metrics are, which Slipway knows of its own engines: leave "
    "it out",
    says=f"{_FOUND}[0] + {cel(_WHY)}",
    at=".pod.annotations",
    why="FieldValueForbidden",
)

# --- in Python -------------------------------------------------------------------------------------------------------


def why_refused(engine: str, name: str) -> str | None:
    """The same sentence; None for what is let through."""
    return name + _WHY if engine in HARMLESS and name.startswith(OF_METRICS) else None
