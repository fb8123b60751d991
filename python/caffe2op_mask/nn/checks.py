"""What modules check where they are made, and how they show what they were made with."""

from torch import nn


def one_of(module, name, value, known):
    """The value; raises ValueError for one that is not among the known."""
    if value not in known:
        raise ValueError(
            "{}: {} must be one of {}, but is {!r}.".format(module, name, ", ".join(known), value)
        )
    return value


def in_interval(module, name, value, low, high):
    """The value; raises ValueError for one below low, above high or NaN."""
    if not low <= value <= high:
        raise ValueError(
            "{}: {} must be from {} to {}, but is {}.".format(module, name, low, high, value)
        )
    return value


class Described(nn.Module):
    """A module whose ``extra_repr`` is what `_describe` was called with."""

    def _describe(self, *positional, **options):
        """Takes what was given; of the options, those that are neither None nor False."""
        self._description = ", ".join(
            [str(one) for one in positional]
            + [
                "{}={!r}".format(name, value)
                for name, value in options.items()
                if value is not None and value is not False
            ]
        )

    def extra_repr(self) -> str:
        return self._description
