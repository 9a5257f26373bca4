"""Asks PyPI about known vulnerabilities of the packages in our images: `make audit`, by pip-audit, over the network.

The result, with its date, is release/audit.yaml. A vulnerability there needs a judgement: an entry in `accepted` with
the reason, or a newer package. `make check` needs no network: it reads the result, if there is one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULT = HERE / "audit.yaml"
VERSION = "2.10.1"
AUDITED = (
    "operator/requirements.txt",
    "runtime-image/requirements/llamacpp.txt",
    "runtime-image/requirements/vllm-cpu.txt",
    "runtime-image/requirements/vllm-cuda.txt",
)
OLDEST = 60  # days
NOTE = "# Written by `make audit`, but for `accepted`: an identifier, and why it does no harm here.\n"


class AuditError(Exception):
    """Why there is no result, in one sentence with the remedy."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only read the last result")
    arguments = parser.parse_args()
    try:
        before = yaml.safe_load(RESULT.read_text()) if RESULT.exists() else None
        if not arguments.check:
            found = {file: vulnerabilities_in(answer_about(file), file) for file in AUDITED}
            before = result(found, (before or {}).get("accepted") or {}, datetime.now(UTC).date())
            RESULT.write_text(NOTE + yaml.safe_dump(before, sort_keys=False, width=118))
        complaints = list(complaints_about(before, datetime.now(UTC).date()))
    except AuditError as error:
        complaints = [str(error)]
    for each in complaints:
        print(each, file=sys.stderr)
    return 1 if complaints else 0


def answer_about(file: str) -> dict[str, Any]:
    command = ["uvx", "--from", f"pip-audit=={VERSION}", "pip-audit", "--disable-pip", "--progress-spinner=off"]
    command += ["--format=json", f"--requirement={ROOT / file}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        words = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise AuditError(f"{file} isn't audited: {words[:300]}. Run make audit where PyPI can be reached.") from None
    return answer


def vulnerabilities_in(answer: Mapping[str, Any], file: str) -> list[dict[str, str]]:
    """pip-audit calls packages "skipped" that it found nothing about, and still says that no vulnerability is known."""
    skipped = [each["name"] for each in answer["dependencies"] if "skip_reason" in each]
    if skipped or not answer["dependencies"]:
        raise AuditError(
            f"{file} isn't audited: this index has no vulnerability data of {len(skipped)} packages, such as "
            f"{next(iter(skipped), 'any')}. Run make audit where pypi.org/pypi/NAME/VERSION/json can be reached."
        )
    return [
        {"id": found["id"], "package": f"{each['name']}=={each['version']}", "fixed": ", ".join(found["fix_versions"])}
        for each in answer["dependencies"]
        for found in each["vulns"]
    ]


def result(found: Mapping[str, list[dict[str, str]]], accepted: Mapping[str, str], day: date) -> dict[str, Any]:
    return {"date": day.isoformat(), "vulnerabilities": dict(found), "accepted": dict(accepted)}


def complaints_about(told: Mapping[str, Any] | None, today: date) -> Iterator[str]:
    """Nothing where there is no result yet: releases need one, and a machine without the network can't make it."""
    if told is None:
        return
    age = (today - date.fromisoformat(told["date"])).days
    if age > OLDEST:
        yield f"release/audit.yaml is {age} days old, and must not be older than {OLDEST}: run make audit"
    for file, found in told["vulnerabilities"].items():
        for each in found:
            if each["id"] not in told["accepted"]:
                remedy = f"update it to {each['fixed']}" if each["fixed"] else "replace it"
                yield f"{file}: {each['package']} has {each['id']}: {remedy}, or say in `accepted` why it does no harm"


if __name__ == "__main__":
    sys.exit(main())
