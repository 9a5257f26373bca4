"""The one exception that a person is meant to read."""


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """One sentence that says what can't be done and what to do about it; devcluster prints it and exits with 1."""
