"""The numbers that the source notebook printed, and the three traps in it, as facts."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import (
    ViT,
    add_position,
    image2emb_conv,
    image2emb_naive,
    image2patches,
    kernel2weight,
    prepend_cls,
    split_cls,
    weight2kernel,
)

# The source's constants: one image of 3 x 8 x 8, patch_size 4, model_dim 8, max_num_token 16, 10 classes.
PATCH_SIZE, MODEL_DIM, MAX_NUM_TOKEN, NUM_CLASSES = 4, 8, 16, 10
HALF_A_DIGIT = 0.5e-4  # it printed four decimals

# Step 1, printed twice, once by image2emb_naive and once by image2emb_conv.
PATCHES = torch.tensor(
    [
        [4.0152, 1.2908, -0.6719, 4.3084, 8.2290, 7.2539, -0.7970, 0.5109],
        [-3.3614, -5.3569, -0.3916, 6.0683, 4.3965, -13.0564, 7.3109, -11.3383],
        [-9.2427, -5.5954, 2.7279, 4.6565, -6.5556, 4.1334, 1.7786, 4.3553],
        [8.1741, 0.5207, -2.3741, 11.8238, -6.7830, 2.6585, -0.2237, 13.3919],
    ],
    dtype=torch.float64,
)[None]
# Step 2: the row that came to stand in front of them.
CLS_TOKEN = torch.tensor(
    [-0.2484, 1.4410, 0.1289, -0.1829, 1.1918, -0.3986, -0.3584, 1.8053], dtype=torch.float64
)[None, None]
# Step 3: with the position embedding.
WITH_POSITION = torch.tensor(
    [
        [0.9585, 4.2727, -0.4708, 0.5940, 1.1600, -0.3619, -1.0689, 0.5173],
        [6.4486, 1.2571, 0.5272, 4.1966, 8.2855, 6.6908, -0.7029, 1.8371],
        [-3.8875, -6.2062, -0.1072, 6.3478, 2.7142, -11.3760, 8.5360, -10.9376],
        [-9.0394, -6.0852, 1.3953, 3.9682, -8.1176, 3.6017, 1.8497, 5.1600],
        [9.4518, 0.7019, -2.4703, 11.5458, -7.5297, 2.9255, -0.3044, 13.1077],
    ],
    dtype=torch.float64,
)[None]
# Step 4: what its encoder gave.
ENCODED = torch.tensor(
    [
        [-0.8060, -1.7401, 1.5659, -0.1192, 1.2076, -0.4879, 0.3993, -0.0196],
        [-1.0634, -1.1550, -0.4834, -0.2341, 2.2232, -0.0312, 0.2568, 0.4870],
        [-0.5729, 0.5682, -0.2679, 1.7192, -1.7254, -0.8179, 0.3561, 0.7406],
        [-0.7607, 0.3504, 1.0961, 1.4312, -1.3287, -1.4237, 0.1522, 0.4831],
        [-0.6054, 0.4418, 0.0546, 1.5891, -1.8297, -0.6505, -0.0654, 1.0653],
    ],
    dtype=torch.float64,
)[None]
# Step 5.
LOGITS = torch.tensor(
    [[-0.3001, -0.6782, -0.6632, -0.0236, -1.0029, -0.1697, 0.6739, -0.6440, 0.3561, 0.6160]],
    dtype=torch.float64,
)
LABEL, LOSS = torch.tensor([6]), 1.6000


def test_step_1_naive_and_conv_both_give_what_it_printed():
    # It did not print its image and weight. For any image there are weights that give these embeddings.
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    weight = torch.linalg.lstsq(image2patches(image, PATCH_SIZE)[0], PATCHES[0]).solution
    assert weight.shape == (48, MODEL_DIM)  # the size that it printed
    naive = image2emb_naive(image, PATCH_SIZE, weight)
    conv = image2emb_conv(image, weight2kernel(weight, 3, PATCH_SIZE), PATCH_SIZE)
    torch.testing.assert_close(naive, PATCHES, atol=1e-12, rtol=0)
    torch.testing.assert_close(conv, PATCHES, atol=1e-12, rtol=0)


def test_step_1_is_the_computation_of_the_source():
    image, weight = torch.randn(1, 3, 8, 8, dtype=torch.float64), torch.randn(48, 8, dtype=torch.float64)
    unfolded = F.unfold(image, kernel_size=PATCH_SIZE, stride=PATCH_SIZE).transpose(-1, -2) @ weight
    kernel = weight.transpose(0, 1).reshape(-1, 3, PATCH_SIZE, PATCH_SIZE)
    torch.testing.assert_close(image2emb_naive(image, PATCH_SIZE, weight), unfolded, atol=1e-12, rtol=0)
    assert torch.equal(weight2kernel(weight, 3, PATCH_SIZE), kernel)
    assert torch.equal(kernel2weight(kernel), weight)


def test_step_2_puts_the_class_token_in_front():
    with_cls = prepend_cls(PATCHES, CLS_TOKEN)
    assert with_cls.shape == (1, 5, MODEL_DIM)
    cls, patches = split_cls(with_cls)
    assert torch.equal(cls, CLS_TOKEN[0])
    assert torch.equal(patches, PATCHES)


def test_step_3_minus_step_2_is_a_position_table():
    with_cls = prepend_cls(PATCHES, CLS_TOKEN)
    table = torch.cat([WITH_POSITION[0] - with_cls[0], torch.randn(11, MODEL_DIM, dtype=torch.float64)])
    assert len(table) == MAX_NUM_TOKEN
    torch.testing.assert_close(add_position(with_cls, table), WITH_POSITION, atol=1e-12, rtol=0)
    # It drew the table with torch.randn, and the tokens are many times as large.
    assert table[:5].abs().max() < 4
    assert table[:5].std().item() == pytest.approx(1, abs=0.3)
    assert PATCHES.std() > 5


def test_step_4_ends_with_a_fresh_layer_norm():
    assert ENCODED.mean(dim=-1).abs().max() < HALF_A_DIGIT
    torch.testing.assert_close(
        ENCODED.var(dim=-1, unbiased=False), torch.ones(1, 5, dtype=torch.float64), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(F.layer_norm(ENCODED, (MODEL_DIM,)), ENCODED, atol=2e-4, rtol=0)


def test_step_5_its_loss_follows_from_its_logits_and_label():
    assert F.cross_entropy(LOGITS, LABEL).item() == pytest.approx(LOSS, abs=2 * HALF_A_DIGIT)
    by_hand = LOGITS.exp().sum().log() - LOGITS[0, 6]
    assert by_hand.item() == pytest.approx(LOSS, abs=2 * HALF_A_DIGIT)


def test_our_model_of_its_size_has_its_shapes_step_by_step():
    model = ViT(image_size=8, patch_size=4, dim=8, depth=6, num_heads=8, mlp_dim=32, num_classes=10)
    trace = model.trace(torch.randn(1, 3, 8, 8))
    assert trace.patches.shape == PATCHES.shape
    assert trace.with_cls.shape == trace.with_position.shape == WITH_POSITION.shape
    assert trace.attention.shape == (1, 6, 8, 5, 5)
    assert trace.encoded.shape == ENCODED.shape
    assert trace.logits.shape == LOGITS.shape


def encoder_of_the_source(**options):
    layer = nn.TransformerEncoderLayer(d_model=MODEL_DIM, nhead=8, **options)
    return nn.TransformerEncoder(layer, num_layers=6, enable_nested_tensor=False).double().eval()


def movement_of_cls(encoder, place=3):
    """How far the output of the first token moves when another one is changed by 10."""
    moved = WITH_POSITION.clone()
    moved[0, place] += 10
    with torch.no_grad():
        return (encoder(moved)[0, 0] - encoder(WITH_POSITION)[0, 0]).abs().max().item()


def test_trap_1_its_encoder_never_mixes_the_patches():
    assert movement_of_cls(encoder_of_the_source()) == 0.0
    assert movement_of_cls(encoder_of_the_source(batch_first=True)) > 0.5
    # The weights are not to blame: the same ones mix as soon as the axes are what the layer takes them for.
    sequence_first = encoder_of_the_source()
    batch_first = encoder_of_the_source(batch_first=True)
    batch_first.load_state_dict(sequence_first.state_dict())
    assert movement_of_cls(batch_first) > 0.5


def test_trap_1_is_not_in_our_model():
    model = ViT(image_size=8, patch_size=4, dim=8, depth=6, num_heads=8, mlp_dim=32, num_classes=10)
    image = torch.randn(1, 3, 8, 8)
    moved = image.clone()
    moved[..., 4:, :4] += 10
    assert (model.trace(moved).encoded[0, 0] - model.trace(image).encoded[0, 0]).abs().max() > 0.1


@pytest.mark.usefixtures("doors_only")
def test_trap_2_one_class_token_for_each_image_is_refused():
    batch = PATCHES.expand(4, -1, -1)
    one_each = torch.randn(4, 1, MODEL_DIM, dtype=torch.float64)
    assert torch.cat([one_each, batch], dim=1).shape == (4, 5, 8)  # torch.cat sees nothing wrong
    with pytest.raises(ValueError, match="cls_token copies 4 is not 1: one vector serves all images"):
        prepend_cls(batch, one_each)


def test_trap_3_adding_in_place_changes_what_others_hold():
    step_2 = prepend_cls(PATCHES, CLS_TOKEN)
    kept, position = step_2.clone(), torch.randn(MAX_NUM_TOKEN, MODEL_DIM, dtype=torch.float64)
    assert torch.equal(add_position(step_2, position), kept + position[:5])
    assert torch.equal(step_2, kept)
    step_2 += position[:5]
    assert not torch.equal(step_2, kept)


def test_trap_3_sixteen_rows_cannot_hold_seventeen_tokens():
    tokens = prepend_cls(
        torch.randn(1, 16, MODEL_DIM), torch.randn(1, 1, MODEL_DIM)
    )  # 8 x 8 with patch size 2
    table = torch.randn(MAX_NUM_TOKEN, MODEL_DIM)
    with pytest.raises(ValueError, match="number of tokens 17 is more than table max_num_token 16"):
        add_position(tokens, table)
    with pytest.raises(RuntimeError, match="must match the size"):  # what torch says of it
        tokens + torch.tile(table[:17], [1, 1, 1])


def test_its_encoder_is_not_the_one_of_the_paper():
    layer = nn.TransformerEncoderLayer(d_model=MODEL_DIM, nhead=8)
    assert layer.norm_first is False
    assert layer.activation is F.relu
    assert layer.linear1.out_features == 2048
    assert layer.dropout.p == 0.1
    twice = [copy.deepcopy(layer).train()(torch.ones(1, 5, 8)) for _ in range(2)]
    assert not torch.equal(*twice)  # dropout is switched on
