"""A Caffe2 net that reads a digit by the pixels that have ink, and the digits of scikit-learn.

The same two layers are applied to each pixel: to all of them, or to those that a mask keeps.
"""

import collections

import numpy as np
from caffe2.python import brew
from sklearn.datasets import load_digits

import caffe2op_mask  # noqa: F401  (from here on, masks of new nets are this library's)

SIDE = 8
PIXELS = SIDE * SIDE
FEATURES = 2 * SIDE + 1
WIDTH = 128
DIGITS = 10

# images [N, PIXELS], ink from 0 to 1; labels int32 [N]
Digits = collections.namedtuple("Digits", "images labels")
Split = collections.namedtuple("Split", "train held_out")


def load(seed, held_out=0.2):
    """The digits, shuffled, a part of them set aside."""
    digits = load_digits()
    images = (digits.data / digits.data.max()).astype(np.float32)
    labels = digits.target.astype(np.int32)
    order = np.random.RandomState(seed).permutation(len(images))
    count = int(held_out * len(order))
    return Split(*(Digits(images[i], labels[i]) for i in (order[count:], order[:count])))


def encode(digits, kept=None):
    """{blob: array} of a batch. `kept`, bool [N, PIXELS], is where there is ink unless given."""
    rows, columns = np.divmod(np.arange(PIXELS), SIDE)
    place = np.concatenate([np.eye(SIDE)[rows], np.eye(SIDE)[columns]], axis=1)
    pixels = np.empty(digits.images.shape + (FEATURES,), dtype=np.float32)
    pixels[..., :-1] = place
    pixels[..., -1] = digits.images
    return {
        "pixels": pixels,
        "kept": digits.images > 0 if kept is None else kept,
        "labels": digits.labels,
    }


def steps_an_epoch(digits, size):
    return len(digits.labels) // size


def batches(digits, size, epochs, seed):
    """All digits once an epoch, in another order each time, as whole batches."""
    random = np.random.RandomState(seed)
    for _ in range(epochs):
        order = random.permutation(len(digits.labels))
        for step in range(steps_an_epoch(digits, size)):
            chosen = order[step * size : (step + 1) * size]
            yield encode(Digits(digits.images[chosen], digits.labels[chosen]))


def add_pixel_layers(model, compact):
    """Adds what leads from `pixels` [N, PIXELS, FEATURES] to the blob returned, of WIDTH a pixel.

    It is 0 where `kept`, bool [N, PIXELS], is False. With `compact`, the layers are computed for
    what is kept alone; without, for all pixels, and the mask is applied to what comes out.
    """
    net = model.net
    rows, axis = "pixels", 2
    if compact:
        rows, axis = net.BooleanMask(["pixels", "kept"], "kept_pixels"), 1
    for name, dim_in in (("hidden", FEATURES), ("features", WIDTH)):
        rows = brew.fc(model, rows, name + "_in", dim_in=dim_in, dim_out=WIDTH, axis=axis)
        rows = brew.relu(model, rows, name)
    if compact:
        return net.BooleanUnmask(
            ["kept", rows], "features_by_pixel", fill_val=0.0, layout="compact"
        )
    return net.BooleanMask([rows, "kept"], "features_by_pixel", keep_shape=1)


def add_ink_net(model, compact):
    """Adds what leads from `pixels` and `kept` to `logits` [N, DIGITS]."""
    features = add_pixel_layers(model, compact)
    # What a feature is at the pixel that has most of it; none is below the 0 of a masked pixel.
    summary = model.net.ReduceMax(features, "summary", axes=[1], keepdims=0)
    hidden = brew.fc(model, summary, "summary_hidden_in", dim_in=WIDTH, dim_out=WIDTH)
    hidden = brew.relu(model, hidden, "summary_hidden")
    return brew.fc(model, hidden, "logits", dim_in=WIDTH, dim_out=DIGITS)
