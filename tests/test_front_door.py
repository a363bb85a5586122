# SPDX-License-Identifier: Apache-2.0
"""The front door on machines that lack something, with stand-ins for Python, apt and sudo."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

REPO = Path(__file__).parent.parent
# What any machine has; everything else is what a test puts into Machine.bin.
BASE_TOOLS = ("bash", "cat", "cksum", "cp", "env", "grep", "mkdir", "rm")

# Plays python3 and, once `-m venv` has copied it there, .venv/bin/python; logs what it is asked.
PYTHON_STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
[[ ${FAILS_AT:-} && $* == *"$FAILS_AT"* ]] && exit 1
[[ ${STOPPED_AT:-} && $* == *"$STOPPED_AT"* ]] && kill "-$SIGNAL" $PPID && exit 1
case "$*" in
  --version) echo "Python $VERSION" ;;
  *sys.exit*version_info*) [[ $VERSION != 3.9* ]] ;;
  *print*version_info*) echo "python${VERSION%.*}" ;;
  *find_libpython*) echo /usr/lib/libpython.so ;;
  *"-m venv"*)
    rm -rf .venv && mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    cp "$0" .venv/bin/twinor ;;
  -) exec "$REAL_PYTHON" - ;; # what is installed: the .venv that runs this test answers
esac
"""


