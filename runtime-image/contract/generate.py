"""Writes the contract of both sides of a model's pod from its one source: this folder, and the folder of each engine.

The operator's image and the runtime's images have separate build contexts, and their packages don't import each other.
So each carries the contract as a Python package of its own, operator/slipway/contract and slipway_runtime/contract, and
this program keeps the two alike. It also writes what the charts' runtimes say about engines. Run it by `make generate`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNTIME = HERE.parent / "slipway_runtime"
OURS, OPERATORS = RUNTIME / "contract", ROOT / "operator/slipway/contract"
REASONS_OF_API = ROOT / "operator/slipway/api/reasons.py"
RUNTIMES = ROOT / "charts/slipway/runtimes"

sys.path.insert(0, str(HERE.parent))
from slipway_runtime.contract.engine import Engine, Metrics, Option  # noqa: E402 - the file next to what is written

COPIED = (
    "buckets.py",
    "engine.py",
    "explain.py",
    "hold.py",
    "lines.py",
    "runbooks.py",
    "tasks.py",
)  # by hand, for the runtime
HEADER = """\
{quotes}{about}

Written by `make generate`; instead of this file, change
{source}.
{quotes}

from __future__ import annotations

"""
CLASSES = ("device", "memory", "pod", "model", "arguments", "crash")
"""Of sentences, in the order in which they decide; sentences.yaml says why."""


def header(*, about: str, source: str) -> str:
    return HEADER.format(quotes='"""', about=about, source=source)


class ContractError(Exception):
    """The data contradict each other; the message says where."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    reasons, engines = read("reasons.yaml"), {name: engine(name) for name in engine_names()}
    shared = {
        "pod.py": pod(),
        "sentences.py": sentences(exit_codes(reasons)),
        "flags.py": flags(),
        "parsers.py": parsers(),
        "engines.py": list_of_engines(engines),
        "pages.py": pages(reasons, read("errors.yaml")),
    }
    written = [OURS / "reasons.py", REASONS_OF_API]
    written[0].write_text(reasons_of_runtime(reasons))
    written[1].write_text(reasons_of_api(reasons))
    for name, text in shared.items():
        for folder in (OURS, OPERATORS):
            (folder / name).write_text(text)
            written.append(folder / name)
    for name in COPIED:
        shutil.copyfile(OURS / name, OPERATORS / name)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *written], check=True)
    for each in engines.values():
        if not each.built_in:
            write_runtime(each)


def read(name: str, folder: Path = HERE) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / name).read_text())
    return found


def engine_names() -> list[str]:
    """Those that Slipway builds in come first, vLLM before all: it is the default."""
    names = sorted(path.parent.name for path in RUNTIME.glob("engines/*/engine.yaml"))
    return sorted(names, key=lambda name: (not read("engine.yaml", folder_of(name)).get("built_in"), name != "vllm"))


def folder_of(engine: str) -> Path:
    return RUNTIME / "engines" / engine


def built_in() -> list[str]:
    return [name for name in engine_names() if read("engine.yaml", folder_of(name)).get("built_in")]


# --- reasons ---------------------------------------------------------------------------------------------------------


def exit_codes(data: Mapping[str, Any]) -> dict[str, int]:
    codes = {word: about["exit"] for word, about in data["reasons"].items() if "exit" in about}
    if len({*codes.values()}) < len(codes):
        raise ContractError("reasons.yaml: two reasons have the same exit code")
    return codes


def python_name(word: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).upper()


ENUM = """\
class {name}(StrEnum):
    {quotes}{meaning}{quotes}

    {attributes}

    def __new__(cls, word: str, {parameters}) -> {name}:
        found = str.__new__(cls, word)
        found._value_ = word
        {assignments}
        return found

{members}

"""
DEFAULTS = {"str": '""', "bool": "False", "int": "0"}


def enum(name: str, meaning: str, attributes: Mapping[str, str], rows: Mapping[str, tuple[object, ...]]) -> str:
    """A class whose members are words with attributes, which are given as name and type."""
    return ENUM.format(
        name=name,
        quotes='"""',
        meaning=meaning,
        attributes="\n    ".join(f"{each}: {kind}" for each, kind in attributes.items()),
        parameters=", ".join(f"{each}: {kind} = {DEFAULTS[kind]}" for each, kind in attributes.items()),
        assignments="\n        ".join(f"found.{each} = {each}" for each in attributes),
        members="\n".join(f"    {python_name(word)} = {(word, *values)!r}" for word, values in rows.items()),
    )


