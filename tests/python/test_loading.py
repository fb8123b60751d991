"""Loading the library, each time in a process of its own."""

import os
import re
import shutil
import subprocess
from textwrap import dedent

import pytest

import caffe2op_mask
from testers import fresh_process

PACKAGE = os.path.dirname(os.path.abspath(caffe2op_mask.__file__))
LIBRARY = os.path.basename(caffe2op_mask.library_path())

# True where SequenceMask of a net is ours: stock has it for float32 alone.
IS_OURS = """
    import numpy as np
    from caffe2.python import core, dyndep, workspace

    def is_ours(engine=""):
        workspace.FeedBlob("data", np.ones((2, 2), dtype=np.int64))
        op = core.CreateOperator(
            "SequenceMask", ["data"], ["output"], mode="upper", fill_val=0.0, engine=engine)
        try:
            workspace.RunOperatorOnce(op)
        except RuntimeError as error:
            assert "Unsupported type of tensor" in str(error), error
            return False
        return workspace.FetchBlob("output").tolist() == [[1, 0], [1, 1]]
"""


def printed(source, path=None, **environment):
    return fresh_process.output(dedent(IS_OURS) + dedent(source), path, **environment).split("\n")


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, found first by a process with ``path=copy.parent``."""
    shutil.copytree(PACKAGE, str(tmp_path / "caffe2op_mask"))
    return tmp_path / "caffe2op_mask"


def import_error(path):
    """What ``import caffe2op_mask`` says where it fails, and nothing else may have happened."""
    source = """
        try:
            import caffe2op_mask
        except ImportError as error:
            print(error)
        else:
            raise AssertionError("caffe2op_mask was imported")
    """
    (message, end) = fresh_process.output(source, path).split("\n")
    assert end == ""
    return message


# As registry/library_info.cc has it.
BUILT_FOR = """
    extern const char kBuiltFor[];
    const char kBuiltFor[] = "caffe2op_mask was built for torch={},abi={},protobuf=3.13.0";
