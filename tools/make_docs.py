"""Writes the pages and pictures of the documentation that the loaded operators tell.

Usage: python tools/make_docs.py docs
"""

import glob
import os
import sys

from pages import catalogue, gallery, masks, pictures


def files():
    """Text of each generated file, by its path from docs/."""
    made = {mask.stem: masks.make(mask) for mask in masks.MASKS}
    found = {
        pictures.path(stem): pictures.of_mask(one) for stem, one in made.items() if one.mask.drawn
    }
    found[pictures.path(pictures.CURVES)] = pictures.of_gate_kinds()
    found["operators.md"] = catalogue.page()
    found["gallery.md"] = gallery.page(made)
    return found


def main(target):
    """Writes the files, and removes pictures that no page has any longer."""
    found = files()
    folder = os.path.join(target, pictures.FOLDER)
    os.makedirs(folder, exist_ok=True)
    for path in glob.glob(os.path.join(folder, "*.svg")):
        if os.path.relpath(path, target) not in found:
            os.remove(path)
    for path, text in found.items():
        with open(os.path.join(target, path), "w") as out:
            out.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
