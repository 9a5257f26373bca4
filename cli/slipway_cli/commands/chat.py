"""`chat` and `complete`: text from a model, streamed; a model at zero replicas is woken, and the wait is shown."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from slipway_cli.cluster.options import names, on_cluster, target_of
from slipway_cli.commands.wait import seconds_of
from slipway_cli.output import documents, screen
from slipway_cli.problems import Misused, Problem
from slipway_cli.visible import visible

if TYPE_CHECKING:
    from slipway_cli.cluster.requesting import Asker, Result

Function = Callable[..., Any]
HELP = "/reset forgets the conversation, /exit or Ctrl-D ends the chat, Ctrl-C ends an answer."
PROMPT, CHAT, COMPLETE = "> ", "/v1/chat/completions", "/v1/completions"
CLEAR = "\r\x1b[K"


def _settings(function: Function) -> Function:
    """What both commands can set."""
    options = (
        click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Length of an answer at most."),
        click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="0: the likeliest; up to 2."),
        click.option(
            "--key-secret",
            metavar="NAME[/ENTRY]",
            help="A Secret with an API key, as in spec.access.apiKeysSecret.  [default: SLIPWAY_API_KEY, if it is set]",
        ),
        click.option(
            "--timeout", default="10m", show_default=True, metavar="TIME", help="How long to wait for a replica."
        ),
        click.option("--output", "-o", "form", type=click.Choice(["json", "yaml"]), help="Print it in this form."),
    )
    for each in reversed(options):
        function = each(function)
    return on_cluster(function)


@click.command(short_help="Talk with a model; it is woken if it sleeps.")
@click.argument("name", shell_complete=names)
@click.option("--system", metavar="TEXT", help="What the model should know first.")
@click.option("--once", metavar="PROMPT", help="One answer, and the end.")
@_settings
def chat(name: str, system: str | None, once: str | None, form: str | None, **given: Any) -> None:
    """Talk with a model. Its answers are streamed. A model at zero replicas is woken, and its status is shown until it
    answers. Without a terminal, the standard input is one prompt.

    /reset forgets the conversation, /exit or Ctrl-D ends the chat, and Ctrl-C ends an answer.

    Requests go through the API server to the model's Service, with your own rights: create on services/proxy, and patch
    on LLMDeployments to wake. Exit code 1: the model can't answer; 3: no permission, or no key.
    """
    first = once if once is not None else None if sys.stdin.isatty() else _piped()
    if form and first is None:
        raise Misused("--output is for one answer: add --once PROMPT, or give the prompt as standard input.")
    messages = [{"role": "system", "content": system}] if system else []
    with _asker(name, given) as (asker, settings):
        if first is None:
            _conversation(asker, messages, settings)
            return
        messages.append({"role": "user", "content": first})
        _one(asker, CHAT, {"messages": messages, **settings}, form)


@click.command(short_help="Complete a text by a model; it is woken if it sleeps.")
@click.argument("name", shell_complete=names)
@click.argument("prompt", required=False)
@_settings
def complete(name: str, prompt: str | None, form: str | None, **given: Any) -> None:
    """Print how a model continues PROMPT, or the standard input. A model at zero replicas is woken, and its status is
    shown until it answers.

    Rights and exit codes are those of `chat`.
    """
    if prompt is None:
        if sys.stdin.isatty():
            raise Misused("Give a prompt, as in: complete NAME 'Once upon a time'")
        prompt = _piped()
    with _asker(name, given) as (asker, settings):
        _one(asker, COMPLETE, {"prompt": prompt, **settings}, form)


def _piped() -> str:
    try:
        text = sys.stdin.read()
        text.encode()  # where the locale is C, other bytes have become halves of letters
    except UnicodeError:
        raise Misused("The standard input is not text in UTF-8: convert it, as with iconv.") from None
    if not text.strip():
        raise Misused("The standard input has no prompt: write one, or start it in a terminal.")
    return text


@contextlib.contextmanager
def _asker(name: str, given: dict[str, Any]) -> Iterator[tuple[Asker, dict[str, Any]]]:
    """For the model, with what is sent besides the prompt."""
    from slipway_cli.cluster.answers import WrongRequest
    from slipway_cli.cluster.kubectl import Kubectl
    from slipway_cli.cluster.proxying import proxied
    from slipway_cli.cluster.reading import read_one
    from slipway_cli.cluster.requesting import Asker, key_of, path_of_service
    from slipway_cli.cluster.tasks import why_it_says_nothing

    longest, secret = seconds_of("timeout", given.pop("timeout")), given.pop("key_secret")
    chosen = {each: given.pop(each) for each in ("max_tokens", "temperature")}
    settings = {each: value for each, value in chosen.items() if value is not None}
    target = target_of(given)
    kubectl = Kubectl(target.flags, target.namespace)
    namespace = kubectl.place().namespace
    llm = read_one(kubectl, name, namespace)
    if objection := why_it_says_nothing(llm):
        raise WrongRequest(objection)
    key = key_of(kubectl, secret, namespace)
    with proxied(kubectl, f"^{re.escape(path_of_service(name, namespace))}/") as proxy:
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        yield Asker(kubectl, proxy, llm, key=key, longest=longest, progress=Wait()), {**settings, **stream}


class Wait:
    """Shows the wait on stderr: in a terminal in one line, in a pipe as a line for each new message."""

    def __init__(self) -> None:
        self._said = ""
        self._is_shown = False

    def __call__(self, text: str) -> None:
        text = visible(text)
        if sys.stderr.isatty():
            room = (screen.width() or 80) - 1
            click.echo(f"{CLEAR}{text[:room]}", nl=False, err=True)
            self._is_shown = True
            return
        what = text.partition("): ")[2] or text
        if what != self._said:
            self._said = what
            click.echo(text, err=True)

    def over(self) -> None:
        if self._is_shown:
            self._is_shown = False
            click.echo(CLEAR, nl=False, err=True)


# --- one answer ------------------------------------------------------------------------------------------------------


def _one(asker: Asker, path: str, body: dict[str, Any], form: str | None) -> None:
    from slipway_cli.cluster.requesting import Result

    result = Result()
    if form:
        text = "".join(_text(asker, path, body, result, quiet=True))
        documents.write(documents.document("Answer", **_members(asker, text, result)), form)
        return
    try:
        said = ""
        for said in _text(asker, path, body, result):
            click.echo(said, nl=False)
    except Problem:
        if said:
            click.echo()
        raise
    click.echo()
    _tell_cut(result)


def _text(asker: Asker, path: str, body: dict[str, Any], result: Result, *, quiet: bool = False) -> Iterator[str]:
    """What the model says; what it thinks is only shown. The wait is shown until one of both, or the end."""
    try:
        yield from _told(asker, path, body, result, quiet=quiet)
    finally:
        asker.progress.over()


def _told(asker: Asker, path: str, body: dict[str, Any], result: Result, *, quiet: bool) -> Iterator[str]:
    from slipway_cli.cluster.answers import shown

    is_waiting, is_thinking = True, False
    for piece in asker.ask(path, body, result):
        if is_waiting and piece.progress:
            asker.progress(piece.progress)
        if piece.text or piece.thought:
            is_waiting = False
            asker.progress.over()
        if piece.thought and not quiet:
            is_thinking = True
            click.echo(screen.faint(shown(piece.thought)), nl=False, err=True)
        if piece.text:
            if is_thinking and not quiet:
                is_thinking = False
                click.echo("\n", err=True)
            yield shown(piece.text) if sys.stdout.isatty() else piece.text


def _members(asker: Asker, text: str, result: Result) -> dict[str, Any]:
    rate = result.tokens_per_second
    return {
        "model": asker.model,
        "text": text,
        "finishReason": result.summary.finish or None,
        "usage": result.summary.usage or None,
        "secondsWaited": round(result.waited, 3),
        "secondsToFirstToken": None if result.first is None else round(result.first, 3),
        "tokensPerSecond": None if rate is None else round(rate, 1),
    }


def _tell_cut(result: Result) -> None:
    if result.summary.finish == "length":
        screen.note("The answer is cut: it reached --max-tokens, or the model's context is full.")


# --- a conversation --------------------------------------------------------------------------------------------------


def _conversation(asker: Asker, messages: list[dict[str, str]], settings: dict[str, Any]) -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() then knows the arrow keys
    start = list(messages)
    screen.note(f"{asker.model}: {HELP}")
    while (line := _typed()) is not None:
        if line in ("/exit", "/quit"):
            return
        if line == "/reset":
            messages[:] = start
            screen.note("The conversation starts again.")
        elif line.startswith("/"):
            screen.note(f"{line.split()[0]} is not a command: {HELP}")
        elif line:
            messages.append({"role": "user", "content": line})
            _turn(asker, messages, settings)


def _typed() -> str | None:
    """None: the end."""
    while True:
        try:
            return input(PROMPT).strip()
        except EOFError:
            click.echo()
            return None
        except UnicodeDecodeError:
            screen.note("That line is not text in UTF-8.")
        except KeyboardInterrupt:
            click.echo()
            screen.note(HELP)


def _turn(asker: Asker, messages: list[dict[str, str]], settings: dict[str, Any]) -> None:
    """One question; it stays in the conversation if at least a part of the answer has arrived."""
    from slipway_cli.cluster.requesting import Result

    result, said = Result(), ""
    answer = _text(asker, CHAT, {"messages": messages, **settings}, result)
    try:
        for part in answer:
            said += part
            click.echo(part, nl=False)
        click.echo()
        _tell_cut(result)
        _tell_speed(result)
    except KeyboardInterrupt:
        click.echo()
        screen.note("Stopped.")
    except Problem as problem:
        if said:
            click.echo()
        problem.show()
    finally:
        answer.close()  # type: ignore[attr-defined]
    if said:
        messages.append({"role": "assistant", "content": said})
    else:
        messages.pop()


def _tell_speed(result: Result) -> None:
    parts = [f"waited {result.waited:.1f} s"] if result.waited else []
    parts += [f"first token after {result.first:.1f} s"] if result.first is not None else []
    rate = result.tokens_per_second
    parts += [f"{rate:.1f} tokens/s"] if rate else []
    if parts:
        screen.note(", ".join(parts))
