"""Masks of pre-training: counts, order, and randomness that is passed in."""

from __future__ import annotations

import pytest
import torch

from mmret.errors import ModelFormatError
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_masking import TokenMask, column_run_mask, random_mask
from mmret.models.m2d_objectives import patchify, unpatchify
from mmret.models.m2d_pretraining import M2DForPreTraining


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_seeds_give_equal_masks_and_clips_get_masks_of_their_own():
    mask = random_mask((8, 20), 0.7, seeded(0))
    torch.testing.assert_close(mask.ids_restore, random_mask((8, 20), 0.7, seeded(0)).ids_restore)
    assert not torch.equal(mask.ids_restore, random_mask((8, 20), 0.7, seeded(1)).ids_restore)
    assert len({tuple(row.tolist()) for row in mask.hidden}) > 1
    assert mask.hidden.sum(dim=1).tolist() == [14] * 8


def test_visible_and_hidden_tokens_together_are_all_tokens_and_unshuffle_restores_them():
    mask = random_mask((2, 10), 0.5, seeded(0))
    tokens = torch.randn(2, 10, 3, generator=seeded(1))
    both = torch.cat([mask.visible_of(tokens), mask.hidden_of(tokens)], dim=1)
    torch.testing.assert_close(both, mask.shuffle(tokens))
    torch.testing.assert_close(mask.unshuffle(both), tokens)


@pytest.mark.parametrize("len_keep", [0, 4, 9])
def test_a_mask_that_hides_all_or_nothing_is_refused(len_keep):
    with pytest.raises(ValueError, match="hidden"):
        TokenMask(torch.arange(4)[None], len_keep)


def test_patches_go_back_to_the_log_mel_they_came_from():
    log_mel = torch.randn(2, 1, 80, 48, generator=seeded(0))
    torch.testing.assert_close(unpatchify(patchify(log_mel, (16, 4)), (16, 4), rows=5), log_mel)


def small(**changes) -> M2DForPreTraining:
    sizes = {"input_size": (80, 64), "embed_dim": 16, "depth": 1, "num_heads": 2}
    return M2DForPreTraining(M2DConfig(**sizes, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, **changes))


def test_a_step_without_mask_and_generator_is_refused():
    with pytest.raises(ValueError, match="generator"):
        small()(torch.zeros(1, 1, 80, 64))


def test_an_offline_task_without_its_target_or_with_another_length_is_refused():
    model = small(offline_task="distil", offline_dim=5)
    log_mel = torch.zeros(1, 1, 80, 64)
    with pytest.raises(ValueError, match="offline_target"):
        model(log_mel, generator=seeded(0))
    with pytest.raises(ValueError, match="time columns"):
        model(log_mel, generator=seeded(0), offline_target=torch.zeros(1, 3, 5))


def test_a_shorter_crop_trains_too():
    model = small(prediction_target="pixels", token_loss="mse")
    assert model(torch.randn(2, 1, 80, 48), generator=seeded(0)).loss.isfinite()


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    model = small()
    log_mel = torch.randn(8, 1, 80, 64, generator=seeded(0))
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=3e-3)
    losses = []
    for step in range(30):
        loss = model(log_mel, generator=seeded(step)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.update_target(0.999)
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize("run", [1, 3, 50])
def test_runs_hide_whole_columns_and_exactly_so_many(run: int):
    mask = column_run_mask((20, 5, 13), 0.7, run, torch.Generator().manual_seed(1))
    hidden = mask.hidden.unflatten(1, (5, 13))
    assert (hidden == hidden[:, :1]).all()
    assert (hidden[:, 0].sum(dim=1) == int(13 * 0.7)).all()
    assert mask.len_keep == 5 * (13 - 9)
    # hidden and visible tokens keep their order
    assert (mask.ids_shuffle[:, : mask.len_keep].diff(dim=1) > 0).all()


def test_longer_runs_leave_fewer_borders():
    def borders(run: int) -> float:
        hidden = column_run_mask((200, 1, 60), 0.5, run, torch.Generator().manual_seed(2)).hidden
        return float(hidden.int().diff(dim=1).abs().sum(dim=1).float().mean())

    assert borders(10) < borders(4) < borders(1)


def test_a_configuration_with_runs_masks_columns():
    config = M2DConfig(input_size=(80, 160), embed_dim=16, depth=1, num_heads=2, decoder_depth=1, mask_run=2)
    hidden = M2DForPreTraining(config)(torch.zeros(2, 1, 80, 160), generator=seeded(0)).hidden.unflatten(1, (5, 10))
    assert (hidden == hidden[:, :1]).all() and int(hidden[0, 0].sum()) == 7


def test_target_layers_are_averaged_before_the_norm():
    config = M2DConfig(input_size=(80, 64), embed_dim=16, depth=3, num_heads=2, decoder_depth=1)
    model = M2DForPreTraining(config)
    tokens = torch.randn(2, 6, 16, generator=seeded(1))
    with torch.no_grad():
        first = model.target_blocks[0](model.with_cls(tokens))
        third = model.target_blocks[2](model.target_blocks[1](first))
    model.config.target_layers = (0, 2)
    torch.testing.assert_close(model.target_encode(tokens), (first + third) / 2)


def test_target_layers_that_are_not_there_are_refused():
    with pytest.raises(ModelFormatError, match="blocks are 0 to 1"):
        M2DConfig(depth=2, target_layers=(2,))
