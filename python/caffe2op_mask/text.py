"""Text for people: tables, and what the runtime says."""

import re


def columns(lines):
    """Lines of cells as text, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    )


def sentence(text):
    """The message in an error of Caffe2, without places in its source."""
    text = text.split("\nframe #")[0].split("(Error from operator:")[0]
    text = re.sub(r"^\[enforce fail at [^\]]*\] ", "", text)
    text = re.sub(r"^\. ", "", text)  # a check without a condition
    # The condition that failed stands first. It says nothing where an operator of ours goes on.
    text = re.sub(r"^.*?\. (?=[A-Z]\w*: )", "", text)
    return " ".join(text.split()).rstrip(".")
