"""What operators give, as their contracts have it: slow, obvious, and without code of the library.

Each function takes an operator's inputs and arguments and returns the list of its outputs.
"""
