#!/usr/bin/env python3
"""Starts `kubectl llm` from a krew archive, which has its packages next to this file.

The Python of the machine may be too old for them, so this file runs with any Python 3 (no annotations, no f-strings)
and looks for another one.
"""

import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
LIBRARY = os.path.join(HERE, "lib")
CANNOT_TELL = 3


def folder_of(version):
    """The packages that are compiled for one version of Python."""
    return os.path.join(LIBRARY, "cp%d%d" % version)


def versions():
    found = [name[2:] for name in os.listdir(LIBRARY) if name.startswith("cp")]
    return sorted(((int(each[0]), int(each[1:])) for each in found), reverse=True)


def start_with_another():
    for version in versions():
        found = shutil.which("python%d.%d" % version)
        if found:
            os.execv(found, [found, os.path.abspath(__file__), *sys.argv[1:]])
    oldest, newest = versions()[-1], versions()[0]
    sys.stderr.write(
        "Error: kubectl llm needs Python %d.%d to %d.%d, and `python3` is %d.%d: install one of them, or run "
        "`pipx install slipway-cli`.\n" % (oldest + newest + tuple(sys.version_info[:2]))
    )
    sys.exit(CANNOT_TELL)


if not os.path.isdir(folder_of(tuple(sys.version_info[:2]))):
    start_with_another()
sys.path[:0] = [LIBRARY, folder_of(tuple(sys.version_info[:2]))]

from slipway_cli.main import main  # noqa: E402

sys.argv[0] = os.path.join(HERE, "kubectl-llm")
main()
