"""How often engines are queried for their metrics."""

import pytest
from slipway.activator.tracking.idleness import STALE_AFTER
from slipway.activator.tracking.metrics_poller import TIMEOUT, pause


@pytest.mark.parametrize("activators", [1, 2, 4])
def test_however_many_activators_poll_a_pod_it_is_polled_at_most_once_a_second(activators: int) -> None:
    assert all(activators / pause(activators) <= 1 for _ in range(1000))


@pytest.mark.parametrize("activators", [1, 2, 4, 40])
def test_no_activator_polls_so_seldom_that_it_knows_nothing(activators: int) -> None:
    assert all(pause(activators) + TIMEOUT < STALE_AFTER for _ in range(1000))
