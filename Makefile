PYTHON ?= python3
VENV   := .venv
DEVICE := .venv-demo
LINE   := .venv-line

.DEFAULT_GOAL := help
.PHONY: help demo demo-line test test-slow trials soak figures embed lint type bench bench-3b bench-device clean

# What `make bench` measures; results go to $(OUT)/$(SHAPE)/*.txt.
OUT        ?= build/bench
SHAPE      ?= nano
RESULTS    := $(OUT)/$(SHAPE)
CHECKPOINT ?= $(RESULTS)/checkpoint
BUNDLE     ?= $(RESULTS)/bundle
IMAGE_SIZE ?= 224
EXPORT     ?= --int8 --llm int4
THREADS    ?= 2
ROUNDS     ?= 5
SIZES      ?= 448 672
# Interpreters that have llama-cpp-python and onnxruntime-genai; without: no peers of the decoder.
LLAMA      ?=
GENAI      ?=
# For `make figures`: where DeepPCB is, its boards that chose nothing, the embedded model in float32.
DEEPPCB       ?= DeepPCB
FLOAT         := build/float32
NANO          := adcopilot_edge/assets/nano/manifest.json
THRESHOLD      = $(shell sed -n 's/^ *"threshold": \([0-9.]*\),*$$/\1/p' $(NANO))
# For `make embed`: the checkpoint that becomes the embedded model.
TRAINED       ?=
UNUSED_BOARDS := group20085 group92000 group77000 group50600
# How long `make soak` keeps a steady load.
SOAK_HOURS ?= 2
# More words for a bench.
TAKT       ?= --dtype float32
DECODER    ?=
GROWTH     ?=
PACKS      ?= --bundle $(BUNDLE)

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: $(DEVICE)/ready ## a first inspection, with the device side alone
	$(DEVICE)/bin/adcopilot-edge demo

demo-line: $(LINE)/ready ## the daemon on a made-up conveyor, with its page; Ctrl-C ends it
	$(LINE)/bin/adcopilot-edge demo-line

test: $(VENV)/ready ## the tests, without the slow ones
	$(VENV)/bin/pytest

test-slow: $(VENV)/ready ## the tests that take minutes or the network
	$(VENV)/bin/pytest -m slow

trials: $(VENV)/ready ## what the daemon bears, in short: kills, power cuts, overload, faults, hostile inputs
	$(VENV)/bin/pytest -m "slow or not slow" -s tests/test_daemon_trials.py

soak: $(VENV)/ready ## the same at length: some hours, SOAK_HOURS=24 of them a steady load
	$(VENV)/bin/python tests/trial_kill.py
	$(VENV)/bin/python tests/trial_power.py
	$(VENV)/bin/python tests/trial_faults.py
	$(VENV)/bin/python tests/trial_hostile.py
	$(VENV)/bin/python tests/trial_openapi.py
	$(VENV)/bin/python tests/trial_overhead.py
	$(VENV)/bin/python tests/trial_overload.py
	$(VENV)/bin/python tests/trial_soak.py --hours $(SOAK_HOURS)

figures: $(VENV)/ready $(FLOAT)/manifest.json ## what the embedded model can do, as the README says; DEEPPCB=its folder
	$(VENV)/bin/adcopilot-edge evaluate deeppcb $(DEEPPCB) --pairs 400 $(UNUSED_BOARDS:%=--only %) --against $(FLOAT)
	$(VENV)/bin/adcopilot-edge evaluate synthetic --pairs 200 --no-text --only "colour board"
	$(VENV)/bin/adcopilot-edge evaluate synthetic --pairs 400 --no-text --only "blister pack" --only "ceramic tile"
	$(VENV)/bin/adcopilot-edge evaluate synthetic --pairs 200 --no-text --only "instrument dial"

embed: $(VENV)/ready ## the checkpoint TRAINED=... becomes the embedded model, at its threshold or THRESHOLD=...
	@test -n "$(TRAINED)" || { echo "name the checkpoint: make embed TRAINED=runs/nano-types/checkpoint" >&2; exit 1; }
	$(VENV)/bin/python tests/embed_nano.py $(TRAINED) --threshold $(THRESHOLD)

$(FLOAT)/manifest.json: $(NANO) | $(VENV)/ready
	$(VENV)/bin/adcopilot-edge export embedded --out $(@D) --threshold $(THRESHOLD)

lint: $(VENV)/ready ## style, formatting, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

type: $(VENV)/ready ## types
	$(VENV)/bin/mypy

bench: $(VENV)/ready $(BUNDLE)/manifest.json $(SIZES:%=$(RESULTS)/bundle-%/manifest.json) ## time everything on a random nano, or on CHECKPOINT=... BUNDLE=...; results in OUT=...
	@mkdir -p $(RESULTS)
	$(call measure,inspect)
	$(call measure,takt,$(CHECKPOINT) $(BUNDLE) --threads $(THREADS) --rounds $(ROUNDS) $(TAKT))
	$(call measure,vision,$(CHECKPOINT) $(BUNDLE) --threads $(THREADS) --rounds $(ROUNDS))
	$(call measure,decoder,$(CHECKPOINT) $(BUNDLE) --threads $(THREADS) --rounds $(ROUNDS) \
	  --work $(RESULTS)/peers $(LLAMA:%=--llama-python %) $(GENAI:%=--genai-python %) $(DECODER))
	$(call measure,growth,$(BUNDLE) $(SIZES:%=$(RESULTS)/bundle-%) --threads $(THREADS) --rounds $(ROUNDS) $(GROWTH))
	$(call measure,packs,$(PACKS))

bench-3b: ## the same at the shape of 3B, which takes long and 30 GB of disk
	$(MAKE) bench SHAPE=3b IMAGE_SIZE=448 EXPORT="$(EXPORT) --llm-block 128" ROUNDS=3 SIZES=224 \
	  TAKT="--dtype bfloat16" GROWTH="--parts 1 3 --goldens 1 2 --rounds 1" PACKS="--shape 3b"

bench-device: $(DEVICE)/ready ## time an inspection, stage by stage, with the device side alone
	$(DEVICE)/bin/python tests/bench_inspect.py

clean: ## remove the environments and everything that was built or cached
	rm -rf $(VENV) $(DEVICE) $(LINE) build dist *.egg-info .coverage .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# measure,NAME,WORDS: run tests/bench_NAME.py and keep what it prints.
measure = $(VENV)/bin/python tests/bench_$(1).py $(2) > $(RESULTS)/$(1).txt; \
	  code=$$?; cat $(RESULTS)/$(1).txt; exit $$code
# A checkpoint or bundle that is there is taken as it is, whatever its age.
export_to = $(VENV)/bin/python -m adcopilot_edge export $(CHECKPOINT) --out $(@D) $(EXPORT) --no-proof

$(RESULTS)/checkpoint/config.json: | $(VENV)/ready
	$(VENV)/bin/python tests/full_shape.py $(SHAPE) $(@D)

$(BUNDLE)/manifest.json: | $(CHECKPOINT)/config.json $(VENV)/ready
	$(export_to) --image-size $(IMAGE_SIZE)

$(RESULTS)/bundle-%/manifest.json: | $(CHECKPOINT)/config.json $(VENV)/ready
	$(export_to) --image-size $*

$(DEVICE)/ready: EXTRAS := cpu
$(LINE)/ready:   EXTRAS := cpu,serve
$(VENV)/ready:   EXTRAS := cpu,tensorrt-rtx,serve,camera,plc,export,optimum,train,curate,ray,dev
$(DEVICE)/ready $(LINE)/ready $(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is missing or older than 3.10; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --disable-pip-version-check -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
