"""What the Python tests share: how to make, run and compare operators, layers, commands and nets."""

import os

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