"""


def shared_library(path, source, *flags):
    """Compiles a shared library from C++ source."""
    code = path.parent / "library.cc"
    code.write_text(dedent(source))
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-shared", "-fPIC", str(code), "-o", str(path)]
    subprocess.check_call(command + list(flags))


class TestLoads(object):
    def test_import_takes_the_names(self):
        out = printed(
            """
            print(is_ours())
            import caffe2op_mask
            print(is_ours(), is_ours("MASK"), is_ours("DEFAULT"))
            """
        )
        assert out == ["False", "True True False", ""]

    def test_override_0_leaves_stock(self):
        out = printed(
            """
            import caffe2op_mask
            print(is_ours(), is_ours("MASK"))
            """,
            CAFFE2OP_MASK_OVERRIDE="0",
        )
        assert out == ["False True", ""]

    @pytest.mark.parametrize("value", ["1", "", "00"])
    def test_override_is_0_or_nothing(self, value):
        out = printed("import caffe2op_mask; print(is_ours())", CAFFE2OP_MASK_OVERRIDE=value)
        assert out == ["True", ""]

    def test_dyndep(self):
        out = printed(
            """
            dyndep.InitOpsLibrary({!r})
            print(is_ours(), core.IsOperator("BooleanMaskJagged"))
            """.format(caffe2op_mask.library_path())
        )
        assert out == ["True True", ""]

    @pytest.mark.parametrize(
        "first, second",
        [
            ("import caffe2op_mask", "dyndep.InitOpsLibrary(path)"),
            ("dyndep.InitOpsLibrary(path)", "import caffe2op_mask"),
            ("dyndep.InitOpsLibrary(path)", "dyndep.InitOpsLibrary(path)"),
            ("ctypes.CDLL(path)", "ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)"),
            ("ctypes.CDLL(path)", "import caffe2op_mask"),
            ("import caffe2op_mask", "import importlib; importlib.reload(caffe2op_mask)"),
        ],
    )
    def test_twice_is_harmless(self, first, second):
        out = printed(
            """
            import ctypes
            path = {!r}
            {}
            before = workspace.RegisteredOperators()
            {}
            print(is_ours(), workspace.RegisteredOperators() == before)
            """.format(caffe2op_mask.library_path(), first, second)
        )
        assert out == ["True True", ""]

    def test_operators_are_known_to_core(self):
        """After loading, nets have BooleanMaskJagged as a method."""
        out = printed(
            """
            assert not core.IsOperator("BooleanMaskJagged")
            import caffe2op_mask
            net = core.Net("net")
            net.BooleanMaskJagged(["values", "lengths", "mask"], ["a", "b"])
            print(net.Proto().op[0].type)
            """
        )
        assert out == ["BooleanMaskJagged", ""]

    def test_module_has_a_name(self):
        out = printed(
            """
            import caffe2op_mask
            import ctypes
            library = ctypes.CDLL(caffe2op_mask.library_path())
            print(hasattr(library, "gCaffe2ModuleSanityCheckcaffe2op_mask"))
            """
        )
        assert out == ["True", ""]

    def test_a_path_with_spaces(self, copy, tmp_path):
        path = tmp_path / "with spaces"
        path.mkdir()
        shutil.move(str(copy), str(path / "caffe2op_mask"))
        out = printed(
            """
            import caffe2op_mask
            print(caffe2op_mask.library_path())
            dyndep.InitOpsLibrary(caffe2op_mask.library_path())
            import importlib
            importlib.reload(caffe2op_mask)
            print(is_ours())
            """,
            path,
        )
        assert out == [str(path / "caffe2op_mask" / LIBRARY), "True", ""]


class TestSecondCopy(object):
    @pytest.mark.parametrize("name", [LIBRARY, "renamed.so"])
    def test_is_refused_in_one_sentence(self, copy, tmp_path, name):
        """The process lives on with the copy that it has, whatever that file is called."""
        other = str(tmp_path / name)
        shutil.copy(caffe2op_mask.library_path(), other)
        message, works, end = printed(
            """
            dyndep.InitOpsLibrary({!r})
            try:
                import caffe2op_mask
            except ImportError as error:
                print(error)
            print(is_ours())
            """.format(other),
            tmp_path,
        )
        assert message == (
            "caffe2op_mask cannot load {}: another copy of it, {}, is loaded in this process "
            "already.".format(copy / LIBRARY, other if name == LIBRARY else "of unknown path")
        )
        assert works == "True"

    def test_a_link_is_no_copy(self, copy, tmp_path):
        os.remove(str(copy / LIBRARY))
        os.symlink(caffe2op_mask.library_path(), str(copy / LIBRARY))
        out = printed(
            """
            dyndep.InitOpsLibrary({!r})
            import caffe2op_mask
            print(caffe2op_mask.library_path() == {!r}, is_ours())
            """.format(caffe2op_mask.library_path(), str(copy / LIBRARY)),
            tmp_path,
        )
        assert out == ["True True", ""]


class TestImportError(object):
    def test_library_missing(self, copy, tmp_path):
        os.remove(str(copy / LIBRARY))
        assert import_error(tmp_path) == (
            "caffe2op_mask is not complete: {} is missing.".format(copy / LIBRARY)
        )

    def test_no_library(self, copy, tmp_path):
        (copy / LIBRARY).write_text("no library")
        message = import_error(tmp_path)
        assert message.startswith(
            "caffe2op_mask cannot load {} into this runtime, which is not the one it was built "
            "for: ".format(copy / LIBRARY)
        )
        assert "too short" in message or "invalid ELF header" in message

    @pytest.mark.parametrize("says", [True, False], ids=["known", "unknown"])
    def test_another_abi(self, copy, tmp_path, says):
        """A function of the runtime's as the string ABI that it does not have would name it."""
        import torch

        here = int(torch._C._GLIBCXX_USE_CXX11_ABI)
        shared_library(
            copy / LIBRARY,
            """
            #include <string>
            namespace c10 { std::string demangle(const char* name); }
            std::string kName = c10::demangle("f");
            """
            + (BUILT_FOR.format(caffe2op_mask.built_for()["torch"], 1 - here) if says else ""),
            "-D_GLIBCXX_USE_CXX11_ABI={}".format(1 - here),
            "-Wl,-z,now",
        )
        message = import_error(tmp_path)
        assert "which is not the one it was built for: " in message
        if says:
            built, has = ("new", "old") if here == 0 else ("old", "new")
            assert message.endswith(
                "built for: it has the {} string ABI of libstdc++, and torch {} the {} one.".format(
                    built, torch.__version__, has
                )
            )
        else:
            assert "undefined symbol" in message and "demangle" in message

    def test_another_torch(self, copy, tmp_path):
        """Told before it is loaded: its functions might all be there, and objects differ."""
        shared_library(copy / LIBRARY, BUILT_FOR.format("1.4.0", 0))
        assert import_error(tmp_path) == (
            "caffe2op_mask cannot load {}: it was built for torch 1.4.0, and this Python has torch "
            "{}.".format(copy / LIBRARY, caffe2op_mask.built_for()["torch"])
        )

    def test_operators_absent(self, copy, tmp_path):
        shared_library(copy / LIBRARY, "")
        assert import_error(tmp_path) == (
            "caffe2op_mask loaded {}, but the runtime does not know BooleanMask_ENGINE_MASK and "
            "BooleanMaskJagged: the library belongs to another Caffe2.".format(copy / LIBRARY)
        )

    # caffe2.python itself ends the process where its extension is missing.
    @pytest.mark.parametrize("fault", ["ImportError", "RuntimeError", "SystemExit"])
    def test_no_caffe2(self, copy, tmp_path, fault):
        (tmp_path / "caffe2" / "python").mkdir(parents=True)
        (tmp_path / "caffe2" / "python" / "caffe2_pybind11_state.so").write_text("")
        (tmp_path / "caffe2" / "__init__.py").write_text("raise {}('none here')\n".format(fault))
        message = import_error(tmp_path)
        assert message.startswith("caffe2op_mask needs a Python with Caffe2, such as torch 1.10.2")
        assert message.endswith("importing caffe2.python failed: none here")

    def test_fails_again_the_same_way(self, copy, tmp_path):
        os.remove(str(copy / LIBRARY))
        out = printed(
            """
            messages = set()
            for _ in range(2):
                try:
                    import caffe2op_mask
                except ImportError as error:
                    messages.add(str(error))
            print(len(messages), is_ours())
            """,
            tmp_path,
        )
        assert out == ["1 False", ""]


