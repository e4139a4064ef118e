# make demo | test | check | test-all | setup | clean
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
RANKS ?= 2
# Options of pipeline.pretrain that change the demo, such as "--schedule.total_steps 200".
DEMO ?=
CORES ?= 2
REPEATS ?= 5

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Open MPI refuses to run as root unless told; harmless elsewhere.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
# Spares the warning that DeepSpeed prints in every process when it finds no GPU.
ifeq ($(shell command -v nvidia-smi),)
export DS_ACCELERATOR := cpu
endif

.PHONY: help setup tools demo test test-long test-all test-busy check clean

help:
	@echo "make demo      from raw text to a BERT that transformers loads and a classifier, in minutes, on this machine"
	@echo "make test      the tests                 make check  ruff and mypy"
	@echo "make test-all  the tests and the long ones"

setup: $(READY)

tools: $(TOOLS)

# torch before the rest and no build isolation: DeepSpeed's setup imports the torch that is installed.
$(READY): requirements.txt slurm/mpi.txt
	@command -v g++ >/dev/null || { echo "error: g++ is missing; on Debian: apt-get install g++"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check $(shell grep -E '^(torch|numpy|setuptools|wheel|ninja)==' requirements.txt)
	DS_BUILD_OPS=0 $(VENV)/bin/pip install -q --disable-pip-version-check --no-build-isolation -r requirements.txt -r slurm/mpi.txt
	@touch $(READY)

$(TOOLS): $(READY) tests/requirements.txt tests/lint.txt tests/oracles.txt pipeline/conversion/onnx.txt
	$(VENV)/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt -r tests/lint.txt \
	    -r pipeline/conversion/onnx.txt
	$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps -r tests/oracles.txt
	@touch $(TOOLS)

demo: setup
	@echo "== 1/6 text: English documentation of Python and the installed packages -> sentence pairs"
	python -m preprocessing run --sources embedded --out demo/data --vocab_size 4096 --max_seq_length 128 --duplicates 4 --heldout_share 0.05 --workers 2
	@echo "== 2/6 pre-training on $(RANKS) ranks (ZeRO-2, Muon)"
	deepspeed --quiet --num_gpus $(RANKS) --module pipeline.pretrain --recipe pipeline/recipes/demo.toml $(DEMO)
	@echo "== 3/6 export to Hugging Face"
	test -d demo/model || python -m pipeline.convert export demo/run demo/model
	@echo "== 4/6 what it fills in (the usual words of such texts are tensor, list, number, removed, used and axis or dimension)"
	python -m pipeline.convert fill demo/model "Returns a new [MASK] with the same size as the input." "Return a [MASK] of all the names in the directory." \
	    "The [MASK] of elements in the array." "This argument is deprecated and will be [MASK] in a future version." \
	    "This can be [MASK] to avoid the error." "Return the sum of the elements along the given [MASK]."
	@echo "== 5/6 fine-tuning: which library a paragraph of documentation is from, six classes"
	python -m preprocessing classification --out demo/classification
	python -m pipeline.finetune classification --model demo/model --data demo/classification --out demo/classifier \
	    --text.max_length 64 --optimizer.lr 1e-3
	printf '%s\n' "Move the legend outside of the axes and change its font size." \
	    "The tokenizer splits a text into words and adds the special tokens that the model expects." \
	    "Open the file for reading and return its lines as a list of strings." | python -m pipeline.predict demo/classifier/model
	@echo "== 6/6 how it went"
	python -m pipeline.report demo/run --out demo/report.html --png demo/pictures
	@echo
	@echo "demo/data/        samples in Arrow shards: python -m preprocessing inspect demo/data/samples128"
	@echo "demo/run/         recipe, metrics.jsonl, TensorBoard, checkpoints: tensorboard --logdir demo/run"
	@echo "demo/model/       the model: transformers.BertForMaskedLM.from_pretrained(\"demo/model\")"
	@echo "demo/classifier/  the fine-tuned classifier in model/: python -m pipeline.predict demo/classifier/model FILE"
	@echo "demo/report.html  how the run went: curves, what the model has learned, speed, checkpoints"
	@echo "Next: your own text, python -m preprocessing run --sources file:DIRECTORY --out data; then"
	@echo "deepspeed --num_gpus $(RANKS) --module pipeline.pretrain --recipe pipeline/recipes/bert_mini_fast.toml (see README.md)"

# A worker per core, and a file of tests at a time.
PYTEST := OMP_NUM_THREADS=1 python -m pytest --numprocesses $(CORES) --dist loadfile

test: tools
	$(PYTEST) -m "not slow"

test-long: tools
	$(PYTEST) -m slow

# Both parts run, whatever the first one finds.
test-all: tools
	status=0; for part in test test-long; do $(MAKE) $$part || status=1; done; exit $$status

# The tests REPEATS times while every core is busy with something else: none of them may depend on the machine's speed.
test-busy: tools
	for core in $$(seq $(CORES)); do while kill -0 $$PPID 2>/dev/null; do :; done & busy="$$busy $$!"; done; \
	status=0; for run in $$(seq $(REPEATS)); do $(MAKE) test || status=1; done; kill $$busy; exit $$status

check: tools
	ruff check .
	ruff format --check .
	mypy

clean:
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache
