# make demo   the main job on real text        make bench    timings beside peers
# make test   every test                       make format   clang-format, in place
# make setup  .venv with caffe2op_mask in it   make lint     clang-format and clang-tidy, as checks
# make torch  .venv-torch, for a current PyTorch   make test-torch   every test of that front end
# make docs   pages that operators tell        make lock     requirements/, pinned anew
# make bench-torch  timings beside what a current PyTorch has
# make sanitize  sanitizers, memcheck and Clang's warnings; minutes
# make fuzz   made-up input, a minute for each target, or FUZZ="SECONDS NAME.."
# make runtimes  every test on other releases of Caffe2, and README.md's table of them

PYTHON := .venv/bin/python
TORCH_PYTHON := .venv-torch/bin/python
BUILD := build
JOBS := $(shell nproc)

.PHONY: setup environment build demo test cpp-test python-test torch test-torch test-torch-2.10 runtimes \
    bench bench-torch fuzz sanitize docs format lint lock clean

setup: build

environment:
	@tools/setup.sh

build: environment
	@cmake -S . -B $(BUILD) -DCAFFE2_PYTHON=$(CURDIR)/$(PYTHON) --log-level=WARNING
	@cmake --build $(BUILD) --parallel $(JOBS) -- --no-print-directory
	@$(PYTHON) -c "import caffe2op_mask"

demo: build
	@$(PYTHON) examples/demo.py

test: cpp-test python-test

cpp-test: build
	@cd $(BUILD) && ctest --output-on-failure --no-tests=error --parallel $(JOBS)

python-test: build
	@$(PYTHON) -m pytest tests/python

torch:
	@tools/setup_torch.sh
	@cmake -S . -B $(BUILD)-torch -DTORCH_PYTHON=$(CURDIR)/$(TORCH_PYTHON) -DCAFFE2OP_MASK_TORCH=ON \
	  -DCAFFE2OP_MASK_CAFFE2=OFF -DBUILD_TESTING=OFF --log-level=WARNING
	@cmake --build $(BUILD)-torch --parallel $(JOBS) -- --no-print-directory
	@$(TORCH_PYTHON) -c "import caffe2op_mask"

test-torch: torch
	@$(TORCH_PYTHON) -m pip install --quiet --disable-pip-version-check \
	  -r requirements/requirements-torch-examples.in
	@$(TORCH_PYTHON) -m pytest tests/torch

# The same library on the oldest PyTorch that it serves.
test-torch-2.10: torch
	@tools/setup_torch.sh 2.10
	@.venv-torch-2.10/bin/python -m pytest tests/torch

# Some of them: make runtimes RUNTIMES="torch-1.7.1-python-3.7 debian-11".
runtimes: environment
	@$(PYTHON) tools/runtimes.py --table README.md $(RUNTIMES)

docs: build
	@$(PYTHON) tools/make_docs.py docs

CXX_SOURCES = $(shell git ls-files '*.h' '*.cc')

# What is shipped; minutes, since each header of the runtime is read again for each file.
TIDY_SOURCES = $(filter kernels/%.cc contracts/%.cc operators/%.cc gradients/%.cc registry/%.cc,$(CXX_SOURCES))

format:
	@clang-format -i $(CXX_SOURCES)

lint: build
	@clang-format --dry-run -Werror $(CXX_SOURCES)
	@printf '%s\n' $(TIDY_SOURCES) | xargs -P $(JOBS) -n 1 clang-tidy --quiet -p $(BUILD)

# Kernels alone are measured by $(BUILD)/benchmarks/kernels_benchmark, which this builds too.
bench: build
	@cmake -S . -B $(BUILD) -DBUILD_BENCHMARKS=ON --log-level=WARNING
	@cmake --build $(BUILD) --parallel $(JOBS) --target kernels_benchmark -- --no-print-directory
	@$(PYTHON) benchmarks/bench.py $(BENCH)

bench-torch: torch
	@$(TORCH_PYTHON) benchmarks/torch_bench.py $(BENCH)

sanitize: build
	@tools/sanitize.sh

# Kernels are built for this by clang++-14, beside what was built before.
fuzz: build
	@tools/fuzz.sh $(FUZZ)

lock: environment
	@$(PYTHON) tools/lock.py requirements/requirements.in requirements/requirements-py39.txt

clean:
	@rm -rf $(BUILD) $(BUILD)-torch python/caffe2op_mask/*.so