@dataclass
class Machine:
    """A copy of the set-up files, and a PATH that holds only what a test installs."""

    root: Path
    bin: Path
    log: Path

    def install(self, name: str, script: str) -> None:
        """Puts an executable on the PATH."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def setup(self, *parts: str, version: str = "3.11.2", **env: str) -> subprocess.CompletedProcess[str]:
        """Runs the set-up script with this machine's PATH alone."""
        env |= {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "VERSION": version,
            "REAL_PYTHON": sys.executable,
        }
        command = [shutil.which("bash") or "bash", ".ci/setup.sh", *parts]
        return subprocess.run(
            command,
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            # A job in the background inherits "ignore Ctrl-C", which a shell cannot undo.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def asked(self, word: str) -> int:
        """Tells how many logged commands contain a word."""
        return self.log.read_text().count(word) if self.log.exists() else 0

    @property
    def stamp(self) -> Path:
        """Exists exactly when .venv is complete."""
        return self.root / ".venv/.stamp"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Python alone: no simulator, no apt, no root."""
    root, bin_ = tmp_path / "repo", tmp_path / "bin"
    (root / ".ci").mkdir(parents=True)
    bin_.mkdir()
    for name in (".ci/setup.sh", "pyproject.toml", "requirements.lock"):
        shutil.copy(REPO / name, root / name)
    for tool in BASE_TOOLS:
        (bin_ / tool).symlink_to(shutil.which(tool) or tool)
    machine = Machine(root=root, bin=bin_, log=tmp_path / "log")
    machine.install("id", "#!/usr/bin/env bash\necho 1000\n")
    machine.install("python3", PYTHON_STAND_IN)
    return machine


def make(*arguments: str) -> list[str]:
    """Runs make as a person does, though these tests run inside `make test`; returns what it prints."""
    inherited = ("ARGS", "DIE", "DIE_SEED", "IMAGES", "MAKEFLAGS", "MAKELEVEL", "PRESET", "RTL", "TEST")
    env = {key: value for key, value in os.environ.items() if key not in inherited}
    done = subprocess.run(["make", *arguments], cwd=REPO, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_help_lists_exactly_the_documented_targets() -> None:
    makefile = (REPO / "Makefile").read_text()
    documented = re.findall(r"^([\w-]+):.*## ", makefile, flags=re.MULTILINE)
    rules = re.findall(r"^([\w-]+):(?!=)", makefile, flags=re.MULTILINE)
    listed = [line.split()[1] for line in make()]
    assert listed == documented == rules
    assert {"help", "sim", "test"} <= set(documented)


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ([], ""),
        (["PRESET=nor40_int4_exact", "DIE_SEED=7"], "--preset nor40_int4_exact --die-seed 7"),
        (["IMAGES=20"], "--images 20"),
        (["ARGS=--preset tiny"], "--preset tiny"),
    ],
)
def test_make_sim_passes_its_variables_on(given: list[str], passed_on: str) -> None:
    assert make("-n", "sim", *given)[-1].split() == [".venv/bin/twinor", "cosim", *passed_on.split()]


def test_make_waves_and_make_uvm_pass_their_variables_on() -> None:
    line = make("-n", "waves", "TEST=sar_adc.codes", "PRESET=tiny", "RTL=r", "DIE=d.npz", "ARGS=--no-open")[-1]
    expected = '.venv/bin/python -m tb.waves "sar_adc.codes" --preset tiny --rtl r --die d.npz --no-open'
    assert line.split() == expected.split()
    line = make("-n", "uvm", "PRESET=tiny", "ARGS=--seed 2")[-1]
    assert line.split() == ".venv/bin/python -m tb.uvm --preset tiny --seed 2".split()


def test_ci_runs_make_test() -> None:
    run = REPO / ".ci/run"
    assert os.access(run, os.X_OK)
    lines = run.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"


def test_every_dependency_is_pinned_as_in_the_lock() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(pin for extra in extras for pin in extra)]
    pins = (REPO / "requirements.lock").read_text().splitlines()
    assert [pin for pin in asked if pin not in pins] == []


def test_too_old_a_python_is_named_with_the_version_needed(machine: Machine) -> None:
    done = machine.setup("python", version="3.9.2")
    assert done.returncode == 1
    assert done.stderr == (
        "twinor: python3 is Python 3.9.2 and twinor needs 3.11 or newer: "
        "name one, as in 'make test PYTHON=python3.11'.\n"
    )
    assert not (machine.root / ".venv").exists()


def test_no_python_is_a_sentence(machine: Machine) -> None:
    done = machine.setup("python", PYTHON="python3.99")
    assert done.returncode == 1
    assert done.stderr.startswith("twinor: python3.99 is not on the PATH: install Python 3.11 or newer")


def test_missing_icarus_without_permission_names_the_apt_command(machine: Machine) -> None:
    machine.install("apt-get", '#!/usr/bin/env bash\necho apt-get >>"$LOG"\n')
    machine.install("sudo", "#!/usr/bin/env bash\nexit 1\n")
    done = machine.setup("icarus", "python")
    assert done.returncode == 1
    assert "'sudo apt-get update && sudo apt-get install -y --no-install-recommends iverilog'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not machine.log.exists()  # neither apt-get nor pip was started


def test_missing_icarus_is_installed_where_that_is_permitted(machine: Machine) -> None:
    machine.install("apt-get", '#!/usr/bin/env bash\necho "apt-get $*" >>"$LOG"\n')
    machine.install("id", "#!/usr/bin/env bash\necho 0\n")
    assert machine.setup("icarus").returncode == 0
    update, install = machine.log.read_text().splitlines()
    assert update.startswith("apt-get update")
    assert install.startswith("apt-get install -y") and install.endswith(" iverilog")


@pytest.mark.parametrize(
    ("part", "packages"),
    [
        *(("lint", "verilator yosys"), ("model", "g++ make ccache")),
        *(("browser", "chromium fonts-dejavu-core"), ("spice", "ngspice")),
    ],
)
def test_missing_tools_for_tests_alone_do_not_stop_the_set_up(machine: Machine, part: str, packages: str) -> None:
    done = machine.setup(part)
    assert done.returncode == 0
    assert f"apt-get install -y --no-install-recommends {packages}'" in done.stderr


def test_python_without_ensurepip_names_both_debian_packages(machine: Machine) -> None:
    done = machine.setup("python", FAILS_AT="import ensurepip")
    assert done.returncode == 1
    assert "--no-install-recommends python3.11-venv libpython3.11'" in done.stderr


def test_simulator_without_libpython_names_the_debian_package(machine: Machine) -> None:
    done = machine.setup("python", FAILS_AT="find_libpython")
    assert done.returncode == 1
    assert "--no-install-recommends libpython3.11'" in done.stderr
    assert not machine.stamp.exists()


def test_cpu_build_of_torch_is_taken_where_it_is_offered(machine: Machine) -> None:
    assert machine.setup("python").returncode == 0
    assert machine.asked("+cpu") == 1


def test_default_build_of_torch_is_taken_where_no_cpu_build_is_offered(machine: Machine) -> None:
    done = machine.setup("python", FAILS_AT="+cpu")
    assert done.returncode == 0
    assert "no CPU build of torch is offered" in done.stderr
    assert machine.asked("+cpu") == 2
    assert machine.asked("--requirement requirements.lock") == 1


def test_failing_pip_is_a_sentence_and_leaves_no_stamp(machine: Machine) -> None:
    done = machine.setup("python", FAILS_AT="--requirement")
    assert done.returncode == 1
    assert "pip could not install the pinned packages" in done.stderr
    assert not machine.stamp.exists()


def test_second_set_up_installs_nothing(machine: Machine) -> None:
    assert machine.setup("python").returncode == 0
    assert machine.stamp.exists()
    installs = machine.asked("install")
    assert installs > 0
    assert machine.setup("python").returncode == 0
    assert machine.asked("install") == installs


@pytest.mark.parametrize("signal_name", ["INT", "TERM", "KILL"])
@pytest.mark.parametrize("step", ["+cpu", "requirements.lock", "--editable"])
def test_interrupted_install_leaves_no_stamp_and_starts_afresh(machine: Machine, signal_name: str, step: str) -> None:
    assert machine.setup("python", STOPPED_AT=step, SIGNAL=signal_name).returncode != 0
    assert machine.log.read_text().splitlines()[-1].count(step) == 1  # nothing was tried after it
    assert (machine.root / ".venv").exists()
    assert not machine.stamp.exists()
    assert machine.setup("python").returncode == 0
    assert machine.stamp.exists()
    assert machine.asked("-m venv") == 2


def test_new_pins_update_the_same_venv(machine: Machine) -> None:
    assert machine.setup("python").returncode == 0
    installs = machine.asked("install")
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("one_more==1.0\n")
    assert machine.setup("python").returncode == 0
    assert machine.asked("install") == 2 * installs
    assert machine.asked("-m venv") == 1


def test_interrupted_update_leaves_no_stamp(machine: Machine) -> None:
    assert machine.setup("python").returncode == 0
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("one_more==1.0\n")
    assert machine.setup("python", STOPPED_AT="requirements.lock", SIGNAL="KILL").returncode != 0
    assert not machine.stamp.exists()


@pytest.mark.parametrize("lost", ["python", "twinor"])
def test_incomplete_venv_is_made_anew(machine: Machine, lost: str) -> None:
    assert machine.setup("python").returncode == 0
    (machine.root / ".venv/bin" / lost).unlink()
    assert machine.setup("python").returncode == 0
    assert (machine.root / ".venv/bin" / lost).exists()
    assert machine.asked("-m venv") == 2


def test_venv_that_lacks_a_pinned_package_is_made_anew(machine: Machine) -> None:
    with (machine.root / "requirements.lock").open("a") as lock:
        lock.write("never_installed==1.0\n")
    assert machine.setup("python").returncode == 0
    assert machine.setup("python").returncode == 0
    assert machine.asked("-m venv") == 2


def test_copied_repository_gets_its_own_venv(machine: Machine) -> None:
    assert machine.setup("python").returncode == 0
    copy = Machine(root=machine.root.with_name("copy"), bin=machine.bin, log=machine.log)
    shutil.copytree(machine.root, copy.root)
    assert copy.setup("python").returncode == 0
    assert machine.asked("-m venv") == 2
