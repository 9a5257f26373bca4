"""The exceptions that a person is meant to read."""


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """One sentence that says what can't be done and what to do about it; devcluster prints it and exits with 1."""


class StepFailed(Refusal):
    """A command of a step failed; the message has the command's last lines and names the full log."""
