# Every target sets up what it needs by itself; nothing has to be activated.
PYTHON ?= python3
PORT ?= 8888
HOST ?= 127.0.0.1
ifeq ($(OS),Windows_NT)
  RUN := .venv/Scripts/python.exe
else
  RUN := .venv/bin/python
endif
export PYTHONUTF8 := 1

.PHONY: help lab test execute picture site slides bench coverage mutants portable lint environment measure graders clean
.DEFAULT_GOAL := help

help:
	@echo "make lab       open the five lessons in JupyterLab   (PORT=8888 HOST=127.0.0.1)"
	@echo "make test      run all tests, every cell of the lessons included"
	@echo "make execute   run the lessons afresh and store what they print and draw"
	@echo "make picture   draw the README's picture afresh"
	@echo "make site      write the lessons as pages, alive without a kernel or a network, into site/;"
	@echo "               site/at_work.html is a ViT at work, to draw for, in one file that can be sent"
	@echo "make slides    write the lessons as slides for the classroom, into slides/"
	@echo "make bench     time everything beside what else there is     (quarter of an hour)"
	@echo "make coverage  which lines and branches tests and lessons never reach"
	@echo "make mutants   break the code on purpose: do the tests see it?   (quarter of an hour)"
	@echo "make graders   does a class get its marks from nbgrader and otter?     (half an hour; fetches both)"
	@echo "make portable  would other processors print the same?        (half an hour)"
	@echo "make lint      check the style of the code, notebooks included"
	@echo "make clean     remove the environment, pages and slides, to start from nothing"
	@echo "Each sets up what it needs in .venv. Another Python: make PYTHON=python3.12 lab"

# These two need no make: where there is none, `python tools/environment.py lab` does the same.
lab:
	@$(PYTHON) tools/environment.py lab --ip=$(HOST) --port=$(PORT)

test:
	@$(PYTHON) tools/environment.py test

execute: environment
	@$(RUN) tools/execute.py

picture: environment
	@$(RUN) tools/picture.py

site: environment
	@$(RUN) tools/export.py site

slides: environment
	@$(RUN) tools/export.py slides

bench: measure
	@$(RUN) -m tests.benchmarks.speed

# The lessons by jupyter execute: nbval kills its kernels before they can say what they ran.
coverage: measure
	@$(RUN) -m coverage erase
	@$(RUN) -m coverage run -m pytest tests -n 2 --dist loadscope --no-loadscope-reorder --ignore=tests/browser --ignore=tests/benchmarks
	@$(RUN) -m coverage run -m jupyter execute --timeout=600 $(wildcard notebooks/*.ipynb notebooks/beyond/*.ipynb)
	@$(RUN) -m coverage combine --quiet
	@$(RUN) -m coverage report --show-missing --skip-covered --fail-under=98

mutants: measure
	@$(RUN) -m tests.mutants

graders:
	@$(PYTHON) tools/environment.py graders
	@$(RUN) -m pytest tests/lessons/test_nbgrader.py tests/lessons/test_otter.py

portable: environment
	@$(RUN) tools/portable.py

lint: environment
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

environment:
	@$(PYTHON) tools/environment.py

# What measures the project itself is fetched when it is first asked for.
measure:
	@$(PYTHON) tools/environment.py measure

clean:
	@$(PYTHON) -c "import shutil; [shutil.rmtree(each, ignore_errors=True) for each in ('.venv', 'site', 'slides')]"
