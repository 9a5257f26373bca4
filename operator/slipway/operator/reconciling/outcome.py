"""What came of carrying a decision out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from slipway.kube.errors import ForbiddenError, InvalidError, KindMissingError, UnavailableError
from slipway.objects.kinds import Kind, Object
from slipway.observing.snapshot import RefusedWrite

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What could not be done in one reconcile."""

    refusals: list[RefusedWrite] = field(default_factory=list)
    foreign: list[Object] = field(default_factory=list)  # objects with our names that belong to others
    rivals: list[str] = field(default_factory=list)  # who reverts our fields, in the API server's words
    look_again: float | None = None  # in this many seconds; None: the next change brings the next reconcile

    @property
    def goes_on(self) -> bool:
        return not (self.refusals or self.foreign)

    @contextmanager
    def noting_refusals(self, kind: Kind, name: str) -> Iterator[None]:
        """A write that is refused is noted for the status. Errors that pass are raised, and the queue retries."""
        try:
            yield
        except KindMissingError as error:
            logger.info("%s is left out: %s", kind, error)  # the cache will soon know that the kind is missing
        except (ForbiddenError, InvalidError) as error:
            self.refusals.append(RefusedWrite(kind=kind, name=name, message=error.words))
        except UnavailableError as error:
            if error.code != 500:  # the API server's code for a webhook that doesn't answer
                raise
            self.refusals.append(RefusedWrite(kind=kind, name=name, message=error.words))

    def look_again_in(self, seconds: float) -> None:
        self.look_again = min(seconds, self.look_again or seconds)
