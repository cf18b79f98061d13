"""Cut the sound of unpacked Debian packages and of ESC-50 into clips, tag them, and drop what must not be trained on.

    python train/mini/corpus.py WORK_DIR --esc50 ESC-50 --teacher TAGGER [--held-out FOLDER ...]

Writes WORK_DIR/clips.npz (int16 samples at 16 kHz one after another, with offsets, sources and the tagger's outputs).
Clips that sound like a held-out recording (ESC-50 fold 4, every folder of --held-out) are dropped: games and
ESC-50 both draw on Freesound, so the same recording can stand in both.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mmret.cli.script import run_script
from mmret.data.esc50 import read_esc50
from mmret.data.tagger import AudioSetTagger

RATE = 16_000
CLIP_S = 5.0
SUFFIXES = (".wav", ".ogg", ".oga", ".mp3", ".flac", ".aif", ".aiff")
CONTAINERS = (".zip", ".pk3", ".wz")
LEFT_OUT = re.compile(r"/(voice|voices|speech|waveforms)/", re.IGNORECASE)
MUSIC = re.compile(r"[/!](music|musics|soundtrack|tunes|songs)/", re.IGNORECASE)
# The same recordings as ESC-50 clips (found by comparing tagger embeddings, confirmed by their Freesound numbers).
SAME_AS_ESC50 = re.compile(r"simutrans.*tree-cutting\.wav|opensfx\.cat#(55|56)$")
CAPS = {"0ad-data": 1600}
CAP = 500
CAP_SPEECH = 80
CAP_MUSIC = 80
CAPS_MUSIC = {"fluid-soundfont-gm": 500}  # single notes of named instruments, not songs
NEAR_DUPLICATE = 0.9
SHIPPABLE = ("CC0", "CC-BY")


@dataclass(frozen=True)
class Clip:
    """A piece of at most five seconds and where it came from."""

    source: str
    name: str
    samples: NDArray[np.int16]
    target: int = -1
    fold: int = 0


def sound_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Every sound file of an unpacked package, those inside zip containers and sample banks too."""
    for path in sorted(package.rglob("*")):
        name, suffix = str(path.relative_to(package)), path.suffix.lower()
        if path.is_symlink() or not path.is_file() or LEFT_OUT.search("/" + name):
            continue
        if suffix in SUFFIXES:
            yield name, path.read_bytes()
        elif suffix in CONTAINERS:
            yield from _zip_members(path, name)
        elif path.name == "opensfx.cat":
            yield from _riff_members(path.read_bytes(), name)


