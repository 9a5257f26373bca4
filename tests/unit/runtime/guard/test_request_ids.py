"""Request ids."""

import pytest
from slipway_runtime.guard.request_ids import request_id_of


@pytest.mark.parametrize("given", ["req-1", "a/b:c=d+e@f.g_h", "x" * 128])
def test_a_clients_request_id_is_kept(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "with space", "line\nbreak", 'quote"', "ü"])
def test_a_harmful_request_id_is_replaced(given: str | None) -> None:
    request_id = request_id_of(given)
    assert request_id != given
    assert len(request_id) == 32
