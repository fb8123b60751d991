"""Blobs as NumPy's arrays."""

from caffe2.python import workspace


def fetch(name):
    """``workspace.FetchBlob`` that takes bfloat16 too.

    NumPy has no bfloat16: the array is of float32, in which each bfloat16 is the same number.
    """
    try:
        return workspace.FetchBlob(name)
    except RuntimeError as error:
        if "BFloat16" not in str(error):
            raise
    return workspace.FetchTorch(name).float().numpy()