class TestSchemasAmended(object):
    def test_what_loading_changes(self):
        out = printed(
            """
            def facts():
                sequence = workspace.C.OpSchema.get("SequenceMask")
                boolean = workspace.C.OpSchema.get("BooleanMask")
                return [
                    sequence.max_input,
                    sorted(arg.name for arg in sequence.args),
                    "joined" in sequence.doc,
                    sorted(arg.name for arg in boolean.args),
                    "keep_shape" in boolean.doc,
                ]

            def in_place():
                workspace.FeedBlob("x", np.ones((2, 2), dtype=np.float32))
                workspace.FeedBlob("m", np.array([True, False]))
                try:
                    workspace.RunOperatorOnce(
                        core.CreateOperator("BooleanMask", ["x", "m"], ["x"], keep_shape=1))
                except RuntimeError as error:
                    assert "did not pass schema checking" in str(error)
                    return False
                return workspace.FetchBlob("x").tolist() == [[1, 1], [0, 0]]

            before = facts()
            print(in_place())
            import caffe2op_mask
            print(in_place())
            for facts in (before, facts()):
                print(*facts, sep="; ")
            """
        )
        assert out[:2] == ["False", "True"]
        max_input, _, doc, args, keep_doc = out[2].split("; ")
        assert (max_input, doc, args, keep_doc) == ("2", "False", "[]", "False")
        max_input, args, doc, boolean_args, keep_doc = out[3].split("; ")
        assert (max_input, doc, keep_doc) == ("4", "True", "True")
        assert args == str(
            [
                "axis",
                "batch",
                "diagonal",
                "fill_val",
                "grad",
                "lengths_of",
                "mode",
                "radius",
                "repeat_from_axis",
            ]
        )
        assert boolean_args == "['fill_val', 'keep_shape']"


