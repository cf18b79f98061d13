"""Any file becomes mono samples at the model's rate, or an AudioError that names it and says why."""

from __future__ import annotations

import os
import re
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mmret.audio.decode import BLOCK_FRAMES, DecodeLimits, decode, decode_blocks
from mmret.errors import AudioError
from tests.audio.sounds import FORMATS, LOSSLESS, cut, wave, write

RATE = 16_000
DEFAULTS = DecodeLimits()


def refusal(path: Path, limits: DecodeLimits = DEFAULTS) -> str:
    """Reason that decoding gives for refusing a file; its message names the file."""
    with pytest.raises(AudioError) as raised:
        decode(path, RATE, limits=limits)
    assert raised.value.path == path
    assert str(raised.value) == f"{path}: {raised.value.reason}"
    return raised.value.reason


@pytest.mark.parametrize(("name", "file_format", "subtype", "rate"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_of_libsndfile_is_the_mean_of_its_channels_resampled_at_high_quality(
    tmp_path: Path, name: str, file_format: str, subtype: str, rate: int, channels: int
) -> None:
    path = write(tmp_path / name, wave(1.7, rate, channels), rate, file_format, subtype)
    samples = decode(path, RATE)
    mean = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, soxr.resample(mean, rate, RATE, "HQ"))


@pytest.mark.parametrize(("name", "file_format", "subtype", "rate"), [row for row in FORMATS if row[2] in LOSSLESS])
def test_lossless_files_give_back_what_was_written(
    tmp_path: Path, name: str, file_format: str, subtype: str, rate: int
) -> None:
    written = wave(0.5, rate)
    path = write(tmp_path / name, written, rate, file_format, subtype)
    np.testing.assert_allclose(decode(path, rate), written[:, 0], atol=LOSSLESS[subtype])


@pytest.mark.parametrize("channels", [2, 3, 6])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_channels_are_mixed_to_their_mean(tmp_path: Path, channels: int, subtype: str) -> None:
    path = write(tmp_path / "many.wav", wave(0.3, RATE, channels), RATE, "WAV", subtype)
    expected = soundfile.read(path)[0].mean(axis=1)
    np.testing.assert_allclose(decode(path, RATE), expected, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("target", [16_000, 32_000])
def test_resampling_is_soxr_at_high_quality_whatever_the_blocks(tmp_path: Path, rate: int, target: int) -> None:
    samples = wave(6.1, rate)
    path = write(tmp_path / "long.wav", samples, rate, "WAV", "FLOAT")
    assert len(samples) % BLOCK_FRAMES
    np.testing.assert_array_equal(decode(path, target), soxr.resample(samples[:, 0], rate, target, "HQ"))


def test_blocks_joined_are_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "stereo.flac", wave(7.0, 44_100, 2), 44_100, "FLAC", "PCM_16")
    blocks = list(decode_blocks(path, RATE))
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate(blocks), decode(path, RATE))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path = write(tmp_path / f"{seconds}.flac", wave(1.0, 8_000).repeat(seconds, 0), 8_000, "FLAC", "PCM_16")
        tracemalloc.start()
        for _ in decode_blocks(path, RATE):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(120) < 1.1 * peak(30)


