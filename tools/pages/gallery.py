"""docs/gallery.md: each mask with its picture, what makes it, and how much it hides."""

from pages import masks, pictures

HEAD = """# Gallery

<!-- Written by `make docs` from tools/pages/masks.py. Edit that. -->

What masks keep, blue or #, and hide, hatched or a dot: by `caffe2op_mask.plot` from what the operators
computed. Under each stand the operator that made it and the command that shows the same.
An array is fed to the blob of its name, as in `workspace.FeedBlob("scores", scores)`. Where the
command reads a file, save the blob first, as in
`np.save("masked.npy", workspace.FetchBlob("masked"))`; `--output mask.png` draws.

{}
"""


def anchor(stem):
    """The heading's anchor, as GitHub writes it."""
    return stem.lower().replace(" ", "-")


def page(made):
    """The text of docs/gallery.md; `made` is each mask that was made, by stem."""
    contents = []
    parts = []
    for title, text, members in masks.FAMILIES:
        links = ", ".join("[{0}](#{1})".format(one.stem, anchor(one.stem)) for one in members)
        contents.append("- [{}](#{}): {}".format(title, anchor(title), links))
        parts.append("## {}\n\n{}\n".format(title, text))
        parts += [_entry(made[one.stem]) for one in members]
    return "\n".join([HEAD.format("\n".join(contents))] + parts + [_kinds()])


def _entry(made):
    mask = made.mask
    return (
        "### {stem}\n\n{shown}\n\n{text} Hides {share:.1%}. "
        "By [{operator}](operators.md#{anchor}).\n\n```python\n{program}```\n\n"
        "```\npython -m caffe2op_mask show {show}\n```\n".format(
            shown=pictures.shown(made),
            share=made.hidden.share,
            anchor=mask.operator.lower(),
            **mask._asdict()
        )
    )


_KINDS = """### {0}

![{0}]({1})

What the kinds of [Gate](operators.md#gate) make of a logit, and the gradient that goes to it: hard
passes that of the sigmoid straight through. relu has a threshold of 0 here and goes on,
hard_concrete has no noise (`is_test`); softmax and gumbel_softmax hang on all logits of a row, and
have no curve.
"""


def _kinds():
    return _KINDS.format(pictures.CURVES, pictures.path(pictures.CURVES))
