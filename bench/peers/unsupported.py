class Unsupported(Exception):
    """The library has no such operation."""


def dot_only(problem):
    """For adapters of plain attention."""
    if problem["variant"] != "dot":
        raise Unsupported(problem["variant"])


def forward_only(problem):
    if problem["task"] != "forward":
        raise Unsupported("no backward pass")
