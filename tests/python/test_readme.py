"""What README.md, docs/layers.md and docs/loading.md show and say, run."""

import os
import re
import subprocess
import sys

import caffe2.python._import_c_extension as runtime
from testers import ROOT, fresh_process
import pytest
from caffe2.python import workspace

from caffe2op_mask import layers


def page(name):
    with open(os.path.join(ROOT, name)) as lines:
        return lines.read()


@pytest.mark.parametrize("name", ["README.md", "docs/layers.md"])
def test_the_program_prints_what_is_under_it(name):
    block = r"((?:(?!```).*\n)*)```\n"
    (found,) = re.finditer(r"^```python\n" + block + r"\n```\n" + block, page(name), re.M)
    program, expected = found.groups()
    assert len([line for line in program.splitlines() if line]) <= 20
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == expected


def test_the_table_has_every_operator():
    names = re.findall(r"^\| \[(\w+)\]\(docs/operators\.md#", page("README.md"), re.M)
    ours = [
        name
        for name in workspace.RegisteredOperators()
        if runtime.OpSchema.get(name) is not None
        and runtime.OpSchema.get(name).file == "registry/register.cc"
        and not name.endswith("Gradient")
    ]
    assert sorted(names) == sorted(ours)


def test_the_table_has_every_layer():
    named = set(re.findall(r"`brew\.(\w+)\(", page("docs/layers.md")))
    assert named == {layer.__name__ for layer in layers.LAYERS}


# A 2-D mask tells whose operator runs: stock refuses it.
WHOSE = """
    import caffe2op_mask
    import numpy as np
    from caffe2.python import core, workspace
    workspace.FeedBlob("data", np.ones((2, 2), dtype=np.float32))
    workspace.FeedBlob("mask", np.ones((2, 2), dtype=bool))
    net = core.Net("net")
    net.BooleanMask(["data", "mask"], ["kept"], engine="{engine}")
    net.AddGradientOperators({{"kept": "kept"}})
    try:
        workspace.RunNetOnce(net)
        print("ours")
    except RuntimeError as error:
        print("stock" if "2 vs 1" in str(error) else error)
    forward, backward = net.Proto().op
    print(backward.type, backward.engine)
    unmask = core.CreateOperator("BooleanUnmask", ["mask", "values"], ["data"])
    print(core.GradientRegistry.GetGradientForOp(unmask, ["data_grad"])[1])
"""


@pytest.mark.parametrize(
    "override, engine, whose",
    [
        ("1", "", "ours"),
        ("0", "", "stock"),
        ("0", "MASK", "ours"),
        ("1", "DEFAULT", "stock"),
    ],
)
def test_whose_operator_runs(override, engine, whose):
    printed = fresh_process.output(WHOSE.format(engine=engine), CAFFE2OP_MASK_OVERRIDE=override)
    gradients = "BooleanMaskGradient {}\n[None, 'values_grad']\n".format(engine)
    assert printed == whose + "\n" + gradients


def test_a_net_that_exists_keeps_its_operators():
    source = """
        import numpy as np
        from caffe2.python import core, workspace
        workspace.FeedBlob("data", np.ones((2, 2), dtype=np.float32))
        workspace.FeedBlob("mask", np.ones((2, 2), dtype=bool))
        net = core.Net("net")
        net.BooleanMask(["data", "mask"], ["kept"])
        workspace.CreateNet(net)
        import caffe2op_mask
        try:
            workspace.RunNet(net)
        except RuntimeError as error:
            print("stock" if "2 vs 1" in str(error) else error)
        workspace.RunNetOnce(net)
        print(workspace.FetchBlob("kept").tolist())
    """
    assert fresh_process.output(source) == "stock\n[1.0, 1.0, 1.0, 1.0]\n"
