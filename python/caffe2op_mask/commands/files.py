"""What commands read and write: nets, arrays, and arguments that name them."""

import argparse

import numpy as np
from caffe2.proto import caffe2_pb2
from google.protobuf import message, text_format

from caffe2op_mask.commands import UserError


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
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        if error.strerror is None:  # NumPy's own word on what it cannot read
            raise UserError("{} is no .npy file of numbers.".format(path))
        raise UserError("{} cannot be read: {}.".format(path, error.strerror))
    except (ValueError, EOFError):
        raise UserError("{} is no .npy file of numbers.".format(path))
    if not isinstance(array, np.ndarray):
        raise UserError("{} is no .npy file, but an archive of them.".format(path))
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
    """("name", "x.npy") of "name=x.npy"."""
    name, _, path = argument.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(
            "a blob and its file are NAME=FILE.npy, but this is '{}'".format(argument)
        )
    return name, path


def sizes(argument):
    """(2, 3) of "2,3", () of ""."""
    try:
        dims = tuple(int(size) for size in argument.split(",")) if argument else ()
    except ValueError:
        dims = (-1,)
    if min(dims + (0,)) < 0:
        raise argparse.ArgumentTypeError(
            "a shape is SIZE,SIZE,.. such as 2,16,16, but this is '{}'".format(argument)
        )
    return dims


def count(argument):
    """A positive integer."""
    if not argument.isdigit() or int(argument) == 0:
        raise argparse.ArgumentTypeError(
            "a positive integer is wanted, but this is '{}'".format(argument)
        )
    return int(argument)
