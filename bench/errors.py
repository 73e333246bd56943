"""What ends a run early."""


class UsageError(Exception):
    """The command line asks for something that cannot be done: exit status 2."""


class ResultError(Exception):
    """A competitor's results are wrong, so its time says nothing: exit status 1."""
