"""What happened to each LLMDeployment and when, as the benchmark's watches saw it. Pure.

A phase starts with `ask`: from then on, only changes that follow from it count.

- applied: the last of its Service, NetworkPolicy and InferenceService is there; in a change, the InferenceService is
  of a newer generation.
- true: the status is of this generation and correct: Ready, or, where no controller makes Deployments, that it waits
  for one.
- made: KServe has made its Deployment, or has changed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.objects.kinds import DEPLOYMENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, NETWORK_POLICY, SERVICE, Kind, Object

CHILDREN = (SERVICE, NETWORK_POLICY, INFERENCE_SERVICE)


@dataclass
class Story:
    """Moments of one phase, and what the watches know of the objects."""

    asked: float = 0.0
    generation: int = 0  # that the status must have observed; 0: unknown
    applied: dict[Kind, float] = field(default_factory=dict)
    made: float | None = None
    true: float | None = None
    gone: float | None = None
    generations: dict[Kind, int] = field(default_factory=dict)
    before: dict[Kind, int] = field(default_factory=dict)  # when the phase began

    def ask(self, moment: float) -> None:
        self.asked, self.applied = moment, {}
        self.made = self.true = self.gone = None
        self.before = dict(self.generations)

    def applied_at(self) -> float | None:
        if self.gone:
            return None
        wanted = [INFERENCE_SERVICE] if self.before else list(CHILDREN)
        found = [self.applied[kind] for kind in wanted if kind in self.applied]
        return max(found) if len(found) == len(wanted) else None

    def made_after(self) -> float | None:
        """KServe's own share: from the InferenceService to the Deployment."""
        begun = self.applied.get(INFERENCE_SERVICE)
        return max(0.0, self.made - begun) if self.made is not None and begun is not None else None


class Stories:
    """`truth`: the status of the condition Ready that is expected in the end."""

    def __init__(self, names: list[str], *, truth: str) -> None:
        self.by_name = {name: Story() for name in names}
        self._truth = truth
        self.left: set[tuple[Kind, str]] = set()  # what exists

    def hear_of(self, kind: Kind, arrived: float, type_: str, thing: Object) -> None:
        name = _owner(kind, thing)
        story = self.by_name.get(name)
        if story is None:
            return
        if type_ == "DELETED":
            self._gone(kind, name, story, arrived)
            return
        self.left.add((kind, name))
        generation = int(thing["metadata"].get("generation") or 0)
        is_news = generation > story.before.get(kind, -1)
        story.generations[kind] = generation
        if kind == LLM_DEPLOYMENT:
            self._told(story, arrived, thing)
        elif kind == DEPLOYMENT:
            story.made = story.made or (arrived if is_news else None)
        elif is_news:
            story.applied.setdefault(kind, arrived)

    def _told(self, story: Story, arrived: float, thing: Object) -> None:
        generation, status = int(thing["metadata"]["generation"]), thing.get("status", {})
        if generation <= story.before.get(LLM_DEPLOYMENT, 0) or status.get("observedGeneration") != generation:
            return
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        if story.true is None and conditions.get("Ready") == self._truth:
            story.true = arrived

    def _gone(self, kind: Kind, name: str, story: Story, arrived: float) -> None:
        self.left.discard((kind, name))
        story.generations.pop(kind, None)
        if not any((other, name) in self.left for other in (LLM_DEPLOYMENT, *CHILDREN, DEPLOYMENT)):
            story.gone = arrived


def _owner(kind: Kind, thing: Object) -> str:
    name: str = thing["metadata"]["name"]
    return name.removesuffix("-predictor") if kind == DEPLOYMENT else name