def open_files() -> int:
    """Descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_is_read_up_to_where_the_reader_stops(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", wave(10.0, 44_100), 44_100, "WAV", "PCM_16")
    before = open_files()
    blocks = decode_blocks(path, RATE)
    next(blocks)
    blocks.close()
    assert open_files() == before


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (DecodeLimits(max_bytes=1000), "over the limit of 1000 (max_bytes)"),
        (DecodeLimits(max_seconds=1.0), "2 s long, over the limit of 1 s (max_seconds)"),
        (DecodeLimits(max_channels=2), "3 channels, over the limit of 2 (max_channels)"),
        (DecodeLimits(min_rate_hz=48_000), "sampling rate 44100 Hz is outside 48000-768000 Hz"),
        (DecodeLimits(max_rate_hz=22_050), "sampling rate 44100 Hz is outside 1000-22050 Hz"),
    ],
)
def test_what_is_over_a_budget_is_refused_by_its_header(tmp_path: Path, limits: DecodeLimits, told: str) -> None:
    path = write(tmp_path / "large.wav", wave(2.0, 44_100, 3), 44_100, "WAV", "PCM_16")
    assert told in refusal(path, limits)


def test_a_length_that_no_header_tells_is_counted_against_the_budget(tmp_path: Path) -> None:
    path = uncounted_mp3(tmp_path / "long.mp3", seconds=4)
    assert refusal(path, DecodeLimits(max_seconds=2.0)) == "over the limit of 2 s (max_seconds)"


def test_hours_in_a_few_bytes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "hours.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(120):
            file.write(np.zeros((60 * 8_000, 1), np.int16))
    assert path.stat().st_size < 2**20
    assert "7200 s long" in refusal(path, DecodeLimits(max_seconds=3_600))


def silence(path: Path, seconds: int) -> Path:
    """Eight channels of nothing, as FLAC."""
    with soundfile.SoundFile(path, "w", 48_000, 8, "PCM_16", format="FLAC") as file:
        for _ in range(seconds):
            file.write(np.zeros((48_000, 8), np.int16))
    return path


def test_gigabytes_in_715_kb_are_refused_in_under_a_second(tmp_path: Path) -> None:
    path = silence(tmp_path / "bomb.flac", 1_800)
    assert path.stat().st_size < 720_000
    assert soundfile.info(path).frames * 8 * 4 > 2.5e9
    started_s = time.perf_counter()
    assert "over the limit of 2000 times (max_expansion)" in refusal(path)
    assert time.perf_counter() - started_s < 1


def test_what_unpacks_is_counted_where_no_header_tells_how_much(tmp_path: Path) -> None:
    path = silence(tmp_path / "bomb.flac", 60)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the length, 36 bits in the block that describes the stream
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert "would unpack to 69206016 and more" in refusal(path)  # one block more than 64 MiB
    assert "silent" in refusal(path, DecodeLimits(max_expansion=5_000))


def test_an_empty_file_and_a_file_without_samples_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / "empty.wav") == "empty file"
    assert refusal(write(tmp_path / "none.wav", wave(0, RATE), RATE, "WAV", "PCM_16")) == "empty: no samples"
    short = write(tmp_path / "short.wav", wave(1, 44_100)[:1], 44_100, "WAV", "PCM_16")
    assert refusal(short) == "too short: not one sample at 16000 Hz"


@pytest.mark.parametrize(("name", "file_format", "subtype", "rate"), FORMATS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_truncated_file_is_refused(
    tmp_path: Path, name: str, file_format: str, subtype: str, rate: int, share: float
) -> None:
    path = cut(write(tmp_path / name, wave(2.0, rate, 2), rate, file_format, subtype), share)
    assert re.search("truncated|cannot be decoded", refusal(path))


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_silence_is_refused_and_a_whisper_is_not(tmp_path: Path, subtype: str) -> None:
    samples = np.zeros((RATE, 1), np.float32)
    assert refusal(write(tmp_path / "silent.wav", samples, RATE, "WAV", subtype)) == "silent: no sample above 1e-06"
    samples[RATE // 2] = 1e-4
    assert np.abs(decode(write(tmp_path / "whisper.wav", samples, RATE, "WAV", subtype), RATE)).max() > 5e-5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_many_samples_that_are_no_numbers_are_refused_and_a_few_are_zeros(tmp_path: Path, value: float) -> None:
    samples = wave(1.0, RATE)
    samples[:8_000] = value
    path = write(tmp_path / "half.wav", samples, RATE, "WAV", "FLOAT")
    assert refusal(path) == "8000 of 16000 samples are NaN or infinite"
    samples = wave(1.0, RATE)
    samples[100:120] = value
    decoded = decode(write(tmp_path / "few.wav", samples, RATE, "WAV", "FLOAT"), RATE)
    assert not decoded[100:120].any()
    np.testing.assert_array_equal(decoded[120:], samples[120:, 0])


def test_samples_far_over_full_scale_are_clipped(tmp_path: Path) -> None:
    samples = wave(1.0, RATE)
    samples[50:60] = [[1e6], [-1e6]] * 5
    decoded = decode(write(tmp_path / "loud.wav", samples, RATE, "WAV", "FLOAT"), RATE)
    assert (decoded.min(), decoded.max()) == (-16, 16)


@pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.flac", "text.ogg", "text.opus", "text.aiff", "text"])
def test_text_under_any_name_is_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("this is no sound\n" * 50)
    assert refusal(tmp_path / name) == "cannot be decoded: Format not recognised"
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert refusal(tmp_path / "pipe.wav") == "not a regular file"
    assert refusal(tmp_path) == "not a regular file"
    assert refusal(Path("/dev/null")) == "not a regular file"
    assert refusal(tmp_path / "missing.wav") == "no such file"
    assert "cannot be opened" in refusal(tmp_path / "loop.wav")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "secret.wav", wave(0.1, RATE), RATE, "WAV", "PCM_16")

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mmret.audio.decode.os.open", denied)  # chmod does not stop root
    assert refusal(path) == "cannot be opened: Permission denied"


@pytest.mark.parametrize("name", [b"bad\xff.wav", b"sound.raw", b"sound.mp3", b"sound", b"\xf0\x9f\x8e\xa7.wav"])
def test_a_name_proves_nothing_and_any_bytes_are_a_name(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write(tmp_path / "plain.wav", wave(0.2, RATE), RATE, "WAV", "PCM_16").rename(path)
    assert len(decode(path, RATE)) == 3_200


def uncounted_mp3(path: Path, *, seconds: int, tag_bytes: int = 0) -> Path:
    """An MP3 of noise and then a soft note at variable rate, without the header that counts its frames."""
    samples = np.concatenate([wave(seconds / 2, 44_100), 0.3 * wave(seconds / 2, 44_100)])
    samples[: len(samples) // 2] += 0.3 * np.random.default_rng(0).standard_normal((len(samples) // 2, 1))
    with soundfile.SoundFile(path, "w", 44_100, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(samples)
    data = path.read_bytes()
    start = data.index(b"Xing")
    size = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\x00\x00" + size + bytes(tag_bytes) if tag_bytes else b""
    path.write_bytes(tag + data[:start] + bytes(4) + data[start + 4 :])
    return path


@pytest.mark.parametrize("tag_bytes", [0, 500_000])
def test_an_mp3_that_does_not_count_its_frames_is_read_to_its_end(tmp_path: Path, tag_bytes: int) -> None:
    path = uncounted_mp3(tmp_path / "old.mp3", seconds=8, tag_bytes=tag_bytes)
    assert abs(soundfile.info(path).duration - 8) > 0.5  # libsndfile's estimate
    assert len(decode(path, RATE)) / RATE == pytest.approx(8, abs=0.1)


def test_joined_mp3s_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / f"{seed}.mp3", wave(3, 44_100, seed=seed), 44_100, "MP3", "MPEG_LAYER_III") for seed in (0, 1)
    ]
    path = tmp_path / "podcast.mp3"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(decode(path, RATE)) / RATE == pytest.approx(6, abs=0.2)
    tagged = tmp_path / "tagged.mp3"  # tags at the end are no reason to distrust the count
    tagged.write_bytes(parts[0].read_bytes() + b"TAG" + bytes(125))
    assert len(decode(tagged, RATE)) == 3 * RATE


def test_a_reader_may_leave_an_mp3_early(tmp_path: Path) -> None:
    path = uncounted_mp3(tmp_path / "old.mp3", seconds=30)
    before = threading.active_count(), open_files()
    blocks = decode_blocks(path, RATE)
    next(blocks)
    blocks.close()
    assert (threading.active_count(), open_files()) == before


@pytest.mark.timeout(20)
def test_a_process_forked_meanwhile_does_not_hold_an_mp3_open(tmp_path: Path) -> None:
    path = uncounted_mp3(tmp_path / "old.mp3", seconds=8)
    reading, writing = os.pipe()
    blocks = decode_blocks(path, RATE)
    next(blocks)
    child = os.fork()
    if child == 0:  # it has copies of all descriptors until it is told to end
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        assert sum(map(len, blocks)) > 6 * RATE
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


@pytest.mark.parametrize(("name", "file_format", "subtype", "rate"), FORMATS)
def test_damaged_bytes_give_samples_or_an_audio_error(
    tmp_path: Path, name: str, file_format: str, subtype: str, rate: int
) -> None:
    path = write(tmp_path / name, wave(0.5, rate, 2), rate, file_format, subtype)
    whole = path.read_bytes()
    generator = np.random.Generator(np.random.PCG64(0))
    for _ in range(40):
        damaged = bytearray(whole)
        reach = int(generator.choice([200, len(whole)]))  # half of the damage is in the header
        for place in generator.integers(0, min(reach, len(whole)), generator.integers(1, 7)):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            samples = decode(path, RATE)
        except AudioError as error:
            assert error.path == path
        else:
            assert len(samples) and np.isfinite(samples).all()
