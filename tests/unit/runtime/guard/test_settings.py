"""The guard's settings and how they are validated."""

import pytest
from slipway_runtime.guard.settings import GuardSettings, SettingsError


def test_by_default_there_are_no_keys_and_no_limit_except_on_the_body() -> None:
    settings = GuardSettings.from_environment({})
    assert (settings.keys, settings.max_in_flight, settings.max_body_bytes) == ("", 0, 32 * 1024 * 1024)


def test_an_empty_variable_counts_as_unset() -> None:
    assert GuardSettings.from_environment({"SLIPWAY_GUARD": ""}) == GuardSettings()


def test_every_setting_is_read_as_its_type() -> None:
    text = '{"model": "m", "keys": "/keys", "max_in_flight": 3, "allow": ["POST /x/*"], "access_log": false}'
    settings = GuardSettings.from_json(text)
    assert settings == GuardSettings(model="m", keys="/keys", max_in_flight=3, allow=("POST /x/*",), access_log=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not an object"),
        ('{"max_in_fligth": 3}', "'max_in_fligth' is not one of its settings"),
        ('{"max_in_flight": "3"}', "max_in_flight is '3', but must be a int"),
        ('{"max_in_flight": true}', "max_in_flight is True"),
        ('{"max_in_flight": -1}', "below 0"),
        ('{"max_in_flight": null}', "max_in_flight is None"),
        ('{"max_body_bytes": 0}', "below 1"),
        ('{"burst_per_key": 0}', "below 1"),
        ('{"keys": "keys"}', "absolute path"),
        ('{"runbooks": "https://a.example/"}', "runbooks is not a URL with {name}"),
        ('{"allow": "POST /x"}', "not a list of strings"),
        ('{"allow": ["/x"]}', "not like 'POST /path'"),
    ],
)
def test_an_invalid_setting_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        GuardSettings.from_json(text)
