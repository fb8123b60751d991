"""A Caffe2 net that reads a digit by some of its pixels: those that it learns to keep, or is told.

What it is told may be chosen at random, by the training set or by the digit.
"""

import numpy as np
from caffe2.python import brew, model_helper, optimizer, workspace

import ink_net
from program import seed_nets
from sparse_inputs import feed, most_ink

BATCH_SIZE = 64
LEARNING_RATE = 0.01
WIDTH = 64
MASK_WIDTH = 16
SEEN = 2
# Logits begin near it: at first all is kept.
KEPT_AT_FIRST = ("ConstantFill", {"value": 2.0})

ESTIMATORS = ("straight_through", "hard_concrete", "reinforce")
RANDOM, PLACES, INK = "at random", "same places", "most ink"
CHOICES = (RANDOM, PLACES, INK)


def add_net(model, estimator, is_test):
    """Adds what leads from `seen` [N, PIXELS, SEEN] to `probabilities` [N, DIGITS].

    A mask is learned by the estimator from `pixels` [N, PIXELS, FEATURES]; with None it is `kept`,
    bool [N, PIXELS]. Each pixel is judged by its own place and ink alone: were it judged by the
    whole digit, which pixels are kept could tell what digit it is, whatever is in them.
    """
    if estimator is None:
        shown = model.net.BooleanMask(["seen", "kept"], "shown", keep_shape=1, engine="MASK")
    else:
        shown = brew.dynamic_mask(
            model,
            ["seen", "pixels"],
            "shown",
            dim_in=SEEN,
            dim_context=ink_net.FEATURES,
            dim_hidden=MASK_WIDTH,
            estimator=estimator,
            bias_init=KEPT_AT_FIRST,
            is_test=is_test,
        )
    hidden = brew.fc(model, shown, "hidden_in", dim_in=ink_net.PIXELS * SEEN, dim_out=WIDTH)
    hidden = brew.relu(model, hidden, "hidden")
    logits = brew.fc(model, hidden, "logits", dim_in=WIDTH, dim_out=ink_net.DIGITS)
    return brew.softmax(model, logits, "probabilities")


def encode(batch, kept):
    """A batch of ink_net with the mask `kept`, and `seen`: the ink of each pixel, and a 1.

    The 1 is masked as well; by it, a blank pixel differs from one that is hidden.
    """
    ink = batch["pixels"][..., -1]
    return dict(batch, seen=np.stack([ink, np.ones_like(ink)], axis=-1), kept=kept)


def chooser(choice, train_images, seed):
    """A function that gives a mask for images and the share of their pixels that is to be hidden.

    RANDOM hides each pixel with that probability; PLACES keeps those that vary most in the training
    images, in all digits the same; INK keeps those of each digit that have most ink.
    """
    random = np.random.RandomState(seed)
    variation = train_images.std(axis=0)
    return {
        RANDOM: lambda images, share: random.random_sample(images.shape) >= share,
        PLACES: lambda images, share: most_ink(
            np.broadcast_to(variation, images.shape), 1 - share
        ),
        INK: lambda images, share: most_ink(images, 1 - share),
    }[choice]


def everything(images):
    return np.ones(images.shape, dtype=bool)


class MaskedInkNet:
    """The net with all that trains it. It is alone in the workspace: only the last one made is."""

    def __init__(self, seed, estimator=None, price=0.0, start=None):
        """`start` are parameters, {blob: array}, which take the place of those that are drawn."""
        workspace.ResetWorkspace()
        self._seed, self._created = seed, False
        self._mask = "kept" if estimator is None else "shown_mask"
        self._train = model_helper.ModelHelper("train")
        probabilities = add_net(self._train, estimator, is_test=False)
        net = self._train.net
        losses = net.LabelCrossEntropy([probabilities, "labels"], "losses")
        if estimator is None:
            loss = net.AveragedLoss(losses, "loss")
        else:
            loss = brew.dynamic_mask_loss(
                self._train, ["shown", losses], "loss", kept_penalty=price
            )
        self._train.AddGradientOperators([loss])
        optimizer.build_adam(self._train, LEARNING_RATE)
        seed_nets(seed, self._train.param_init_net, net)
        workspace.RunNetOnce(self._train.param_init_net)
        feed(start or {})
        self._predict, self._told = (
            model_helper.ModelHelper(name, init_params=False) for name in ("predict", "told")
        )
        add_net(self._predict, estimator, is_test=True)
        add_net(self._told, None, is_test=True)

    def train(self, digits, epochs, choose=everything):
        """`choose` gives the mask for the images of a step, if none is learned."""
        for batch in ink_net.batches(digits, BATCH_SIZE, epochs, self._seed):
            feed(encode(batch, choose(batch["pixels"][..., -1])))
            if not self._created:
                workspace.CreateNet(self._train.net)
                self._created = True
            workspace.RunNet(self._train.net.Name())

    def tell(self, digits, kept=None):
        """What digits they are, and what was kept of them: `kept`, or else what it learned to."""
        model, mask = (self._predict, self._mask) if kept is None else (self._told, "kept")
        kept = everything(digits.images) if kept is None else kept
        feed(encode(ink_net.encode(digits), kept))
        workspace.RunNetOnce(model.net)
        probabilities, kept = workspace.FetchBlobs(["probabilities", mask])
        return probabilities.argmax(axis=1), kept

    def accuracy(self, digits, kept=None):
        return np.mean(self.tell(digits, kept)[0] == digits.labels)

    def parameters(self):
        """Those that all these nets have, whatever their masks."""
        names = [name + part for name in ("hidden_in", "logits") for part in ("_w", "_b")]
        return dict(zip(names, workspace.FetchBlobs(names)))