def reasons_of_api(data: Mapping[str, Any]) -> str:
    about = "Why a model is as it is: the words that status, events, metrics, runbooks and error bodies use."
    states = {word: (each["means"],) for word, each in data["states"].items()}
    conditions = {word: (each["means"],) for word, each in data["conditions"].items()}
    reasons = {word: (each["means"], each.get("final", False)) for word, each in data["reasons"].items()}
    means, final = {"meaning": "str"}, {"meaning": "str", "is_final": "bool"}
    return (
        header(about=about, source="runtime-image/contract/reasons.yaml")
        + "from enum import StrEnum\n\n"
        + enum("State", "The state of a deployment in one word, for people.", means, states)
        + enum(
            "ConditionType",
            "The conditions of a deployment; all but the last two are good when True.",
            means,
            conditions,
        )
        + enum(
            "Reason", "A cause with its meaning; final if waiting doesn't help and a person has to act.", final, reasons
        )
    )


def reasons_of_runtime(data: Mapping[str, Any]) -> str:
    reasons = {word: (data["reasons"][word]["means"], code) for word, code in exit_codes(data).items()}
    about = "The reasons that the runtime can find for a failure, each with the exit code by which it ends."
    attributes = {"meaning": "str", "exit_code": "int"}
    return (
        header(about=about, source="runtime-image/contract/reasons.yaml")
        + "from enum import StrEnum\n\n"
        + enum("Reason", "A cause with its meaning and its exit code.", attributes, reasons)
    )


def pages(data: Mapping[str, Any], errors: Mapping[str, str]) -> str:
    """The runbook of each reason that has one, and of each code of an error body."""
    told = {word: word for word, about in data["reasons"].items() if about.get("final") or about.get("runbook")}
    unknown = sorted({page for page in errors.values() if page in data["reasons"]} - told.keys())
    if unknown or told.keys() & errors.keys():
        raise ContractError(f"errors.yaml: a code is a reason, or {unknown} are reasons without a runbook")
    source = "runtime-image/contract/reasons.yaml or errors.yaml"
    text = header(about="The runbooks that reasons and codes of error bodies link to.", source=source)
    return text + f"from collections.abc import Mapping\n\nPAGES: Mapping[str, str] = {told | dict(errors)!r}\n"


# --- the pod, and sentences ------------------------------------------------------------------------------------------


def pod() -> str:
    """The constants as they are in the YAML, with its comments."""
    lines = map(as_python, (HERE / "pod.yaml").read_text().splitlines()[3:])
    about = "What the operator, the activator and slipway-runtime agree on about a model's pod."
    return header(about=about, source="runtime-image/contract/pod.yaml") + "\n".join(lines) + "\n"


def as_python(line: str) -> str:
    """A line `NAME: value # comment` as an assignment; all others, comments among them, as they are."""
    found = re.fullmatch(r"([A-Z_]+): (.+?)(?: (# .*))?", line)
    if not found:
        return line
    value = yaml.safe_load(found[2])
    value = tuple(value) if isinstance(value, list) else value
    return f"{found[1]} = {value!r}  {found[3] or ''}".rstrip()


def sentences(codes: Mapping[str, int]) -> str:
    folders = [*filter(has_sentences, map(folder_of, engine_names())), HERE]
    data = [read("sentences.yaml", folder) for folder in folders]
    rows = [row for kind in CLASSES for each in data for row in rows_of(each["classes"].get(kind, []), codes)]
    if unknown := {kind for each in data for kind in each["classes"]} - {*CLASSES}:
        raise ContractError(f"sentences.yaml: {', '.join(sorted(unknown))} is no class of sentences")
    about = "The sentences by which a failed start is recognized, of all engines and of what is below them."
    source = "runtime-image/contract/sentences.yaml or that of an engine in slipway_runtime/engines"
    text = header(about=about, source=source)
    for name in ("prefixes", "noise", "quotes_clients"):
        text += f"{name.upper()}: tuple[str, ...] = {tuple(line for each in data for line in each.get(name, []))!r}\n"
    return text + f"ROWS: tuple[tuple[str, str, str], ...] = {tuple(rows)!r}\n"


def has_sentences(folder: Path) -> bool:
    return (folder / "sentences.yaml").is_file()


