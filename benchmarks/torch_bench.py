"""caffe2op_mask beside what a current PyTorch has for the same work, in one process.

    make bench-torch                                  all cases, into benchmarks/results/
    .venv-torch/bin/python benchmarks/torch_bench.py --only causal

The best time of each contender counts. The ratio is ours over the best of the others; a list at the
end has every case where ours is slower. Machines differ: read ratios, and name the machine.
"""

import os
import sys
import warnings

import torch

import caffe2op_mask
import harness
import torch_cases


def results_agree(case):
    """Whether all contenders give the same, within the case's tolerance."""
    first, *others = [run() for run in case.contenders.values()]
    for other in others:
        for a, b in zip(_tensors(first), _tensors(other)):
            # SDPA and torch's softmax have NaN in rows of which nothing is kept.
            kept = torch.isfinite(b)
            if not torch.allclose(a[kept].float(), b[kept].float(), case.tolerance, case.tolerance):
                return False
    return True


def _tensors(result):
    return result if isinstance(result, (list, tuple)) else [result]


def measure(case, rounds):
    def timed(run):
        def repeat():
            for _ in range(case.calls):
                run()

        return lambda: harness.timed(repeat)

    best = harness.best_of(rounds, {who: timed(run) for who, run in case.contenders.items()})
    peer = min((who for who in best if who != "ours"), key=best.get)
    return {"case": case.name, "ms": best, "peer": peer, "ratio": best["ours"] / best[peer]}


def table(figures):
    lines = ["| case | ours | best of torch | ratio |", "| --- | --- | --- | --- |"]
    for row in figures:
        lines.append(
            "| {} | {:.3g} ms | {} {:.3g} ms | {:.2f} |".format(
                row["case"], row["ms"]["ours"], row["peer"], row["ms"][row["peer"]], row["ratio"]
            )
        )
    slower = [row["case"] for row in figures if row["ratio"] > 1]
    lines += ["", "Slower than the best of torch: {}.".format("; ".join(slower) or "none")]
    return "\n".join(lines)


def main():
    options = harness.parser(__doc__, rounds=10)
    options.add_argument("--only", default="", help="run cases with this in their name")
    options = options.parse_args()
    warnings.simplefilter("ignore")
    print(
        "torch {}, {} threads, kernels on {}".format(
            torch.__version__, torch.get_num_threads(), caffe2op_mask.target_name()
        )
    )
    figures = []
    for make in torch_cases.cases():
        torch.manual_seed(0)
        made = make()
        for case in made if isinstance(made, list) else [made]:
            if options.only not in case.name:
                continue
            with torch.no_grad() if "training" not in case.name else torch.enable_grad():
                if not results_agree(case):
                    sys.exit("torch_bench: contenders of '%s' give different results." % case.name)
                figures.append(measure(case, options.rounds))
            print("{case}: {ratio:.2f} of {peer}".format(**figures[-1]), flush=True)
    harness.write(os.path.join(options.output, "torch_bench.json"), figures)
    text = table(figures)
    with open(os.path.join(options.output, "torch_bench.md"), "w") as page:
        page.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
