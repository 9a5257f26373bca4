"""Pure: an LLMDeployment and its Plan → the Kubernetes objects that serve it. One module for each kind and engine."""

from slipway.rendering.desired import Desired, ObjectReference, ReplicaBounds, Unrenderable, World, hash_of
from slipway.rendering.render import render

__all__ = ["Desired", "ObjectReference", "ReplicaBounds", "Unrenderable", "World", "hash_of", "render"]
