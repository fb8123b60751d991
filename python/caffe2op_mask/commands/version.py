"""What runs: versions, instruction set and threads."""

import caffe2op_mask


def text():
    """One of these on a line."""
    import torch

    return "\n".join(
        [
            "caffe2op_mask {}".format(caffe2op_mask.__version__),
            "runtime: Caffe2 of torch {}".format(torch.__version__),
            "target: {}".format(caffe2op_mask.target_name()),
            "threads: {}".format(torch.get_num_threads()),
        ]
    )