def rows_of(rows: list[dict[str, Any]], codes: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        pattern = "|".join(row["says"])
        re.compile(pattern)
        if row["reason"] not in codes:
            raise ContractError(f"sentences.yaml: {row['reason']} of '{pattern}' has no exit code in reasons.yaml")
        yield pattern, row["reason"], " ".join(row["remedy"].split())


# --- flags -----------------------------------------------------------------------------------------------------------


def flags() -> str:
    words, of_engines = read("flags.yaml"), {name: read("flags.yaml", folder_of(name)) for name in built_in()}
    written: dict[str, list[str]] = {}
    for each in of_engines.values():
        for field, names in each["written"].items():
            written.setdefault(field, []).extend(names.split())
    dangers = {f"{why['why']}; {words['instead'][why['instead']]}": key for key, why in words["dangers"].items()}
    dangerous = {
        why: [name for each in of_engines.values() for name in each["dangers"].get(key, "").split()]
        for why, key in dangers.items()
    }
    reasons = {
        **{words["written"].replace("FIELD", field): names for field, names in written.items()},
        words["set_by_slipway"]: [name for each in of_engines.values() for name in each["set_by_slipway"].split()],
        **{f"is refused because it {why}": names for why, names in dangerous.items()},
    }
    harmless = {name: tuple(each["harmless"].split()) for name, each in of_engines.items()}
    about = "The engines' own flags, each judged once: which of them `extraArgs` may hold, and why not the others."
    source = "runtime-image/contract/flags.yaml or that of an engine in slipway_runtime/engines"
    constants = (
        ("HARMLESS", compact(harmless), "By engine, the flags that are allowed: all others are refused."),
        ("WRITTEN", compact(once(written)), "By field of the spec, the flags that the operator writes from it."),
        (
            "REASONS",
            compact(once(reasons)),
            "By what is said of them, the flags that are refused for a reason of their own.",
        ),
        ("REFUSED", split(all_of(reasons)), "Those of REASONS in alphabetical order."),
        ("DANGEROUS", split(all_of(dangerous)), "Those of them that open a hole, whatever the engine."),
    )
    text = header(about=about, source=source) + "from collections.abc import Mapping\n\n"
    for name, value, meaning in constants:
        kind = "Mapping[str, tuple[str, ...]]" if value.startswith("{") else "tuple[str, ...]"
        text += f'{name}: {kind} = {value}\n"""{meaning}"""\n'
    return text


# --- parsers ---------------------------------------------------------------------------------------------------------


def parsers() -> str:
    data = read("parsers.yaml", folder_of("vllm"))
    about = "vLLM's parsers of tool calls and of reasoning: their names, and by what a model is recognised."
    text = header(about=about, source="runtime-image/slipway_runtime/engines/vllm/parsers.yaml")
    text += "from collections.abc import Mapping\nfrom dataclasses import dataclass\n\n\n" + MARKS
    for kind in ("tool_calls", "reasoning"):
        names = {*data[kind]["names"].split(), *data[kind]["since_0_32"].split()}
        rows = data["recognised"][kind]
        if unknown := rows.keys() - names:
            raise ContractError(f"parsers.yaml: recognised.{kind} has {', '.join(unknown)}, which is in no list")
        text += f"{kind.upper()}: tuple[str, ...] = {split(names)}\n"
        text += f"{kind.upper()}_MARKS: Mapping[str, Marks] = {{{', '.join(map(marks, rows, rows.values()))}}}\n"
        text += '"""The first that fits decides."""\n'
    return text


MARKS = '''@dataclass(frozen=True, kw_only=True)
class Marks:
    """By what a model is recognised: what its chat template has and hasn't, and the model_type of its config."""

    has: tuple[str, ...] = ()
    hasnt: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


'''


def marks(name: str, row: Mapping[str, list[str]]) -> str:
    given = ", ".join(f"{each}={tuple(values)!a}" for each, values in row.items())
    return f"{name!r}: Marks({given})"


def all_of(flags: Mapping[str, Collection[str]]) -> set[str]:
    return {each for names in flags.values() for each in names}


def once(names: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """A flag that several engines have is judged for all of them together."""
    return {key: tuple(dict.fromkeys(found)) for key, found in names.items()}


def compact(names: Mapping[str, tuple[str, ...]]) -> str:
    """A mapping in few lines."""
    return "{" + "".join(f"{key!r}: {split(found)}, " for key, found in names.items()) + "}"


def split(words: Collection[str]) -> str:
    """A tuple of words in few lines; a set in alphabetical order."""
    ordered = sorted(words) if isinstance(words, set) else words
    text = textwrap.fill(" ".join(ordered), 116, break_long_words=False, break_on_hyphens=False)
    return f'tuple("""\n{textwrap.indent(text, "    ")}\n""".split())'


# --- engines ---------------------------------------------------------------------------------------------------------


def engine(name: str) -> Engine:
    data = read("engine.yaml", folder_of(name))
    try:
        metrics = Metrics(**as_tuples(data.pop("metrics")))
        options = {field: Option(**as_tuples(option)) for field, option in data.pop("options", {}).items()}
        return Engine(name=name, metrics=metrics, options=options, **as_tuples(data))
    except TypeError as error:
        raise ContractError(f"engines/{name}/engine.yaml: {error}") from None


def as_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def list_of_engines(engines: Mapping[str, Engine]) -> str:
    about = "The engines that Slipway knows: those that it builds in, and those that the chart can install."
    text = header(about=about, source="slipway_runtime/engines/NAME/engine.yaml of the runtime")
    text += "from collections.abc import Mapping\n\nfrom .engine import ALL, Engine, Metrics, Option\n\n"
    for each in engines.values():
        text += f"{python_name(each.name)} = {as_call(each)}\n"
    text += (
        f"ENGINES: Mapping[str, Engine] = {{each.name: each for each in ({', '.join(map(python_name, engines))})}}\n"
    )
    text += "BUILT_IN: tuple[Engine, ...] = tuple(each for each in ENGINES.values() if each.built_in)\n"
    text += (
        "OTHERS: Mapping[str, Engine] = {each.runtimes[ALL]: each for each in ENGINES.values() if not each.built_in}\n"
    )
    text += '"""By their ClusterServingRuntimes, which the chart installs if its values enable them."""\n'
    return text + 'OTHER_RUNTIMES = tuple(OTHERS)\n"""What `engine.name` calls them."""\n'


def as_call(value: object) -> str:
    """An expression that makes the value again, without what is the default anyway."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {as_call(each)}" for key, each in value.items()) + "}"
    if not isinstance(value, Engine | Metrics | Option):
        return repr(value)
    given = [(each.name, getattr(value, each.name)) for each in fields(value) if not is_default(value, each)]
    return f"{type(value).__name__}({', '.join(f'{name}={as_call(each)}' for name, each in given)})"


def is_default(value: object, field: Any) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(getattr(value, field.name) == default)


# --- the charts' runtimes --------------------------------------------------------------------------------------------

NOTES = re.compile(r"  annotations: # .*\n(?:    .*\n)+")
PROBE = re.compile(r"(startup|readiness|liveness)Probe: \{httpGet: \{path: [^,]+,")


def write_runtime(engine: Engine) -> None:
    """What the file of a ServingRuntime says of its engine; all else in it is written by hand."""
    file = RUNTIMES / f"{engine.runtimes['all']}.yaml"
    text, found = NOTES.subn(lambda _: notes(engine), file.read_text())
    if not found:
        raise ContractError(f"{file.name}: there is no line `  annotations: # …`")
    paths = {"startup": engine.ready_path, "readiness": engine.ready_path, "liveness": engine.live_path}
    file.write_text(PROBE.sub(lambda probe: f"{probe[1]}Probe: {{httpGet: {{path: {paths[probe[1]]},", text))


def notes(engine: Engine) -> str:
    names, metrics = read("pod.yaml"), engine.metrics
    annotations = {
        names["PORT_ANNOTATION"]: f'"{metrics.port}"',
        names["PATH_ANNOTATION"]: metrics.path,
        names["IN_FLIGHT_ANNOTATION"]: folded(metrics.in_flight),
        names["PROGRESS_ANNOTATION"]: folded(metrics.progress),
        names["SILENT_ANNOTATION"]: '"true"' if metrics.silent_until_used else "",
        names["DRAINS_FOR_ANNOTATION"]: engine.drains_for,
        names["OPTIONS_ANNOTATION"]: folded([f"{f}={o.flag or o.variable}" for f, o in engine.options.items()]),
    }
    source = f"runtime-image/slipway_runtime/engines/{engine.name}/engine.yaml"
    lines = [f"    {name}: {value}\n" for name, value in annotations.items() if value]
    return f"  annotations: # written by `make generate` from {source}\n{''.join(lines)}"


def folded(words: tuple[str, ...] | list[str]) -> str:
    return ">-" + "".join(f"\n      {word}" for word in words) if words else ""


if __name__ == "__main__":
    main()
