"""The guard's settings and how they are validated."""

import pytest
from slipway_runtime.guard.settings import GuardSettings, SettingsError


def test_by_default_there_are_no_keys_and_no_limit_except_on_the_body() -> None:
    settings = GuardSettings.from_environment({})
    assert (settings.keys, settings.max_in_flight, settings.max_body_bytes) == ("", 0, 32 * 1024 * 1024)


def test_an_empty_variable_counts_as_unset() -> None:
    assert GuardSettings.from_environment({"SLIPWAY_GUARD": ""}) == GuardSettings()


def test_the_url_of_runbooks_is_a_variable_of_its_own_that_a_users_settings_leave_as_it_is() -> None:
    environment = {"SLIPWAY_GUARD": '{"max_in_flight": 3}', "SLIPWAY_RUNBOOKS": "https://a.example/{name}"}
    settings = GuardSettings.from_environment(environment)
    assert settings == GuardSettings(max_in_flight=3, runbooks="https://a.example/{name}")


def test_a_url_that_cannot_be_that_of_runbooks_is_refused_as_by_the_other_programs() -> None:
    with pytest.raises(SettingsError, match=r"SLIPWAY_RUNBOOKS.*: 'wiki' is not where .*: write a URL of at most 400"):
        GuardSettings.from_environment({"SLIPWAY_RUNBOOKS": "wiki"})


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
        (
            '{"runbooks": "https://a.example/"}',
            "runbooks in SLIPWAY_GUARD: 'https://a.example/' is not where runbooks are",
        ),
        ('{"allow": "POST /x"}', "not a list of strings"),
        ('{"allow": ["/x"]}', "not like 'POST /path'"),
    ],
)
def test_an_invalid_setting_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        GuardSettings.from_json(text)
