"""The mask shapes that a mode may name, as far as layers, commands and fuse know them."""

# The inputs that shapes read, in the order of an operator's inputs, and the shape that reads each.
READS = (("lengths", "sequence"), ("centers", "window"), ("left_pad", "left_pad"))
INPUTS = tuple(name for name, _ in READS)

# The shapes that go by where a row stands among the columns.
TRIANGLES = ("upper", "lower", "upperdiag", "lowerdiag")

SHAPES = tuple(shape for _, shape in READS) + TRIANGLES
