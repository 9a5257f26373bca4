"""What a test puts in for the words in capitals."""

from __future__ import annotations

import pytest
from support.pages.placeholders import KNOWN, PlaceholderError, Values, checked, filled, unknown_in, used_in

VALUES: Values = {"NAMESPACE": "chat", "NAME": "llama", "POD": lambda: "llama-predictor-1"}


def test_placeholders_are_replaced_by_their_values_and_other_words_are_not() -> None:
    command = "kubectl logs POD -n NAMESPACE; echo NAMES MY_NAME NAME-predictor 'NAME'"
    expected = "kubectl logs llama-predictor-1 -n chat; echo NAMES MY_NAME llama-predictor 'llama'"
    assert filled(command, VALUES) == expected


def test_a_value_is_looked_up_when_a_command_needs_it() -> None:
    pods = iter(["first", "second"])
    values: Values = {"POD": lambda: next(pods)}
    assert [filled("POD", values) for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize(
    "value",
    ["x; rm -rf /", "$(id)", "`id`", "a'b", 'a"b', "a b", "a\nb", "-n", "--all", "", "a|b", "a&b", "a>b", "{x}", "\\"],
)
def test_a_value_that_a_shell_could_read_as_more_than_a_word_is_refused(value: str) -> None:
    with pytest.raises(PlaceholderError, match="could change the command"):
        filled("kubectl get llm NAME", {"NAME": value})


@pytest.mark.parametrize(
    "value", ["llama-8b", "registry.example.com:5000/team/engine@sha256:00ff", "/mnt/models/a.gguf", "0.2.0+x"]
)
def test_names_images_paths_and_versions_are_values(value: str) -> None:
    assert filled("x NAME", {"NAME": value}) == f"x {value}"


def test_a_placeholder_without_a_value_is_an_error_with_its_name() -> None:
    with pytest.raises(PlaceholderError, match="the page uses POD"):
        filled("kubectl logs POD", {"NAME": "x"})


def test_a_value_for_an_unknown_placeholder_is_an_error() -> None:
    with pytest.raises(PlaceholderError, match="MODEL is not a placeholder"):
        checked({"MODEL": "x"})


def test_words_in_capitals_that_nothing_fills_are_found() -> None:
    assert unknown_in("kubectl get llm MODEL -n NAMESPACE -o jsonpath={.status.URL} $HOME --sort=AGE") == {"MODEL"}
    assert used_in("kubectl get llm MODEL -n NAMESPACE") == {"NAMESPACE"}


def test_each_known_placeholder_says_what_it_stands_for() -> None:
    assert all(KNOWN.values())
