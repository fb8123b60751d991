"""How low a fill must be."""

# A fill this low leaves nothing after the softmax, if the largest score that is kept is more than
# VANISHES above it: there exp of a float32 is 0.
LOW = -1e4
VANISHES = 104
