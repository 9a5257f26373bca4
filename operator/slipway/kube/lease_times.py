"""How long a Lease holds, and when it is renewed. Pure: the one place to change the times of the leader election."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseTimes:
    """In seconds. A crashed leader is replaced within `duration` and two rounds; one that ends, within one round."""

    duration: int = 10  # a standby takes over when it has seen no renewal for so long
    write_until: float = 7.0  # the leader stops writing so long after its last renewal
    renew_every: float = 2.0  # one round

    def __post_init__(self) -> None:
        if not 2 * self.renew_every <= self.write_until < self.duration:
            raise ValueError(
                "a Lease must be renewed at least twice before its holder stops writing, and the holder must stop "
                f"before the Lease ends: change duration, write_until or renew_every of {self}"
            )
