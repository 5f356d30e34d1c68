# What a person asks of this repository. `make` alone lists it.

PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
	if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then echo $$name; break; fi; done)
PYTHON311 ?= $(shell for name in python3.11 python3; do \
	if $$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
LAKE ?= lake
NEW_TOPICS ?= 3
SAMPLES_PER_TOPIC ?= 1
TURNS ?= 1
STORM_SECONDS ?= 600
PART ?=
SAMPLES ?=
MEAN ?=
BATCH ?=
OPEN_BATCHES ?=
AT_ONCE ?=
PEERS ?=
SEED ?=

BIN := .venv/bin
READY := .venv/.ready
MODELS_BIN := .venv-models/bin
MODELS_READY := .venv-models/.ready
BENCH_BIN := .venv-bench/bin
BENCH_READY := .venv-bench/.ready
VLLM_BIN := .venv-vllm/bin
VLLM_READY := .venv-vllm/.ready
BROWSER_READY := .venv/.browser
INTERLAKE := $(BIN)/interlake
KERNEL := dedup/libkernel.so
TORCH_TESTS := tests/torch_adapters
VLLM_TESTS := tests/vllm_server
VLLM_BATCHES := $(VLLM_TESTS)/test_in_process.py
FAULT_TESTS := tests/faults
REPRODUCTION_TESTS := tests/reproduction
# What make test has no time for: whole builds and what is done to lakes afterwards, benchmarks run small.
LONG_TESTS := tests/export tests/test_benchmarks.py tests/test_chain.py tests/gallery/test_sql_page.py tests/storage/test_fsck.py tests/storage/test_compacting.py tests/models/test_llama_chat.py \
	$(addprefix tests/flows/test_, $(addsuffix .py, benchmark budget cancelling deploy dedup_report derived_templates embedded_chat estimates flow frames \
	hardships judge_coverage judge_depth judge_lake maintain models_cli newcomers old_lake proposals reembed repeats rethreshold review server_build similar watch))
E2E_TESTS := tests/e2e
# A lake elsewhere is named in the commands that are shown.
ELSEWHERE := $(if $(filter-out lake ./lake,$(LAKE)), --lake "$(LAKE)")

.DEFAULT_GOAL := help
.PHONY: help kernel demo environments up down test test-long test-reproduction test-faults test-e2e test-models test-vllm test-vllm-batches storm bench-lake bench-record bench-prefect bench-pipeline bench-dedup bench-topics bench-gallery train-clip lint lock clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    set up what is missing, grow the lake in $(LAKE)/ by $(NEW_TOPICS) topics, say what to look at'
	@echo '             (LAKE=folder NEW_TOPICS=n SAMPLES_PER_TOPIC=n TURNS=n change it)'
	@echo 'make up      a Prefect server, all deployments and a worker on this machine; make down ends them'
	@echo '             (INTERLAKE_PREFECT_PORT=n INTERLAKE_DATABASE_URL=postgresql://… make up)'
	@echo 'make test    set up what is missing, then lint and the tests that every change should pass (five minutes)'
	@echo 'make test-long  whole builds and what is done to lakes afterwards: reviews, moves, maintenance, fsck, budgets,'
	@echo '             judging, proposing, servers that fail; and every benchmark, run small'
	@echo 'make test-reproduction  replay, regenerate, rerun, and the walk through the README'
	@echo 'make test-faults  kill, stop and starve real processes at every named step, and see that nothing is lost'
	@echo 'make test-e2e  a server and a worker from nothing: schedules, two builds at once, kills, the end; the gallery in Chromium'
	@echo 'make storm   two builds and a maintenance, killed at random for $(STORM_SECONDS) seconds (STORM_SECONDS=n SEED=n)'
	@echo 'make test-models  set up torch, diffusers and open_clip in .venv-models (7 GB), then the tests that need them'
	@echo 'make test-vllm  set up vLLM for the CPU in .venv-vllm (Python 3.11, 3.4 GB), then builds with real servers, one of them killed'
	@echo 'make test-vllm-batches  vLLM in process: equal batches in two processes, a build, its regeneration'
	@echo 'make bench-lake   what committing to small and large lakes costs, part by part (some ten minutes, 4 GB)'
	@echo 'make bench-topics what planning many slots and bringing in 50,000 names take, in time and memory, at two sizes'
	@echo 'make bench-record what recording takes of calls a second, and whether its memory is bounded (some four minutes)'
	@echo 'make bench-prefect  what Prefect takes of a build with slow models, and what its database grows by (some three minutes)'
	@echo 'make bench-pipeline  builds with a server that takes 1 s a call, and with one that takes none (PART=latency|zero|peers|server SAMPLES=n MEAN=s)'
	@echo 'make bench-dedup  set up faiss in .venv-bench, then the search for near-duplicates beside other tools (15 minutes, 5 GB of disk)'
	@echo 'make bench-gallery  pages of a lake of 100,000 samples while batches are committed: times, memory (SAMPLES=n; some ten minutes, 2 GB)'
	@echo 'make train-clip   train our own small CLIP anew into models/scene_clip (half an hour or so)'
	@echo 'make kernel  compile the inner loop of the search for near-duplicates (make demo and make test do so)'
	@echo 'make lint    ruff, mypy, import-linter'
	@echo 'make lock    resolve the dependencies anew into requirements.lock, requirements-{models,bench,browser,vllm}.lock'
	@echo 'make clean   remove the environments and caches; lakes stay'

# The stamp is taken away first and written last: an environment without it was interrupted, and is made from nothing.
# uv takes a third of pip's time; where it reaches no index that pip is configured for, pip does the same.
$(READY): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'interlake needs Python 3.11 or 3.12: install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@test -e $@ || rm -rf .venv
	@rm -f $@
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo '$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; rm -rf .venv; exit 1; }
	@echo 'Setting up .venv (once, a minute or two) ...'
	@awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock || { \
		echo 'uv could not do it; pip takes over (some minutes) ...'; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ".[embedded]"
	@touch $@

# pip alone: it takes what lies on the disk or in its cache, and torch is 3 GB.
$(MODELS_READY): requirements-models.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'interlake needs Python 3.11 or 3.12: install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@test -e $@ || rm -rf .venv-models
	@rm -f $@
	@test -x $(MODELS_BIN)/python || $(PYTHON) -m venv .venv-models || { echo '$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; rm -rf .venv-models; exit 1; }
	@echo 'Setting up .venv-models (once, some minutes, 7 GB) ...'
	@$(MODELS_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-models.lock
	@$(MODELS_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ".[embedded,torch,train]"
	@touch $@

# What .venv has, and what near-duplicates are compared with.
$(BENCH_READY): $(READY) requirements-bench.lock
	@test -e $@ || rm -rf .venv-bench
	@rm -f $@
	@test -x $(BENCH_BIN)/python || $(PYTHON) -m venv .venv-bench
	@echo 'Setting up .venv-bench (once, a minute or two) ...'
	@$(BIN)/uv pip sync --quiet --python $(BENCH_BIN)/python --require-hashes requirements.lock requirements-bench.lock || { \
		echo 'uv could not do it; pip takes over (some minutes) ...'; \
		$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock -r requirements-bench.lock; }
	@touch $@

# A vLLM for the CPU comes for Python 3.11 alone, with a torch of its own; that one is not on PyPI, but where pip or UV_FIND_LINKS looks.
# Neither torchaudio nor torchcodec is in the lock: both want CUDA. The models that it serves are made last, each one whole or not at all.
$(VLLM_READY): requirements-vllm.lock $(VLLM_TESTS)/prepare.py $(VLLM_TESTS)/torchvision_operators.py | $(READY)
	@test -n '$(PYTHON311)' || { echo 'vLLM for the CPU needs Python 3.11: install it, or name it: make test-vllm PYTHON311=/path/to/python3.11' >&2; exit 1; }
	@test -e $@ || rm -rf .venv-vllm
	@rm -f $@
	@test -x $(VLLM_BIN)/python || $(PYTHON311) -m venv .venv-vllm || { echo '$(PYTHON311) cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; rm -rf .venv-vllm; exit 1; }
	@echo 'Setting up .venv-vllm (once, some minutes, 3.4 GB) ...'
	@UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}" $(BIN)/uv pip sync --quiet --python $(VLLM_BIN)/python --require-hashes requirements-vllm.lock || { \
		echo 'uv could not do it; pip takes over (some minutes) ...'; \
		$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-vllm.lock; } || { \
		echo 'If it is torch ...+cpu that is missing, name the index of PyTorch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-vllm' >&2; exit 1; }
	@$(VLLM_BIN)/python $(VLLM_TESTS)/prepare.py "$$($(BIN)/python -c 'from models.llama_chat import find_weights; print(find_weights())')" .venv-vllm/models
	@touch $@

# Beside what .venv has; made again after .venv was brought up to its lock, which takes it away.
$(BROWSER_READY): $(READY) requirements-browser.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-browser.lock || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-browser.lock
	@touch $@

# Optional: without it, the same is done in numpy. GCC or Clang on x86-64; nothing of the processor at hand goes in.
kernel $(KERNEL): dedup/kernel.c
	@if [ "$$(uname -m)" = x86_64 ] && command -v $(CC) >/dev/null; then \
		$(CC) -O3 -Wall -Wextra -Werror -shared -fPIC -o $(KERNEL).new dedup/kernel.c && mv $(KERNEL).new $(KERNEL); \
	else echo 'No C compiler for x86-64: near-duplicates are looked for in numpy, more slowly, with the same result.'; fi

demo: $(READY) $(KERNEL)
	@test -e '$(LAKE)/lake.json' || $(INTERLAKE) init --lake '$(LAKE)'
	@$(INTERLAKE) build --lake '$(LAKE)' --new-topics $(NEW_TOPICS) --samples-per-topic $(SAMPLES_PER_TOPIC) --turns $(TURNS)
	@echo
	@$(INTERLAKE) status --lake '$(LAKE)'
	@echo
	@echo "The lake is the folder $$(cd '$(LAKE)' && pwd). Ask it:"
	@echo '  $(INTERLAKE) sql$(ELSEWHERE) "select stage, round, count(*) from iterations group by all order by all"'
	@echo '  $(INTERLAKE) sql$(ELSEWHERE) "select domain, name, outcome, reason from samples join topics using (topic_id)"'
	@echo '  $(INTERLAKE) sql$(ELSEWHERE) "select question, answer, caption from turns order by sample_id, turn"'
	@echo 'The runs in the Prefect UI:'
	@echo '  $(BIN)/prefect server start     then open http://127.0.0.1:4200; make up serves scheduled builds'
	@echo 'Again for the next $(NEW_TOPICS) topics: make demo'

# The server lives on when make ends; .interlake/ holds what it knows.
up: $(READY) $(KERNEL)
	@$(BIN)/python -m deploy.stack up

down: $(READY)
	@$(BIN)/python -m deploy.stack down

# -v takes back the -q of pyproject.toml: file names while it runs, and pytest's whole closing line.
test: lint $(KERNEL)
	$(BIN)/pytest -v --durations=10 --ignore=$(TORCH_TESTS) --ignore=$(VLLM_TESTS) --ignore=$(FAULT_TESTS) --ignore=$(REPRODUCTION_TESTS) --ignore=$(E2E_TESTS) $(LONG_TESTS:%=--ignore=%)

test-long: $(READY) $(KERNEL)
	$(BIN)/pytest -v --durations=10 $(LONG_TESTS)

test-reproduction: $(READY) $(KERNEL)
	$(BIN)/pytest -v --durations=10 $(REPRODUCTION_TESTS)

# Each test kills, stops or starves processes of its own: any of them may run beside any other.
test-faults: $(READY) $(KERNEL)
	$(BIN)/pytest -v --durations=10 --dist load $(FAULT_TESTS)

# The gallery is walked in the machine's Chromium: on Debian, apt-get install chromium.
test-e2e: $(READY) $(BROWSER_READY) $(KERNEL)
	$(BIN)/pytest -v --durations=10 $(E2E_TESTS)

storm: $(READY)
	$(BIN)/python -m tests.faults.storm --seconds $(STORM_SECONDS) $(if $(SEED),--seed $(SEED))

# What the suites of torch and of vLLM need, which is slow to come.
environments: $(MODELS_READY) $(VLLM_READY)

test-models: $(MODELS_READY)
	$(MODELS_BIN)/pytest -v --durations=10 $(TORCH_TESTS)

# One process: its two servers have the machine for themselves.
test-vllm: $(READY) $(VLLM_READY) $(KERNEL)
	$(BIN)/pytest -v -n0 -o faulthandler_timeout=900 --durations=10 --ignore=$(VLLM_BATCHES) $(VLLM_TESTS)

# Apart: each test starts engines of its own, with one thread each.
test-vllm-batches: $(READY) $(VLLM_READY) $(KERNEL)
	$(BIN)/pytest -v -n0 -o faulthandler_timeout=900 --durations=10 $(VLLM_BATCHES)

bench-record: $(READY)
	$(BIN)/python -m tests.benchmarks.recording

bench-prefect: $(READY)
	$(BIN)/python -m tests.benchmarks.through_prefect

bench-pipeline: $(READY) $(KERNEL)
	$(BIN)/python -m tests.benchmarks.pipeline $(if $(PART),--part $(PART)) $(if $(SAMPLES),--samples $(SAMPLES)) $(if $(MEAN),--mean $(MEAN)) $(if $(BATCH),--batch $(BATCH)) $(if $(OPEN_BATCHES),--open-batches $(OPEN_BATCHES)) $(if $(AT_ONCE),--at-once $(AT_ONCE)) $(if $(PEERS),--peers $(PEERS))

bench-topics: $(READY)
	$(BIN)/python -m tests.benchmarks.topics --placing

bench-lake: $(READY)
	$(BIN)/python -m tests.benchmarks.lake

bench-gallery: $(READY)
	$(BIN)/python -m tests.benchmarks.gallery $(if $(SAMPLES),--samples $(SAMPLES))

bench-dedup: $(BENCH_READY) $(KERNEL)
	$(BENCH_BIN)/python -m tests.benchmarks.dedup $(if $(PLOT),--plot "$(PLOT)")

train-clip: $(MODELS_READY)
	$(MODELS_BIN)/python -m models.scene_clip_training --out models/scene_clip

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 --generate-hashes -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra embedded --extra torch --extra train --group dev --group torch-pair --constraint requirements.lock --universal --python-version 3.11 --generate-hashes -o requirements-models.lock
	$(BIN)/uv pip compile --group bench --constraint requirements.lock --universal --python-version 3.11 --generate-hashes -o requirements-bench.lock
	$(BIN)/uv pip compile --group browser --constraint requirements.lock --universal --python-version 3.11 --generate-hashes -o requirements-browser.lock
	UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}" $(BIN)/uv pip compile --group vllm --python-platform x86_64-manylinux_2_28 --python-version 3.11 --no-emit-package torchaudio --no-emit-package torchcodec --generate-hashes -o requirements-vllm.lock

clean:
	rm -f $(KERNEL)
	rm -rf .venv .venv-models .venv-bench .venv-vllm .venv-peers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find flows storage models dedup deploy tests -name __pycache__ -type d -prune -exec rm -rf {} +
