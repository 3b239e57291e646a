# Every target makes what it needs: an environment in .venv, installed anew only when pyproject.toml
# changed. PYTHON=… names the Python to use, VENV=… another place for the environment, ARGS=… goes to
# the command.
SHELL = /bin/sh
VENV = .venv
PY = "$(VENV)/bin/python"
ENSURE = PYTHON="$(PYTHON)" sh scripts/venv.sh
ARGS =
# One more than there are cores: much of the tests' time goes into waiting for servers.
WORKERS = "$$($(PY) -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))')"

.PHONY: help demo test check lowest bench cache-tests docs soak clean
.NOTPARALLEL:

help:
	@echo "make demo     a service over real data and a guided tour of it (ONCE=1: the tour only)"
	@echo "make test     all tests, on real servers"
	@echo "make check    format, lint, types and the rules of the house"
	@echo "make lowest   the tests with the oldest versions that ramkit admits"
	@echo "make bench    ramkit beside its peers; writes docs/benchmarks.md and README.md"
	@echo "make cache-tests  HTTP caching, by http-tests/cache-tests; writes docs/benchmarks.md"
	@echo "make docs     the documentation, into site/"
	@echo "make soak     the tests, with many more examples and the long ones"
	@echo "make clean    removes what the others made"

demo:
	@$(ENSURE) "$(VENV)" demo
	@$(PY) -m ramkit demo $(if $(filter-out 0,$(ONCE)),--once) $(ARGS)

test:
	@$(ENSURE) "$(VENV)" dev
	@$(PY) -m pytest -n $(WORKERS) $(ARGS)

check:
	@$(ENSURE) "$(VENV)" dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)
	"$(VENV)/bin/lint-imports" --no-logo
	$(PY) -m pytest -q tests/test_architecture.py

lowest:
	@$(ENSURE) "$(VENV)-lowest" dev --lowest
	@"$(VENV)-lowest/bin/python" -m pytest -n $(WORKERS) $(ARGS)

bench:
	@$(ENSURE) "$(VENV)" bench
	@$(PY) -m benchmarks $(ARGS)

cache-tests:
	@$(ENSURE) "$(VENV)" dev
	@$(PY) -m benchmarks.cache_tests $(if $(CACHE_TESTS),--suite "$(CACHE_TESTS)") $(ARGS)

docs:
	@$(ENSURE) "$(VENV)-docs" docs
	@"$(VENV)-docs/bin/python" -m zensical build --clean --strict $(ARGS)

soak:
	@$(ENSURE) "$(VENV)" dev
	@RAMKIT_SOAK=1 $(PY) -m pytest -n $(WORKERS) --timeout 1800 $(ARGS)

clean:
	rm -rf "$(VENV)" "$(VENV)-lowest" "$(VENV)-docs" .bench-* .pytest_cache .mypy_cache .ruff_cache
	rm -rf .import_linter_cache .hypothesis .cache dist build site
	find ramkit tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
