"""How low a fill must be, and how large a factor may be."""

# A fill this low leaves nothing after the softmax, if the largest score that is kept is more than
# VANISHES above it: there exp of a float32 is 0.
LOW = -1e4
VANISHES = 104

# A sum that a number beyond this multiplies is that of a mask, such as (1 - mask) * -1e4. Its parts,
# multiplied one by one, would drown what else is added.
LARGE = 1e3