def _zip_members(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            if member.lower().endswith(SUFFIXES) and not LEFT_OUT.search("/" + member):
                yield f"{name}!{member}", archive.read(member)


def _riff_members(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    start, number = data.find(b"RIFF"), 0
    while start >= 0:
        size = int.from_bytes(data[start + 4 : start + 8], "little") + 8
        yield f"{name}#{number}", data[start : start + size]
        start, number = data.find(b"RIFF", start + size), number + 1


def sound_font_notes(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Single notes of a SoundFont 2 bank at 16 kHz; a looped note is held for 2.5 s."""
    data = path.read_bytes()
    pool = np.frombuffer(data, "<i2", *_chunk(data, b"smpl", 2))
    count, offset = _chunk(data, b"shdr", 46)
    for i in range(count - 1):
        record = data[offset + 46 * i : offset + 46 * (i + 1)]
        start, stop, loop_start, loop_stop, rate = np.frombuffer(record, "<u4", 5, 20)
        if record[44] == 2:  # the right channel of a stereo pair: the left one was taken
            continue
        note = pool[start:stop].astype(np.float32) / 32768
        loop = pool[loop_start:loop_stop].astype(np.float32) / 32768
        if len(note) < 2 * rate and len(loop) > 200:
            repeats = int(2.5 * rate / len(loop)) + 1
            note = np.concatenate([note[: loop_stop - start], np.tile(loop, repeats)])[: int(2.5 * rate)]
            note[-int(0.1 * rate) :] *= np.linspace(1, 0, int(0.1 * rate), dtype=np.float32)
        if len(note) > 0.15 * rate:
            yield record[:20].split(b"\0")[0].decode("latin-1"), soxr.resample(note, rate, RATE)


def _chunk(data: bytes, tag: bytes, item_bytes: int) -> tuple[int, int]:
    at = data.find(tag)
    return int.from_bytes(data[at + 4 : at + 8], "little") // item_bytes, at + 8


def to_clips(wave: NDArray[np.float32]) -> list[NDArray[np.int16]]:
    """Up to 7.5 s: the first five seconds; longer: windows of five seconds at equal distances, at most six."""
    if len(wave) < 0.15 * RATE or np.abs(wave).max() < 0.003:
        return []
    size = int(CLIP_S * RATE)
    windows = 1 if len(wave) <= 1.5 * size else min(6, len(wave) // size)
    starts = [0] if windows == 1 else np.linspace(0, len(wave) - size, windows).astype(int)
    pieces = [wave[start : start + size] for start in starts]
    return [_int16(piece) for piece in pieces if np.abs(piece).max() >= 0.003]


def _int16(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def _decode(data: bytes) -> NDArray[np.float32] | None:
    try:
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    return soxr.resample(wave[: 120 * rate].mean(axis=1), rate, RATE)


def package_clips(package: Path) -> list[Clip]:
    """All clips of one unpacked package, byte-identical files once."""
    seen: set[bytes] = set()
    clips: list[Clip] = []
    for name, data in sound_files(package):
        digest = hashlib.sha256(data).digest()
        if digest in seen or SAME_AS_ESC50.search(f"{package.name}/{name}"):
            continue
        seen.add(digest)
        wave = _decode(data)
        if wave is not None:
            clips += [Clip(package.name, name, piece) for piece in to_clips(wave)]
    for bank in sorted(package.rglob("*.sf2")):
        if not bank.is_symlink():
            clips += [
                Clip(package.name, note, piece) for note, wave in sound_font_notes(bank) for piece in to_clips(wave)
            ]
    return clips


def esc50_clips(root: Path) -> list[Clip]:
    """CC0 and CC-BY clips of folds 1-3, digital silence cut from both ends."""
    clips = []
    for clip in read_esc50(root):
        if clip.fold in (1, 2, 3) and clip.licence in SHIPPABLE:
            wave = _decode(clip.path.read_bytes())
            loud = np.flatnonzero(np.abs(wave) > 0.001)
            if len(loud):
                clips.append(
                    Clip("esc50", clip.path.name, _int16(wave[loud[0] : loud[-1] + 1]), clip.target, clip.fold)
                )
    return clips


def tag(clips: list[Clip], tagger: AudioSetTagger) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (clips, 527) and embedding (clips, 384) of each clip."""
    answers = [tagger([soxr.resample(clip.samples.astype(np.float32) / 32768, RATE, 2 * RATE)]) for clip in clips]
    return np.concatenate([a.logits for a in answers]), np.concatenate([a.embedding for a in answers])


def within_caps(clips: list[Clip], logits: NDArray[np.float32], names: list[str], seed: int = 0) -> NDArray[np.bool_]:
    """Which clips of one package stay: at most 80 of speech, 80 of music, 500 in all."""
    package = clips[0].source
    sure = logits.max(axis=1) > np.log(0.3 / 0.7)
    first = np.where(sure, logits.argmax(axis=1), -1)
    kinds = np.select(
        [
            first == names.index("Speech"),
            (first == names.index("Music")) | [bool(MUSIC.search("/" + c.name)) for c in clips],
        ],
        ["speech", "music"],
        "other",
    )
    left = {"speech": CAP_SPEECH, "music": CAPS_MUSIC.get(package, CAP_MUSIC), "other": len(clips)}
    keep = np.zeros(len(clips), bool)
    # Effects come before music and speech, so that a package of many songs does not crowd them out.
    order = sorted(np.random.default_rng(seed).permutation(len(clips)), key=lambda i: kinds[i] != "other")
    for i in order:
        if left[kinds[i]] and keep.sum() < CAPS.get(package, CAP):
            keep[i] = True
            left[kinds[i]] -= 1
    return keep


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def held_out_embeddings(folders: list[Path], esc50: Path, tagger: AudioSetTagger) -> NDArray[np.float32]:
    """Unit embeddings of the recordings that the trained model is tested on."""
    paths = [clip.path for clip in read_esc50(esc50) if clip.fold == 4]
    paths += [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    waves = [_decode(path.read_bytes()) for path in paths]
    return _unit(np.concatenate([tagger([soxr.resample(wave, RATE, 2 * RATE)]).embedding for wave in waves]))


_TAGGER: AudioSetTagger


def _start_worker(teacher: Path) -> None:
    global _TAGGER
    _TAGGER = AudioSetTagger(teacher)


def _package_job(package: Path) -> tuple[list[Clip], NDArray[np.float32], NDArray[np.float32]] | None:
    clips = package_clips(package)
    if not clips:
        return None
    logits, embedding = tag(clips, _TAGGER)
    keep = within_caps(clips, logits, _TAGGER.class_names)
    print(f"{package.name}: {len(clips)} clips, {keep.sum()} kept", flush=True)
    return [clip for clip, kept in zip(clips, keep, strict=True) if kept], logits[keep], embedding[keep]


def save(path: Path, clips: list[Clip], logits: NDArray[np.float32], embedding: NDArray[np.float32]) -> None:
    """Write the corpus as one npz: samples, offsets and what is known of every clip."""
    np.savez(
        path,
        samples=np.concatenate([clip.samples for clip in clips]),
        offsets=np.cumsum([0] + [len(clip.samples) for clip in clips]),
        source=np.array([clip.source for clip in clips]),
        name=np.array([clip.name for clip in clips]),
        target=np.array([clip.target for clip in clips]),
        fold=np.array([clip.fold for clip in clips]),
        logits=logits.astype(np.float16),
        embedding=embedding.astype(np.float16),
    )


def main() -> None:
    """Build the corpus from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--esc50", type=Path, required=True, help="ESC-50 in its published layout")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the mn04 tagger")
    parser.add_argument("--held-out", type=Path, action="append", default=[], help="folder of test recordings")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    packages = sorted(path for path in (args.work_dir / "packages").iterdir() if path.suffix != ".part")
    packages.sort(key=lambda path: path.name != "0ad-data")  # the longest job first
    with ProcessPoolExecutor(args.workers, initializer=_start_worker, initargs=(args.teacher,)) as pool:
        jobs = list(pool.map(_package_job, packages))
    tagger = AudioSetTagger(args.teacher, threads=args.workers)
    esc = esc50_clips(args.esc50)
    parts = [job for job in jobs if job] + [(esc, *tag(esc, tagger))]
    clips = [clip for part in parts for clip in part[0]]
    logits, embedding = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
    held_out = held_out_embeddings(args.held_out, args.esc50, tagger)
    # ESC-50's own folds are disjoint by source file, so only the packages are compared with the held-out clips.
    keep = np.array([clip.source == "esc50" for clip in clips]) | (
        (_unit(embedding) @ held_out.T).max(axis=1) <= NEAR_DUPLICATE
    )
    kept = [clip for clip, good in zip(clips, keep, strict=True) if good]
    save(args.work_dir / "clips.npz", kept, logits[keep], embedding[keep])
    hours = sum(len(clip.samples) for clip in kept) / RATE / 3600
    summary = {
        "clips": len(kept),
        "esc50": len(esc),
        "near_duplicates_dropped": int((~keep).sum()),
        "hours": round(hours, 2),
    }
    (args.work_dir / "corpus.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    run_script(main)
