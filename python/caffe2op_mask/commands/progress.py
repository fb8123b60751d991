"""Progress of long work."""


def progress(iterable, label, total=None):
    """`iterable` under a progress bar on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return iterable
    return tqdm(iterable, desc=label, total=total, leave=False, disable=None)