# Caffe2's own test classes clear all preferences of engines, which is no wish for stock.
@pytest.mark.parametrize(
    "load", ["import caffe2op_mask", "dyndep.InitOpsLibrary({!r})", "ctypes.CDLL({!r})"]
)
def test_preferences_of_engines_change_nothing(load):
    out = printed(
        """
        import ctypes
        {}
        print(is_ours(), is_ours("MASK"), is_ours("DEFAULT"))
        core.SetEnginePref({{}}, {{}})
        print(is_ours(), is_ours("MASK"), is_ours("DEFAULT"))
        """.format(load.format(caffe2op_mask.library_path()))
    )
    assert out == ["True True False", "True True False", ""]


def test_preferences_of_engines_do_not_bring_it_back():
    out = printed(
        """
        import caffe2op_mask
        core.SetEnginePref({}, {})
        print(is_ours(), is_ours("MASK"), is_ours("DEFAULT"))
        """,
        CAFFE2OP_MASK_OVERRIDE="0",
    )
    assert out == ["False True False", ""]


@pytest.mark.parametrize(
    "engine, expected",
    [
        ("", True),
        ("CUDNN", True),
        ("MASK,DEFAULT", True),
        ("DEFAULT", False),
        ("DEFAULT,MASK", False),
        ("CUDNN,DEFAULT", False),
    ],
)
def test_the_first_engine_that_is_there(engine, expected):
    out = printed("import caffe2op_mask; print(is_ours({!r}))".format(engine))
    assert out == [str(expected), ""]


def test_the_library_is_never_unloaded():
    """The runtime would go on calling what it registered."""
    section = subprocess.check_output(
        ["readelf", "-d", caffe2op_mask.library_path()], universal_newlines=True
    )
    assert re.search(r"\(FLAGS_1\) .*\bNODELETE\b", section)
    out = printed(
        """
        import ctypes, _ctypes
        library = ctypes.CDLL({!r})
        _ctypes.dlclose(library._handle)
        print(is_ours())
        """.format(caffe2op_mask.library_path())
    )
    assert out == ["True", ""]


@pytest.mark.parametrize("target", ["SSE4", "AVX2"])
def test_target_can_be_forced(target):
    """The library itself tells what its kernels were compiled for."""
    out = fresh_process.output(
        "import caffe2op_mask\nprint(caffe2op_mask.target_name(), caffe2op_mask.compiler())",
        CAFFE2OP_MASK_TARGET=target,
    )
    assert out.splitlines()[-1].split()[:1] == [target]


def test_the_library_says_what_it_was_built_for():
    import torch

    built = caffe2op_mask.built_for()
    assert set(built) == {"torch", "abi", "protobuf"}
    assert torch.__version__.split("+")[0] == built["torch"]
    assert built["abi"] == str(int(torch._C._GLIBCXX_USE_CXX11_ABI))
    assert built["protobuf"].startswith("3.")


def test_unknown_target_is_told():
    result = fresh_process.run(
        "import caffe2op_mask\nprint(caffe2op_mask.target_name())", CAFFE2OP_MASK_TARGET="ABACUS"
    )
    assert result.code == 0
    assert "CAFFE2OP_MASK_TARGET is ABACUS, which this machine" in result.err
