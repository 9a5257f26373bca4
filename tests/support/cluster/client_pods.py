"""Pods that send one request to a model: the activator identifies them by their namespace and labels."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from slipway_devcluster.slipway import OPERATOR_IMAGE

from support.builders import objects
from support.cluster.kube import Kube
from support.cluster.pods import run_to_end

NOT_ANSWERED = 0
"""No response within 3 s: the request is held."""
UNREACHABLE = -1

_ASK = """
import json, urllib.error, urllib.request
def ask(method, url, headers):
    request = urllib.request.Request(url, b"{{}}" if method == "POST" else None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except TimeoutError:
        return 0, ""
    except OSError:
        return -1, ""
print(json.dumps(ask({method!r}, {url!r}, {headers!r})))
"""


async def request_from_pod(
    kube: Kube,
    url: str,
    line: str = "POST /v1/completions",
    *,
    labels: dict[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Sends a request from a pod of the namespace; returns the status, and the code of an error."""
    method, path = line.split(" ")
    program = _ASK.format(
        method=method, url=url + path, headers={"Content-Type": "application/json", **(headers or {})}
    )
    name = f"client-{secrets.token_hex(3)}"
    said = await run_to_end(kube, objects.pod(name, OPERATOR_IMAGE.name, objects.python(program), labels=labels))
    status, body = json.loads(said)
    return status, json.loads(body).get("error", {}).get("code", "") if body else ""
