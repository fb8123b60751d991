"""Layers that make one of many: what is masked has no part in it."""

from caffe2.python import core


def masked_mean(model, blob_in, blob_out=None, lengths=None, mask=None):
    """Mean over axis 1 of what is kept, such as of the words of each sentence.

    blob_in   ``[B, L, ..]``; float
    blob_out  ``[B, ..]``; zeros where nothing is kept
    lengths   int32 or int64, ``[B]``: ``j < lengths`` is kept
    mask      bool, ``[B, L]``: True is kept; with lengths, what both keep

    What is masked, NaN included, is not read, and its gradient is 0. Returns blob_out.

    Raises ValueError where there are neither lengths nor a mask. The operators check types and
    shapes when they run.
    """
    if lengths is None and mask is None:
        raise ValueError("masked_mean: lengths, a mask, or both must be given.")
    net = model.net
    blob_out = blob_out or net.NextName()
    # Stock operators of these names, which a process may prefer, take no such masks.
    ours = {"engine": "MASK"}
    kept = mask
    if kept is None:
        dims = net.Shape(blob_in, blob_out + "_dims", axes=[0, 1])
        kept = net.ConstantFill(
            dims, blob_out + "_all", input_as_shape=1, dtype=core.DataType.BOOL, value=True
        )
    if lengths is not None:
        kept = net.SequenceMask(
            [kept, lengths], blob_out + "_kept", mode="sequence", axis=1, fill_val=0, **ours
        )
    rows = net.BooleanMask([blob_in, kept], blob_out + "_rows", **ours)
    counts = net.BooleanMaskLengths([kept, kept], blob_out + "_counts", **ours)
    # How many rows there are is not known before the mask is, and from such rows the runtime infers
    # a wrong shape of their mean. It infers nothing from what is cut where a blob says, as here all
    # is: then blob_out is left unknown.
    first = net.GivenTensorIntFill([], blob_out + "_first", shape=[1], values=[0])
    end = net.GivenTensorIntFill([], blob_out + "_end", shape=[1], values=[-1])
    counts = net.Slice([counts, first, end], blob_out + "_all_counts")
    return net.LengthsMean([rows, counts], blob_out)
