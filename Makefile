# SPDX-License-Identifier: Apache-2.0
# The front door: `make help` lists the targets from their own comments.

PYTHON ?= python3
export PYTHON

BIN := .venv/bin
SETUP := .ci/setup.sh
COSIM_OPTIONS = $(if $(PRESET),--preset $(PRESET)) $(if $(DIE_SEED),--die-seed $(DIE_SEED)) \
                $(if $(IMAGES),--images $(IMAGES)) $(ARGS)

WAVES_OPTIONS = $(if $(PRESET),--preset $(PRESET)) $(if $(RTL),--rtl $(RTL)) $(if $(DIE),--die $(DIE)) $(ARGS)

.PHONY: help setup sim uvm regress coverage waves mutate formal spice synth gatesim crossval params registers test fast lint check clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: ## create .venv and install the simulator and linters; the other targets do what they need of it
	@$(SETUP) icarus lint model browser spice python

sim: ## run a trained network's layers through the Verilog macro (PRESET=name DIE_SEED=7 IMAGES=20 ARGS="...")
	@$(SETUP) icarus $(if $(findstring verilator,$(ARGS)),model) python
	$(BIN)/twinor cosim $(strip $(COSIM_OPTIONS))

uvm: ## run the macro's pyuvm environment until every coverage goal is met (PRESET=name ARGS="--seed 2")
	@$(SETUP) icarus python
	$(BIN)/python -m tb.uvm $(if $(PRESET),--preset $(PRESET)) $(ARGS)

regress: ## run every bench at every configuration (SIM=icarus or verilator, ARGS="--bench sar_adc")
	@$(SETUP) icarus $(if $(filter verilator,$(SIM)),model) python
	$(BIN)/python -m tb.regress $(if $(SIM),--sim $(SIM)) $(ARGS)

coverage: ## run every bench on Verilator: lines and branches of the Verilog that were reached (ARGS="--block sar_adc")
	@$(SETUP) model python
	$(BIN)/python -m tb.coverage $(ARGS)

waves: ## run one bench with waves and open them where it fails (TEST=sar_adc PRESET=name RTL=folder DIE=file)
	@$(SETUP) icarus python
	$(BIN)/python -m tb.waves "$(TEST)" $(strip $(WAVES_OPTIONS))

mutate: ## plant seeded faults in every block and list what finds each (ARGS="--block sar_adc --count 20")
	@$(SETUP) icarus lint python
	$(BIN)/python -m tb.mutation $(ARGS)

formal: ## prove the SAR's code, the accumulators' bound, the streams and the sequencer (ARGS="--proof macro_ctrl")
	@$(SETUP) lint python
	$(BIN)/python -m tb.formal $(ARGS)

spice: ## compare cell, wires, CDAC, SAR and pulses with ngspice: a row for each check
	@$(SETUP) spice python
	$(BIN)/python -m twinor.spice

synth: ## synthesise every block: cells, flip-flops, estimated transistors (PRESET=name)
	@$(SETUP) lint python
	$(BIN)/python -m tb.synth $(if $(PRESET),--preset $(PRESET)) $(ARGS)

gatesim: ## run the macro's bench on its synthesised netlist (PRESET=name)
	@$(SETUP) icarus lint python
	$(BIN)/python -m tb.gatesim $(if $(PRESET),--preset $(PRESET)) $(ARGS)

crossval: ## train and test on 5 folds of the digits: float against int4 on the macro (ARGS="...")
	@$(SETUP) icarus python
	$(BIN)/twinor crossval $(ARGS)

registers: ## write Verilog, driver map, pyuvm model and page from rtl/cim_axi.rdl (ARGS=--check)
	@$(SETUP) python
	$(BIN)/python -m tb.registers $(ARGS)

params: ## write rtl/macro_params.vh from a preset (ARGS="...")
	@$(SETUP) python
	$(BIN)/twinor params $(ARGS)

test: ## run every test (ARGS="-k word")
	@$(SETUP) icarus lint model browser spice python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

fast: ## run the tests that need Python alone, in seconds (ARGS="-k word")
	@$(SETUP) python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fast tests $(ARGS)

lint: ## check the style, the types and the Verilog
	@$(SETUP) icarus lint python
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -m lint tests/test_lint.py

check: lint ## lint, and check that generated files are up to date
	$(BIN)/twinor params --check
	$(BIN)/python -m tb.registers --check

clean: ## remove what runs leave behind, but keep .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf .venv model/twinor.egg-info
