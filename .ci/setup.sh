#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Set-up, one part per word: `.ci/setup.sh icarus lint python`.
# Safe to repeat: a part that is in place costs milliseconds.
#
#   icarus   Icarus Verilog, which runs the RTL; nothing is simulated without it
#   lint     Verilator and Yosys, which only check the RTL; their tests skip where they are missing
#   model    g++, make and ccache, with which Verilator compiles a model; its tests skip where g++ or make is missing
#   browser  Chromium, which opens the reports; their tests skip where it is missing
#   spice    ngspice, which solves the circuits that the models stand for; its tests skip where it is missing
#   python   .venv with every pin of requirements.lock, and this package, editable
#
# PYTHON names the interpreter that makes .venv (default: python3).

set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

python=${PYTHON:-python3}
torch_cpu_index=https://download.pytorch.org/whl/cpu

say() { printf 'twinor: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
have() { command -v "$1" >/dev/null; }

# System packages //

is_root() { [[ $(id -u) == 0 ]]; }

# Never asks for a password: CI has nobody to answer.
as_root() { if is_root; then "$@"; else sudo -n "$@"; fi; }

# Installs packages through apt; fails where there is no apt or no permission.
apt_install() {
  have apt-get && { is_root || sudo -n true 2>/dev/null; } || return 1
  say "installing $* through apt"
  as_root apt-get update -qq >&2 || say "apt-get update failed; trying the package lists that are here"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null >&2
}

# The command that a person types instead.
apt_command() {
  local sudo='sudo '
  is_root && sudo=''
  printf "'%sapt-get update && %sapt-get install -y --no-install-recommends %s'" "$sudo" "$sudo" "$*"
}

setup_icarus() {
  have iverilog || apt_install iverilog ||
    die "Icarus Verilog is missing and could not be installed from here: run $(apt_command iverilog), then make again."
}

setup_lint() {
  { have verilator && have yosys; } || apt_install verilator yosys ||
    say "Verilator or Yosys is missing, so tests that need it are skipped: to run them, $(apt_command verilator yosys)."
}

setup_model() {
  { have g++ && have make && have ccache; } || apt_install g++ make ccache ||
    { have g++ && have make; } ||
    say "g++ or make is missing, so tests on Verilator are skipped: to run them, $(apt_command g++ make ccache)."
}

setup_browser() {
  have chromium || apt_install chromium fonts-dejavu-core ||
    say "Chromium is missing, so tests that open a report are skipped: to run them, $(apt_command chromium fonts-dejavu-core)."
}

setup_spice() {
  have ngspice || apt_install ngspice ||
    say "ngspice is missing, so tests that compare with it are skipped: to run them, $(apt_command ngspice)."
}

# Python //

setup_python() {
  local stamp=.venv/.stamp here pins stamped_here='' stamped_pins=''
  here=$(pwd -P)
  pins=$(cat requirements.lock pyproject.toml .ci/setup.sh | cksum)
  if [[ -f $stamp ]]; then
    { read -r stamped_here && read -r stamped_pins; } <"$stamp" || true
  fi

  # Scripts in .venv carry its path, so a copied or moved one is made anew.
  if [[ $stamped_here == "$here" && $stamped_pins == "$pins" ]] && venv_is_complete; then return; fi
  rm -f "$stamp"
  # No stamp: the last install was interrupted and may have left half a package.
  # This stamp, yet incomplete: somebody changed it. Only new pins update what is there.
  if [[ $stamped_here != "$here" || $stamped_pins == "$pins" ]] || ! venv_starts; then
    make_venv
  fi
  say "installing the pinned packages into .venv, which takes a minute the first time"
  install_packages
  require_libpython
  printf '%s\n' "$here" "$pins" >"$stamp"
}

venv_starts() { .venv/bin/python -m pip --version >/dev/null 2>&1; }

venv_is_complete() {
  [[ -x .venv/bin/twinor ]] && .venv/bin/python - 2>/dev/null <<'PYTHON'
import pathlib, sys
from importlib.metadata import distributions

here = {f"{d.name}=={d.version.partition('+')[0]}" for d in distributions()}
pins = {line for line in pathlib.Path("requirements.lock").read_text().splitlines() if "==" in line}
sys.exit(not pins <= here)
PYTHON
}

make_venv() {
  have "$python" ||
    die "$python is not on the PATH: install Python 3.11 or newer, or name one, as in 'make test PYTHON=python3.11'."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$python is $("$python" --version 2>&1) and twinor needs 3.11 or newer: name one, as in 'make test PYTHON=python3.11'."
  # Debian keeps ensurepip, and the shared library that cocotb needs, in packages of their own.
  local name
  name=$(debian_name_of "$python")
  "$python" -c 'import ensurepip' 2>/dev/null || apt_install "$name-venv" "lib$name" ||
    die "$python cannot make virtual environments: run $(apt_command "$name-venv" "lib$name"), then make again."
  say "creating .venv"
  "$python" -m venv --clear .venv || die "$python could not create .venv: see above."
}

install_packages() {
  install_torch_for_cpu
  pip_install --requirement requirements.lock ||
    die "pip could not install the pinned packages: mend what it says above, then make again."
  pip_install --no-deps --no-build-isolation --editable . ||
    die "pip could not install this package: mend what it says above, then make again."
}

# The CPU build is a tenth of the size; where nobody offers it, the next step takes the plain one.
install_torch_for_cpu() {
  local torch
  torch=$(grep '^torch==' requirements.lock)+cpu
  pip_install --no-deps "$torch" 2>/dev/null ||
    pip_install --no-deps --timeout 10 --retries 0 --index-url "$torch_cpu_index" "$torch" 2>/dev/null ||
    say "no CPU build of torch is offered: taking the default build, which is larger"
}

pip_install() { .venv/bin/python -m pip --disable-pip-version-check --no-input install -qq "$@" >&2; }

# cocotb runs Python inside the simulator and so needs it as a shared library.
require_libpython() {
  local name
  name=$(debian_name_of .venv/bin/python)
  [[ $(.venv/bin/python -m find_libpython) ]] || apt_install "lib$name" ||
    die "cocotb needs the shared library of this Python: run $(apt_command "lib$name"), then make again."
}

debian_name_of() { "$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'; }

# pip ends in its own way on Ctrl-C; this makes the script end too, and not try the next thing.
trap 'exit 130' INT TERM

# Two makes at once take turns.
if have flock; then
  exec 9<.ci/setup.sh
  flock 9
fi

for part in "$@"; do
  case $part in
    icarus | lint | model | browser | spice | python) "setup_$part" ;;
    *) die "no part of the set-up is called '$part': expected icarus, lint, model, browser, spice or python." ;;
  esac
done
