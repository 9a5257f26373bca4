"""The value `runbooks.url`: everything that the chart installs links to the same place, or nothing does."""

from __future__ import annotations

import json

import pytest
from support.builders.objects import Object
from support.charts.helm import Refused, rendered

HERE = "https://wiki.example.com/slipway/{name}?raw=1"
MONITORED = {"monitoring": {"rules": {"enabled": True}, "dashboards": {"enabled": True}}}


def installed(url: str) -> list[Object]:
    return rendered("slipway", {**MONITORED, "runbooks": {"url": url}})


def variables(objects: list[Object], program: str) -> dict[str, str]:
    [deployment] = [it for it in objects if (it["kind"], it["metadata"]["name"]) == ("Deployment", program)]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def pods_links(objects: list[Object]) -> dict[str, list[str]]:
    """What the guard gets in each runtime."""
    [files] = [it["data"] for it in objects if it["metadata"]["name"] == "slipway-runtimes"]
    runtimes = {name: json.loads(text)["spec"]["containers"][0] for name, text in files.items()}
    return {
        name: [each["value"] for each in container.get("env", []) if each["name"] == "SLIPWAY_RUNBOOKS"]
        for name, container in runtimes.items()
    }


def alert_links(objects: list[Object]) -> set[str | None]:
    [rules] = [it for it in objects if it["kind"] == "PrometheusRule"]
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    return {each["annotations"].get("runbook_url", "").replace(each["alert"], "{name}") for each in alerts}


def dashboards(objects: list[Object]) -> str:
    found = [text for it in objects if it["metadata"]["name"].endswith("-dashboard") for text in it["data"].values()]
    assert all(map(json.loads, found))
    return "".join(found)


@pytest.mark.parametrize("program", ["slipway-operator", "slipway-activator"])
def test_both_programs_get_the_url(program: str) -> None:
    assert variables(installed(HERE), program)["SLIPWAY_RUNBOOKS"] == HERE


def test_the_guard_of_each_engine_that_slipway_builds_in_gets_the_url() -> None:
    found = pods_links(installed(HERE))
    assert found
    assert all(each == [HERE] for each in found.values())


def test_a_vendors_image_gets_no_variable_that_it_doesn_t_know() -> None:
    objects = rendered("slipway", {"runtimes": {"sglang": {"enabled": True}}, "runbooks": {"url": HERE}})
    assert pods_links(objects)["sglang.json"] == []


def test_alerts_and_dashboards_link_there() -> None:
    objects = installed(HERE)
    assert alert_links(objects) == {HERE}
    assert "[runbook of SlipwayPreempting](https://" not in dashboards(installed(""))
    link = HERE.replace("{name}", "SlipwayColdStartSlow")
    assert f"[runbook of SlipwayColdStartSlow]({link})" in dashboards(objects)


def test_without_a_url_nothing_links() -> None:
    objects = installed("")
    assert alert_links(objects) == {""}
    assert not any(pods_links(objects).values())
    assert all("SLIPWAY_RUNBOOKS" not in variables(objects, f"slipway-{name}") for name in ("operator", "activator"))
    assert "](http" not in dashboards(objects)


@pytest.mark.parametrize(
    "url",
    [
        "wiki",
        "https://wiki.example.com/{names}",
        "https://wiki.example.com/",
        "https://{name}",
        'https://a/"{name}',
        "https://a/{name} b",
        "https://a/{{name}}",
        "https://a/${b}{name}",
        "https://a/{name}/{name}",
        "https://a/\t{name}",
        f"https://a/{'x' * 400}{{name}}",
    ],
)
def test_a_url_that_can_t_be_a_link_to_each_runbook_is_refused(url: str) -> None:
    with pytest.raises(Refused, match=r"does not match pattern|maxLength"):
        installed(url)
