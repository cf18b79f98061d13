"""Formats that libsndfile does not read go through ffmpeg, as a stand-in here and the real one where it is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mmret.audio.decode import DecodeLimits, decode, decode_blocks
from mmret.errors import AudioError
from tests.audio.sounds import wave, write

RATE = 16_000
REAL = shutil.which("ffmpeg")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file with a name that only ffmpeg's formats have."""
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    return tmp_path / "song.m4a"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Samples as ffmpeg hands them out, over more than one block."""
    path = tmp_path / "sound.f32"
    path.write_bytes(wave(9.0, RATE)[:, 0].astype("<f4").tobytes())
    return path


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Put a program called ffmpeg first on PATH."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".AAC", ".mp4"])
def test_without_ffmpeg_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"song{suffix}"
    path.write_bytes(b"sound")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"needs ffmpeg, which is not installed \(Debian: apt install ffmpeg\)"):
        decode(path, RATE)


def test_samples_come_as_ffmpeg_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path, sound: Path
) -> None:
    stand_in(monkeypatch, tmp_path, f'echo "$@" > {tmp_path}/words\ncat {sound}')
    np.testing.assert_array_equal(decode(recording, RATE), np.fromfile(sound, "<f4"))
    words = (tmp_path / "words").read_text()
    assert f"-i file:{recording} " in words
    assert "-protocol_whitelist file,pipe -format_whitelist aac," in words
    assert "-ac 1 -ar 16000 -f f32le -" in words


@pytest.mark.timeout(20)
def test_a_flood_of_messages_does_not_stop_the_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path, sound: Path
) -> None:
    stand_in(monkeypatch, tmp_path, f"head -c 1000000 /dev/zero >&2\ncat {sound}")
    assert len(decode(recording, RATE)) == 9 * RATE


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[mov @ 0x1234] no sound here' >&2; exit 1", "cannot be decoded by ffmpeg: no sound here"),
        ("exit 0", "cannot be decoded by ffmpeg: no sound in it"),
        ("cat SOUND; exit 69", "cannot be decoded by ffmpeg: exit code 69"),
        ("cat SOUND; echo '[webm @ 0x12] [x @ 0x3] File ended prematurely' >&2", "truncated: File ended prematurely"),
        ("cat SOUND; echo 'stream 0, offset 0x9: partial file' >&2", "truncated: stream 0, offset 0x9: partial file"),
        ("head -c 64000 /dev/zero", "silent: no sample above 1e-06"),
    ],
)
def test_what_ffmpeg_complains_about_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path, sound: Path, script: str, reason: str
) -> None:
    stand_in(monkeypatch, tmp_path, script.replace("SOUND", str(sound)))
    with pytest.raises(AudioError) as raised:
        decode(recording, RATE)
    assert (raised.value.path, raised.value.reason) == (recording, reason)


@pytest.mark.timeout(20)
def test_an_endless_child_is_stopped_by_the_budget_and_by_a_reader_that_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Path
) -> None:
    stand_in(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid\nexec cat /dev/zero")
    with pytest.raises(AudioError, match="over the limit of 30 s"):
        decode(recording, RATE, limits=DecodeLimits(max_seconds=30))
    blocks = decode_blocks(recording, RATE)
    next(blocks)
    blocks.close()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


@pytest.mark.skipif(REAL is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".mkv", "flac"), (".mov", "alac")])
def test_the_real_ffmpeg_reads_its_formats(tmp_path: Path, suffix: str, codec: str) -> None:
    source = write(tmp_path / "source.wav", wave(2.0, 44_100, 2), 44_100, "WAV", "PCM_16")
    path = source.with_suffix(suffix)
    subprocess.run([str(REAL), "-v", "error", "-nostdin", "-i", source, "-c:a", codec, path], check=True, timeout=60)
    expected, samples = decode(source, RATE), decode(path, RATE)
    shortest = min(len(expected), len(samples))
    assert shortest == pytest.approx(2 * RATE, abs=RATE // 10)
    assert np.corrcoef(expected[:shortest], samples[:shortest])[0, 1] > 0.99
    (tmp_path / "list.m4a").write_text(f"ffconcat version 1.0\nfile {source}\n")
    with pytest.raises(AudioError, match="cannot be decoded by ffmpeg"):
        decode(tmp_path / "list.m4a", RATE)
