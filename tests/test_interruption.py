"""Ctrl-C at moments that make something else of its exception: the command ends in silence with 130 all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

# a job in the background of a script has the signal ignored, and so have these programs if the tests are such a job
LISTENING = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
INTERRUPTED_IMPORT = """
import builtins, os, signal, sys
load = builtins.__import__
def interrupted(name, *rest):
    if name == "typer":
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
    return load(name, *rest)
from mmret.__main__ import main
builtins.__import__ = interrupted
main()
"""
INTERRUPTED_COMPILED_MODULE = """
import os, signal, sys, time
from importlib.machinery import ExtensionFileLoader
load = ExtensionFileLoader.create_module
def create_module(self, spec):
    if "onnxruntime" in spec.name:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
    return load(self, spec)
ExtensionFileLoader.create_module = create_module
from mmret.__main__ import main
main()
"""
LOST_EXCEPTION = """
import os, signal
import mmret.cli
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
def run():
    dying = Dying()
    del dying
    for _ in range(10**8):
        pass
    print("went on")
mmret.cli.main = run
from mmret.__main__ import main
main()
"""
INTERRUPTED_STRING = """
import os, signal
import mmret.cli
mmret.cli.main = lambda: exec("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
from mmret.__main__ import main
main()
"""
STARTED = """
import os, sys
from mmret import _interruption
listen = _interruption.Interruption.listen
def started(self):
    listen(self)
    os.write(int(sys.argv.pop(1)), b"1")
_interruption.Interruption.listen = started
from mmret.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    recording = ROOT / "mmret" / "samples" / "rain.ogg"
    subprocess.run([sys.executable, "-m", "mmret", "index", recording, "--to", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "code", [INTERRUPTED_IMPORT, INTERRUPTED_COMPILED_MODULE, LOST_EXCEPTION, INTERRUPTED_STRING], ids=range(4)
)
def test_an_exception_that_was_made_into_another_or_lost_ends_with_130(code: str, index: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LISTENING + code)
    command = [sys.executable, "-m", "program", "search", str(index), "rain"]
    places = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ended = subprocess.run(command, capture_output=True, text=True, env=places, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_what_goes_wrong_without_an_interruption_is_told() -> None:
    code = "import mmret.cli\nmmret.cli.main = lambda: 1 / 0\nfrom mmret.__main__ import main\nmain()\n"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "ZeroDivisionError" in ended.stderr) == (1, True)


@pytest.mark.slow
def test_a_search_that_is_interrupted_at_any_moment_ends_in_silence(index: Path) -> None:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "mmret", "search", index, "rain"], check=True, capture_output=True)
    whole_s = time.monotonic() - begun
    ends = [_interrupted_after(whole_s * moment / 20, index) for moment in range(20)]
    assert {end for end in ends if end[0] != 0} == {(130, "")}, ends
    assert all(told == "" for _, told in ends)
    assert sum(code == 130 for code, _ in ends) >= 5


def _interrupted_after(wait_s: float, index: Path) -> tuple[int, str]:
    """Exit code and stderr of a search that gets SIGINT some time after its start."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", LISTENING + STARTED, str(writer), "search", str(index), "rain"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[writer]) as running:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        time.sleep(wait_s)
        running.send_signal(signal.SIGINT)
        told = running.communicate()[1]
    return running.returncode, told.decode()
