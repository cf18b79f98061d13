"""mmret.json: what is written is read again, and what is damaged is refused in words."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mmret.audio.logmel import LogMelConfig
from mmret.encoder.manifest import FILE_NAME, MAX_BYTES, FileDigest, Manifest, file_digest, read_manifest
from mmret.errors import ModelFormatError


@pytest.fixture
def manifest() -> Manifest:
    files = {"model.safetensors": FileDigest("a" * 64, 10), "audio.onnx": FileDigest("b" * 64, 20)}
    return Manifest("tiny", 16, 16_000, 2.0, 1.0, 0, LogMelConfig(), 12, files)


def test_a_written_manifest_reads_back_equal(tmp_path, manifest):
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest


def test_the_fingerprint_follows_weights_and_windows_but_neither_the_name_nor_the_graphs(manifest):
    def changed(**changes: object) -> str:
        return dataclasses.replace(manifest, **changes).fingerprint

    assert changed(name="other") == manifest.fingerprint
    assert changed(files=manifest.files | {"audio.onnx": FileDigest("c" * 64, 20)}) == manifest.fingerprint
    assert changed(files=manifest.files | {"model.safetensors": FileDigest("c" * 64, 10)}) != manifest.fingerprint
    assert changed(hop_s=0.5) != manifest.fingerprint
    assert changed(log_mel=LogMelConfig(f_min=60.0)) != manifest.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"dim": 0},
        {"dim": 16.5},
        {"dim": "16"},
        {"name": 3},
        {"sample_rate": 10**9},
        {"window_s": float("nan")},
        {"window_s": 1e9, "hop_s": 1e9},
        {"hop_s": 3.0},
        {"min_samples": -1},
        {"max_tokens": 0},
        {"files": []},
        {"files": {"audio.onnx": {"sha256": "b"}}},
        {"files": {"../audio.onnx": {"sha256": "b", "bytes": 1}}},
        {"files": {"/etc/passwd": {"sha256": "b", "bytes": 1}}},
        {"files": {"graphs/../../audio.onnx": {"sha256": "b", "bytes": 1}}},
        {"log_mel": {}},
        {"log_mel": {"n_mels": 10**6}},
        {"log_mel": {"f_max": 1e6}},
        {"log_mel": {"unknown": 1}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_refused_by_name(tmp_path, manifest, change):
    facts = manifest.as_dict()
    if "log_mel" in change:
        change = {"log_mel": facts["log_mel"] | change["log_mel"] if change["log_mel"] else {"n_fft": "400"}}
    (tmp_path / FILE_NAME).write_text(json.dumps(facts | change))
    with pytest.raises(ModelFormatError, match=FILE_NAME):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '"a"', "[" * 100_000, "\ud800"], ids=range(6))
def test_a_file_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / FILE_NAME).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelFormatError, match=FILE_NAME):
        read_manifest(tmp_path)


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ModelFormatError, match="larger than"):
        read_manifest(tmp_path)


def test_only_the_listed_bytes_of_a_file_pass(tmp_path, manifest):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"0123456789")
    listed = dataclasses.replace(manifest, files={path.name: file_digest(path)})
    assert listed.verified(tmp_path, path.name) == path
    for content in (b"0123456788", b"012345678", b"0123456789\n"):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors is missing or is not the file"):
            listed.verified(tmp_path, path.name)
    path.unlink()
    with pytest.raises(ModelFormatError, match="missing"):
        listed.verified(tmp_path, path.name)
    with pytest.raises(ModelFormatError, match="does not list"):
        listed.verified(tmp_path, "other.bin")
