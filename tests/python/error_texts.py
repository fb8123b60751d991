"""The error messages of the sources, as they stand there, with gaps for what is filled in.

A message is a list of pieces of text, in order; whatever is between two of them is told at run
time, or is one of several words.
"""

import ast
import glob
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_STRING = r'"((?:[^"\\]|\\.)*)"'
_SHELL = r"\$\{[^}]*\}|\$\([^)]*\)|\$\w+"
_CMAKE = r"\$\{[^}]*\}|@\w+@"
_RAISERS = {"fail", "exit", "error"}  # functions of setup.py and its kin that end with a sentence


def messages():
    """(source, pieces) of each error that a user can meet."""
    found = []
    for pattern, read in (
        ("operators/*.h", _of_cpp),
        ("operators/*.cc", _of_cpp),
        ("gradients/*.cc", _of_cpp),
        ("registry/*.cc", _of_cpp),
        ("python/caffe2op_mask/*.py", _of_python),
        ("python/caffe2op_mask/*/*.py", _of_python),
        ("cmake/caffe2_runtime.py", _of_python),
        ("setup.py", _of_python),
        ("cmake/*.cmake", _of_cmake),
        ("cmake/*.cmake.in", _of_cmake),
        ("CMakeLists.txt", _of_cmake),
        ("tools/setup.sh", _of_shell),
    ):
        sources = sorted(glob.glob(os.path.join(ROOT, pattern)))
        assert sources, pattern
        for source in sources:
            with open(source) as lines:
                pieces = read(lines.read())
            # What has hardly a word of its own carries another's message on.
            pieces = [one for one in pieces if sum(map(len, one)) > 8]
            found += [(os.path.relpath(source, ROOT), one) for one in pieces]
    return found


def is_quoted(pieces, quote):
    """Whether a quote, with .. for its gaps, is this message: in order, and most of it."""
    text = "".join(pieces)  # two that follow one another may be one phrase
    place = 0
    parts = [part.strip() for part in quote.split("..") if part.strip()]
    for part in parts:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return 2 * sum(map(len, parts)) >= sum(map(len, pieces))


def _of_cpp(text):
    text = re.sub(r"^ *//.*$", "", text, flags=re.M)
    found = []
    for call in re.finditer(r"\bCAFFE_(ENFORCE|THROW)\(", text):
        arguments = _arguments(text, call.end())
        # The first of CAFFE_ENFORCE is the condition.
        told = arguments[1:] if call.group(1) == "ENFORCE" else arguments
        found.append([_plain(piece) for one in told for piece in _strings(one)])
    for log in re.finditer(r"\bLOG\(ERROR\)(.*?);\n", text, re.S):
        found.append([_plain(piece) for piece in _strings(log.group(1))])
    return found


def _arguments(text, begin):
    """The arguments of the call whose parenthesis opens before `begin`."""
    depth, start, found = 1, begin, []
    tokens = re.compile(_STRING + r"|'(?:[^'\\]|\\.)'|[()\[\]{},]")
    for token in tokens.finditer(text, begin):
        if token.group() in ("(", "[", "{"):
            depth += 1
        elif token.group() in (")", "]", "}"):
            depth -= 1
        if depth == 0 or (depth == 1 and token.group() == ","):
            found.append(text[start : token.start()])
            start = token.end()
        if depth == 0:
            return found
    raise AssertionError("a call is not closed")


def _strings(text):
    """String literals, those that the compiler joins as one."""
    joined = re.sub(r'(?<!\\)"\s+"', "", text)
    return [match.group(1) for match in re.finditer(_STRING, joined)]


def _plain(piece):
    return piece.replace("\\'", "'").replace('\\"', '"')


def _of_python(text):
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == "fault":
            # It returns what others raise.
            returned = [part.value for part in ast.walk(node) if isinstance(part, ast.Return)]
            found += [_texts(value) for value in returned]
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", None))
        # What fuse declines is told in its report, and is no error.
        if isinstance(node, ast.Raise) and name == "Declined":
            continue
        if isinstance(node, ast.Raise) or name in _RAISERS:
            found.append(_texts(call))
    return found


def _texts(node):
    """Pieces of the strings in an expression, cut where they are formatted."""
    strings = [child for child in ast.walk(node) if isinstance(getattr(child, "s", None), str)]
    strings.sort(key=lambda child: (child.lineno, child.col_offset))
    pieces = [piece for child in strings for piece in re.split(r"\{[^{}]*\}", child.s)]
    return [piece for piece in pieces if piece.strip()]


def _of_cmake(text):
    told = r"(?:FATAL_ERROR|NOT_FOUND_MESSAGE)\s+" + _STRING
    return [re.split(_CMAKE, match.group(1)) for match in re.finditer(told, text)]


def _of_shell(text):
    return [re.split(_SHELL, match.group(1)) for match in re.finditer(r"\bfail " + _STRING, text)]
