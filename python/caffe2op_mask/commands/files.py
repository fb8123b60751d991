"""What commands read and write: nets, arrays, and arguments that name them."""

import argparse
import io
import tokenize

import numpy as np
from caffe2.proto import caffe2_pb2
from google.protobuf import message, text_format

from caffe2op_mask.sizes import is_shape
from caffe2op_mask.commands import UserError

_MOST_DIMS = 32  # of NumPy


def is_text(path):
    return path.endswith((".pbtxt", ".prototxt"))


def read(path):
    """The bytes of a file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError("{} cannot be read: {}.".format(path, error.strerror))


def write(content, path):
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise UserError("{} cannot be written: {}.".format(path, error.strerror))


def read_net(path):
    """The NetDef of a file: text if it ends in .pbtxt or .prototxt, binary otherwise."""
    net = caffe2_pb2.NetDef()
    content = read(path)
    try:
        if is_text(path):
            text_format.Parse(content.decode("utf-8"), net)
        else:
            net.ParseFromString(content)
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise UserError("{} is no NetDef: {}.".format(path, detail))
    if not net.op:
        raise UserError("{} is no NetDef, or one without operators.".format(path))
    return net


def write_net(net, path):
    """Writes a NetDef as `read_net` reads it."""
    text = is_text(path)
    write(text_format.MessageToString(net).encode() if text else net.SerializeToString(), path)


def read_array(path):
    """The array of a .npy file, in the byte order of this machine."""
    # By way of its bytes, so that a pipe, which cannot be gone back in, does as well.
    content = read(path)
    # NumPy opens an archive, and old ones print of theirs that are damaged.
    if content.startswith(b"PK"):
        raise UserError("{} is no .npy file, but an archive of them.".format(path))
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except MemoryError:
        raise UserError("{} cannot be read: its array does not fit into memory.".format(path))
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError):
        # All that NumPy says of a file that is damaged or another.
        raise UserError("{} is no .npy file of numbers.".format(path))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def write_array(array, path):
    try:
        with open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise UserError("{} cannot be written: {}.".format(path, error.strerror))


def read_lines(path):
    """The lines of a text file: labels."""
    try:
        return read(path).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError("{} is no text in UTF-8.".format(path))


def blob_and_path(argument):
    """("name", "x.npy") of "name=x.npy".

    The last = divides them: a file can be given another name, a blob of a saved net cannot.
    """
    name, _, path = argument.rpartition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(
            "a blob and its file are NAME=FILE.npy, but this is '{}'".format(argument)
        )
    return name, path


def by_blob(pairs, option):
    """{name: value} of what an option, which may be repeated, says of blobs."""
    found = {}
    for name, value in pairs:
        if name in found:
            raise UserError("{} must name a blob once, but names '{}' twice.".format(option, name))
        found[name] = value
    return found


def dims_of(text):
    """(2, 3) of "2,3", () of ""; None of what is no list of sizes."""
    try:
        dims = tuple(int(size) for size in text.split(",")) if text else ()
    except ValueError:
        return None
    return None if min(dims + (0,)) < 0 else dims


def sizes(argument):
    """(2, 3) of "2,3", () of "": the shape of an array."""
    dims = dims_of(argument)
    if dims is None:
        raise argparse.ArgumentTypeError(
            "a shape is SIZE,SIZE,.. such as 2,16,16, but this is '{}'".format(argument)
        )
    if len(dims) > _MOST_DIMS or not is_shape(dims):
        raise argparse.ArgumentTypeError(
            "a shape has at most {} dims and less than 2^63 entries, but this is '{}'".format(
                _MOST_DIMS, argument
            )
        )
    return dims


def count(argument):
    """A positive integer that an int64 holds."""
    if not argument.isdecimal() or not 0 < int(argument) < 1 << 63:
        raise argparse.ArgumentTypeError(
            "a positive integer below 2^63 is wanted, but this is '{}'".format(argument)
        )
    return int(argument)
