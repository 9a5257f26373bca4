"""Removes credentials from messages of other programs: logs of pods, events, responses of registries and stores.

A container's termination message is shown to everyone who may read the object, and by the activator to every client of
the model. A program that fails to fetch a file often names the URL, including its signature. Strings that surely are
credentials, by their form or by the name before them, are replaced; the rest of the message stays.
"""

from __future__ import annotations

import re

MARK = "***"

_NAMED = r"(?:passw(?:or)?d|passphrase|secret|api[-_]?key|access[-_]?key(?:[-_]?id)?|account[-_]?key|private[-_]?key)"
_WORD = r"(?:token|credential|signature|sig|auth|jwt|cookie)"  # also names of harmless values: counts, grammars
_IS = r"(?:\\{0,3}[\"'])?\s*[=:]\s*"  # with the backslashes of JSON within JSON


def _quoted(depth: int) -> str:
    """A string of JSON, whose own quotes have so many backslashes: 1 for JSON within JSON, 3 within that. Quotes in its
    value have more of them. The end of the text ends it, too: messages are cut."""
    quote, escape, other = rf"\\{{{depth}}}\"", rf"\\{{{depth + 1}}}", rf"\\{{0,{depth}}}[^\"\\]"
    return rf"{quote}(?:{other}|{escape}(?:{quote}|{escape}|{other}))*(?:{quote}|\\*\Z)"


_QUOTED = "|".join((*map(_quoted, (0, 1, 3)), r"\\{0,3}\"[^\"]*\"", r"'(?:[^'\\]|\\.)*'", r"'[^']*'"))

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", MARK),
        # credentials in URLs: https://user:password@host/path?signature=…
        (r"(://)[^\s/\"'<>]*@", rf"\1{MARK}@"),
        (r"([?&;#][\w.~%-]+=)[^\s&;#\"'<>)\]}]+(?<!\.)", rf"\1{MARK}"),
        # headers
        (r"\b(Bearer|Basic|Digest|Negotiate)\s+[\w.~+/=-]{6,}", rf"\1 {MARK}"),
        (r"\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)([\"']?\s*[:=]\s*)(?!\s*(?:bearer|basic) )"
         rf"({_QUOTED}|[^\s,;\"'){{}}\]]+)", rf"\1\2{MARK}"),
        # by the name before it
        (rf"({_NAMED}{_IS})(?:{_QUOTED}|[^\s,;&\"'){{}}\]]+)", rf"\1{MARK}"),
        (rf"({_WORD}{_IS})(?:{_QUOTED}|(?=[^\s,;&]{{0,200}}?\d)[\w.~+/=-]{{8,}}|[\w.~+/=-]{{20,}})", rf"\1{MARK}"),
        (rf"((?<![\w-])--[\w-]{{0,40}}?(?:api-?key|token|password|secret)[ =])(?:{_QUOTED}|[^\s\"']+)", rf"\1{MARK}"),
    )
)  # fmt: skip

_FORMS = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}"  # Hugging Face
    r"|\b[sr]k-[A-Za-z0-9_-]{8,}|\b[sr]k_(?:live|test)_\w{8,}"  # OpenAI and APIs like it, Stripe
    r"|\bgh[oprsu]_[A-Za-z0-9]{8,}|\bgithub_pat_\w{8,}|\bglpat-[\w-]{8,}"  # GitHub, GitLab
    r"|\bxox[a-z]-[\w-]{8,}"  # Slack
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"  # AWS
    r"|\bAIza[\w-]{20,}|\bya29\.[\w.-]{8,}"  # Google
    r"|\bnvapi-[\w-]{8,}|\bnpm_\w{8,}|\bdckr_pat_[\w-]{8,}|\bwandb_v\d_\w{8,}"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # a JSON web token
)


def redacted(text: str) -> str:
    """The same without credentials. Redacting twice changes nothing more."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _FORMS.sub(MARK, text)
