"""Nothing that mmret loads tells its makers about its use: no file in the user's home, no look at the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmret import _telemetry
from tests.conftest import ROOT

SAMPLES = [ROOT / "mmret" / "samples" / f"{name}.ogg" for name in ("rain", "cat")]
RUNTIMES = ["onnx"] + ["openvino"] * (find_spec("openvino") is not None)
OFFLINE = """
import os, sys
def refuse(event, facts):
    if event.startswith("socket.") and event != "socket.gethostname":
        os.write(2, f"{event} {facts}".encode())
        os._exit(99)
sys.addaudithook(refuse)
from mmret.cli import main
main()
"""


def run(home: Path, *words: str | Path, before: tuple[str, ...] = ()) -> None:
    """A command line or a program of Python as a new user runs it, without what may be set here."""
    home.mkdir(exist_ok=True)
    hidden = ("XDG_", "ORT_", "HF_", "DO_NOT_TRACK", "DISABLE_TELEMETRY", "CI")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    command = [*before, sys.executable, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def files_below(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_indexing_and_searching_write_nothing_to_the_home_and_open_no_socket(runtime: str, tmp_path: Path) -> None:
    home, index = tmp_path / "home", tmp_path / "index"
    run(home, "-c", OFFLINE, "index", *SAMPLES, "--to", index, "--runtime", runtime)
    run(home, "-c", OFFLINE, "search", index, "rain")
    assert files_below(home) == []


def test_a_setting_that_asks_for_reports_changes_nothing(tmp_path: Path) -> None:
    code = (
        "import os; os.environ.update(ORT_DISABLE_TELEMETRY='0', HF_HUB_DISABLE_TELEMETRY='0')\n"
        "import mmret._telemetry; mmret._telemetry.onnxruntime()\n"
        "import huggingface_hub.constants\n"
        "assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY\n"
    )
    run(tmp_path / "home", "-c", code)
    assert files_below(tmp_path / "home") == []


@pytest.mark.skipif("openvino" not in RUNTIMES, reason="OpenVINO is an extra")
def test_the_reporter_of_openvino_stays_what_it_was_for_others(tmp_path: Path) -> None:
    code = (
        "import sys, types\n"
        "theirs = sys.modules['openvino_telemetry'] = types.ModuleType('openvino_telemetry')\n"
        "from mmret import _telemetry\n"
        "assert _telemetry.openvino().Core\n"
        "assert sys.modules['openvino_telemetry'] is theirs\n"
    )
    run(tmp_path / "home", "-c", code)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace tells what native code does, and is not installed")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_native_code_connects_to_nothing(runtime: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = (
        "import sys, time\n"
        "from mmret import Encoder\n"
        f"encoder = Encoder.from_pretrained('mmret-mini', runtime={runtime!r})\n"
        f"encoder.encode_audio([{str(SAMPLES[0])!r}]), encoder.encode_text(['rain'])\n"
        "time.sleep(11)\n"  # ONNX Runtime uploads after nine seconds
    )
    before = ("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=connect,sendto,fork,vfork")
    run(tmp_path / "home", "-c", code, before=before)
    assert not [line for line in trace.read_text().splitlines() if re.search(r"\b(connect|sendto)\(", line)]


def test_onnxruntime_and_openvino_are_loaded_in_one_place() -> None:
    loads = re.compile(
        r"^\s*(import|from) (onnxruntime|openvino)\b(?!\.quantization)|require\(\"openvino\"", re.MULTILINE
    )
    found = {path.name for path in (ROOT / "mmret").rglob("*.py") if loads.search(path.read_text(encoding="utf-8"))}
    assert found == {Path(_telemetry.__file__).name}
