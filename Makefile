# Everything here works on a fresh machine with Python >= 3.11 and Rust: each target first makes what it needs.
#
#   PYTHON=python3.12   the interpreter to make the environment with
#   NEAT_VENV=DIR       where the environment is (default: .venv)
#   NEAT_CACHE=DIR      keeps environment and build output outside the checkout, to be found again by the next one

PYTHON ?= python3
ifdef NEAT_CACHE
  NEAT_VENV ?= $(NEAT_CACHE)/venv
  CARGO_TARGET_DIR ?= $(NEAT_CACHE)/target
  export CARGO_TARGET_DIR
endif
NEAT_VENV ?= .venv
VENV := $(abspath $(NEAT_VENV))
BIN := $(VENV)/bin
export VIRTUAL_ENV := $(VENV)
export PATH := $(BIN):$(PATH)
unexport PYTHONPATH PYTHONHOME

TOOLS := $(VENV)/.neat-tools
CRATES := -p neat-data -p neat-dynamics

.PHONY: help demo test build fmt lint types bench bench-tiny bench-decode bench-experts bench-mqar bench-images \
  bench-recursion bench-levers bench-growth bench-tune bench-predict bench-recipe bench-upload stubs clean check-tools

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: build  ## train the tiny preset on bundled text for five minutes, evaluate it, let it write
	neat-train --config tiny --out runs/demo
	neat-eval runs/demo --data bundled:prose.valid.jsonl.zst
	neat-generate runs/demo --prompt "It is a truth universally acknowledged, that " --max-bytes 400

test: build  ## run the Rust and the Python tests
	cargo test --release --locked --quiet $(CRATES)
	pytest -m "not gpu"

build: $(TOOLS)  ## environment, dependencies, compiled part
	maturin develop --release --locked --extras dev

fmt: $(TOOLS)  ## format all sources
	cargo fmt --all
	ruff check --fix --quiet . || true
	ruff format .

lint: build  ## formatting, style, import rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	ruff format --check .
	ruff check .
	lint-imports

types: build  ## static types
	mypy

bench: build  ## measure speed beside named peers (CORPUS=DIR adds the loader); JSON in benchmarks/results
	python benchmarks/step.py --json benchmarks/results/step.json
	python benchmarks/patching.py --json benchmarks/results/patching.json
	$(if $(CORPUS),python benchmarks/loader.py $(CORPUS) --json benchmarks/results/loader.json)

bench-tiny: build  ## the tiny table of the README: eight models for 100 s and 300 s each, an hour on an idle machine
	python benchmarks/tiny_table.py --json benchmarks/results/tiny_table.json

bench-decode: build  ## speed and memory of writing after contexts of 1 kB to 256 kB
	python benchmarks/decode.py --json benchmarks/results/decode.json

bench-upload: build  ## what an upload beside training costs a step
	python benchmarks/upload.py --json benchmarks/results/upload.json

bench-experts: build  ## right expert, base and wrong expert on four small dialects, three seeds; a quarter of an hour
	python benchmarks/experts.py --json benchmarks/results/experts.json

bench-mqar: build  ## recall beyond the attention window, with and without a memory; a quarter of an hour
	python benchmarks/mqar.py --json benchmarks/results/mqar.json

bench-images: build  ## frozen lakes with and without drawn boards, three seeds; a quarter of an hour
	python benchmarks/frozenlake.py --json benchmarks/results/frozenlake.json

bench-recursion: build  ## Sudoku with recursion, halting and a deeper network, three seeds; a quarter of an hour
	python benchmarks/recursion.py --json benchmarks/results/recursion.json

bench-levers: build  ## each lever of the latent layers alone on the tiny preset; hours on an idle machine
	python benchmarks/levers.py --json benchmarks/results/levers.json

bench-growth: build  ## a grown network against one from scratch at equal compute, two seeds; a quarter of an hour
	python benchmarks/growth.py --json benchmarks/results/growth.json

bench-tune: build  ## what tuning gains over the settings it began with and over a grid; a quarter of an hour
	python benchmarks/tune.py --json benchmarks/results/tune.json

bench-predict: build  ## prediction against tuned optimizers, five paired seeds; 40 minutes on an idle machine of two cores
	python benchmarks/predict.py --json benchmarks/results/predict.json --plot docs/images/predict.svg

bench-recipe: build  ## the whole recipe against tuned optimizers; a quarter of an hour on an idle machine
	python benchmarks/recipe.py --json benchmarks/results/recipe.json

stubs: $(TOOLS)  ## generate the type stub of the compiled part
	maturin generate-stubs --profile release --out python --features pyo3/experimental-inspect

clean:  ## remove what was built in the checkout (runs stay)
	rm -rf .venv target dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find python -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS): | check-tools
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "hint: install the venv module of $(PYTHON), or set NEAT_VENV to an environment that exists" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip "maturin>=1.16,<2" "ruff>=0.15"
	@touch $@

check-tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than 3.11" >&2; echo "hint: make PYTHON=python3.12" >&2; exit 1; }
	@command -v cargo >/dev/null || { \
		echo "cargo was not found" >&2; echo "hint: install Rust from https://rustup.rs" >&2; exit 1; }
