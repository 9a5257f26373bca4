"""Pure: an LLMDeployment and its Plan → the Kubernetes objects that serve it. One module for each kind and engine."""

from slipway.operator.rendering.desired import Child, Desired, ReplicaBounds, Unrenderable, hash_of
from slipway.operator.rendering.render import render

__all__ = ["Child", "Desired", "ReplicaBounds", "Unrenderable", "hash_of", "render"]
