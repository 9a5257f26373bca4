"""Which folders of the repository become models under which names: an invalid one must not affect the others.

Argo CD creates all Applications of an ApplicationSet or none. A file that it can't parse, a file without a field of
the template, or a name that Kubernetes refuses would stop the creation, change and deletion of all models. So none of
these may depend on what users write. tests/gitops tests the same with Argo CD.
"""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

APPS = Path(__file__).parents[3] / "manifests/argocd/repository/apps"
MODELS = yaml.safe_load((APPS / "models.yaml").read_text())["spec"]
[LIST, GIT] = MODELS["generators"][0]["matrix"]["generators"]
A_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
A_MODEL = re.compile(r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?")
A_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LONG_NAMESPACE, LONG_MODEL = "n" * 63, "m" * 53

folders = st.text(st.sampled_from("ab0-"), min_size=1, max_size=6) | st.text(min_size=1, max_size=70)


def matches(pattern: str, path: str) -> bool:
    """Matches like Go's path.Match: neither `*` nor `?` matches a slash."""
    parts, wanted = path.split("/"), pattern.replace("[^", "[!").replace("\\-", "-").split("/")
    return len(parts) == len(wanted) and all(
        re.match(translate(each), part) for each, part in zip(wanted, parts, strict=True)
    )


def is_taken(namespace: str, model: str, environment: str = "dev") -> bool:
    path = f"models/{environment}/{namespace}/{model}"
    rules = [(each["path"].replace("{{ .environment }}", environment), each) for each in GIT["git"]["directories"]]
    found = [each for pattern, each in rules if matches(pattern, path)]
    return bool(found) and not any(each.get("exclude") for each in found)


def name_of(namespace: str, model: str, environment: str = "dev") -> str:
    name = MODELS["template"]["metadata"]["name"]
    for parameter, value in (
        ("{{ .environment }}", environment),
        ("{{ index .path.segments 2 }}", namespace),
        ("{{ index .path.segments 3 }}", model),
    ):
        name = name.replace(parameter, value)
    assert "{{" not in name
    return str(name)


def parameters_of(template: Any) -> set[str]:
    """Returns the parameters that a template uses."""
    if isinstance(template, dict):
        return set().union(*(parameters_of(each) for each in template.values()))
    if isinstance(template, list):
        return set().union(*(parameters_of(each) for each in template))
    return set(re.findall(r"{{-?\s*(?:index\s+)?\.([a-z]+)", template)) if isinstance(template, str) else set()


def test_the_list_of_applications_depends_on_folders_and_not_on_the_content_of_files() -> None:
    assert "files" not in GIT["git"]
    assert parameters_of(MODELS["template"]) <= {"path", *LIST["list"]["elements"][0]}


def test_a_folder_is_read_as_plain_manifests_and_no_program_is_run_for_it() -> None:
    """Argo CD treats a folder as a chart or a kustomization if it looks like one, unless its type is given."""
    assert MODELS["template"]["spec"]["source"]["directory"] == {"include": "model.yaml"}


@pytest.mark.parametrize(
    ("namespace", "model"),
    [("chat", "assistant"), ("c", "a"), ("0", "a0"), ("a-b", "c-d"), (LONG_NAMESPACE, LONG_MODEL)],
)
def test_valid_names_of_a_namespace_and_a_model_make_an_application(namespace: str, model: str) -> None:
    assert is_taken(namespace, model)


@pytest.mark.parametrize("name", ["A", "a_b", "a.b", "-a", "a-", "ä", "a b", "a'b", "a{{ .b }}", "a\nb", ".a", "a%"])
def test_invalid_names_make_no_application(name: str) -> None:
    assert not is_taken(name, "assistant")
    assert not is_taken("chat", name)


def test_names_that_are_too_long_make_no_application() -> None:
    assert not is_taken(LONG_NAMESPACE + "n", "assistant")
    assert not is_taken("chat", LONG_MODEL + "m")


@given(folders, folders)
def test_exactly_the_valid_names_make_an_application(namespace: str, model: str) -> None:
    if "/" not in namespace + model:
        assert is_taken(namespace, model) == bool(A_NAMESPACE.fullmatch(namespace) and A_MODEL.fullmatch(model))


def test_folders_on_other_levels_are_not_models() -> None:
    assert not is_taken("chat/assistant", "more")
    assert not matches(GIT["git"]["directories"][0]["path"].replace("{{ .environment }}", "dev"), "models/dev/chat")


@given(folders, folders, folders, folders)
def test_no_two_folders_get_the_same_name(a: str, b: str, c: str, d: str) -> None:
    if is_taken(a, b) and is_taken(c, d):
        assert (name_of(a, b) == name_of(c, d)) == ((a, b) == (c, d))


def test_folders_that_differ_in_the_place_of_a_dash_get_different_names() -> None:
    assert name_of("chat", "a-b") != name_of("chat-a", "b")


@pytest.mark.parametrize("environment", [each["environment"] for each in LIST["list"]["elements"]])
def test_each_name_is_valid_in_kubernetes(environment: str) -> None:
    for namespace, model in (("0", "a"), (LONG_NAMESPACE, LONG_MODEL)):
        name = name_of(namespace, model, environment)
        assert A_SUBDOMAIN.fullmatch(name)
        assert len(name) <= 253
