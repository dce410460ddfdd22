"""Step 3 against a plain-loop formula, transformers (MAE, DINOv3) and timm, on grids that are not square."""

# ruff: noqa: E501 (one line for each wrong input)
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from position_references import (
    resized_by_dinov2,
    resized_by_dpt,
    resized_by_google,
    resized_by_torchvision,
    resized_by_transformers,
    resized_with_registers,
)

from vit_steps import (
    add_position,
    attention_weights,
    patch_places,
    position_similarity,
    resize_position,
    rotary_angles,
    rotate,
    sincos_position,
)
from vit_steps.position_embedding import RESIZES

fixed_budget = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_each_token_gets_the_row_of_its_place():
    tokens, table = torch.randn(3, 5, 4), torch.randn(9, 4)
    added = add_position(tokens, table)
    for b in range(3):
        for t in range(5):
            assert torch.equal(added[b, t], tokens[b, t] + table[t])


def test_add_position_gives_a_new_tensor_also_when_the_table_fits_exactly():
    tokens, table = torch.randn(3, 5, 4), torch.randn(5, 4)
    before = tokens.clone(), table.clone()
    added = add_position(tokens, table)
    added += 1
    assert torch.equal(tokens, before[0])
    assert torch.equal(table, before[1])


def test_one_table_learns_from_all_images():
    tokens, table = torch.randn(3, 5, 4), torch.randn(9, 4, requires_grad=True)
    towards = torch.randn(3, 5, 4)
    (add_position(tokens, table) * towards).sum().backward()
    torch.testing.assert_close(table.grad[:5], towards.sum(dim=0))
    assert table.grad[5:].abs().max() == 0


def sincos_by_loops(rows, cols, dim, temperature):
    """The docstring's formula, one number at a time."""
    quarter = dim // 4
    table = torch.zeros(rows * cols, dim, dtype=torch.float64)
    for row in range(rows):
        for col in range(cols):
            for k in range(quarter):
                omega = temperature ** (-k / quarter)
                place = table[row * cols + col]
                place[k], place[quarter + k] = math.sin(col * omega), math.cos(col * omega)
                place[2 * quarter + k], place[3 * quarter + k] = math.sin(row * omega), math.cos(row * omega)
    return table


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 2), (14, 14)])
@pytest.mark.parametrize("dim", [4, 12, 64])
@pytest.mark.parametrize("temperature", [10_000.0, 100.0, 0.5])
@pytest.mark.usefixtures("_float64")
def test_sincos_is_what_the_formula_says(grid, dim, temperature):
    table = sincos_position(grid, dim, temperature=temperature)
    assert table.dtype == torch.float64
    torch.testing.assert_close(table, sincos_by_loops(*grid, dim, temperature), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("side", "dim"), [(2, 8), (7, 64), (14, 192)])
def test_sincos_is_the_table_of_mae(side, dim):
    from transformers import ViTMAEConfig
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEEmbeddings

    embeddings = ViTMAEEmbeddings(ViTMAEConfig(hidden_size=dim, image_size=2 * side, patch_size=2))
    embeddings.initialize_weights()  # inside a ViTMAEModel, transformers 5 leaves the table at zero
    expected = embeddings.position_embeddings[0, 1:]
    table = sincos_position((side, side), dim)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, expected.detach(), atol=1e-6, rtol=0)


def test_sincos_rounds_once_and_at_the_end():
    # 2,000 columns: an angle computed in float32 would be off by 1e-4.
    table = sincos_position((1, 2000), 64)
    exact = sincos_by_loops(1, 2000, 64, 10000.0)
    torch.testing.assert_close(table.double(), exact.double(), atol=1e-7, rtol=0)


def test_sincos_counts_row_by_row():
    table = sincos_position((2, 3), 8)
    assert table.shape == (6, 8)
    assert torch.equal(table[0, :4], table[3, :4])  # one column, two rows: the first half knows columns only
    assert torch.equal(table[0, 4:], table[2, 4:])  # one row, two columns
    assert not torch.allclose(table[0, :4], table[1, :4])
    assert not torch.allclose(table[0, 4:], table[3, 4:])


@pytest.mark.parametrize("num_prefix", [0, 1, 5])
@pytest.mark.parametrize(
    ("old_grid", "new_grid"),
    [
        ((4, 4), (6, 6)),
        ((4, 4), (2, 2)),
        ((3, 5), (7, 2)),
        ((2, 6), (6, 2)),
        ((1, 1), (3, 4)),
        ((8, 5), (5, 8)),
    ],
)
def test_resize_is_timms(old_grid, new_grid, num_prefix):
    from timm.layers import resample_abs_pos_embed

    table = torch.randn(num_prefix + old_grid[0] * old_grid[1], 12)
    expected = resample_abs_pos_embed(
        table[None], new_size=list(new_grid), old_size=list(old_grid), num_prefix_tokens=num_prefix
    )[0]
    resized = resize_position(table, old_grid, new_grid, num_prefix=num_prefix)
    assert torch.equal(
        resized, resize_position(table, old_grid, new_grid, num_prefix=num_prefix, like="timm")
    )
    assert resized.shape == (num_prefix + new_grid[0] * new_grid[1], 12)
    assert torch.equal(resized[:num_prefix], table[:num_prefix])
    torch.testing.assert_close(resized, expected, atol=1e-6, rtol=0)


LIKE = {
    "transformers": ("transformers", resized_by_transformers),
    "transformers, DINOv2 with registers": ("timm", resized_with_registers),
    "DINOv2": ("DINOv2", resized_by_dinov2),
    "transformers, DPT": ("DPT", resized_by_dpt),
    "torchvision": ("torchvision", resized_by_torchvision),
    "Google": ("Google", resized_by_google),
}


@pytest.mark.parametrize(("side", "new_grid"), [(4, (6, 6)), (37, (16, 16)), (7, (5, 5)), (5, (3, 8))])
@pytest.mark.parametrize("name", LIKE)
def test_resize_is_what_the_library_itself_does(name, side, new_grid):
    like, resized_by = LIKE[name]
    if name == "torchvision" and new_grid[0] != new_grid[1]:
        pytest.skip("torchvision's images are square")
    table = torch.randn(1 + side**2, 12)
    expected = resized_by(table, (side, side), new_grid)
    resized = resize_position(table, (side, side), new_grid, like=like)
    torch.testing.assert_close(resized, expected, atol=1e-5, rtol=0)  # of numbers up to about 4, in float32
    for other in set(RESIZES) - {like}:
        assert (resize_position(table, (side, side), new_grid, like=other) - expected).abs().max() > 0.01


@pytest.mark.usefixtures("doors_only")
def test_resize_knows_these_libraries():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        resize_position(TABLE, (4, 4), (6, 6), like="keras")
    known = "timm, transformers, DINOv2, DPT, torchvision, Google"
    assert str(caught.value) == f"like must be one of {known}, got 'keras'"


def test_resize_keeps_the_class_token_by_default():
    table = torch.randn(13, 4)
    torch.testing.assert_close(
        resize_position(table, (3, 4), (6, 5)),
        resize_position(table, (3, 4), (6, 5), num_prefix=1),
        atol=0,
        rtol=0,
    )


@fixed_budget
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2))
def test_resize_to_the_same_grid_changes_nothing(rows, cols, dim, num_prefix):
    table = torch.randn(num_prefix + rows * cols, dim, dtype=torch.float64)
    resized = resize_position(table, (rows, cols), (rows, cols), num_prefix=num_prefix)
    torch.testing.assert_close(resized, table, atol=1e-14, rtol=0)


def test_resize_keeps_a_slope_and_its_direction():
    # A table that says which column it is: bicubic interpolation keeps a straight line straight in the middle.
    cols = torch.arange(8, dtype=torch.float64).repeat(4)[:, None]
    resized = resize_position(cols, (4, 8), (4, 16), num_prefix=0).reshape(4, 16)
    expected = (torch.arange(16, dtype=torch.float64) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resized[:, 4:-4], expected[4:-4].expand(4, -1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_resize_takes_half_precision(dtype):
    table = torch.randn(13, 4).to(dtype)
    resized = resize_position(table, (3, 4), (6, 5))
    assert resized.dtype == dtype
    assert torch.equal(resized, resize_position(table.float(), (3, 4), (6, 5)).to(dtype))


def test_similarity_is_the_cosine():
    table = torch.randn(7, 5, dtype=torch.float64)
    similarity = position_similarity(table)
    expected = F.cosine_similarity(table[:, None], table[None], dim=-1)
    torch.testing.assert_close(similarity, expected, atol=1e-12, rtol=0)
    for i in range(7):
        for j in range(7):
            cosine = table[i] @ table[j] / (table[i].norm() * table[j].norm())
            assert abs(similarity[i, j] - cosine) < 1e-12
    torch.testing.assert_close(similarity.diagonal(), torch.ones(7, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_row_of_zeros_is_similar_to_nothing(dtype):
    table = torch.tensor([[3, 4], [0, 0]], dtype=dtype)
    assert position_similarity(table).tolist() == [[pytest.approx(1, abs=1e-2), 0], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_similarity_keeps_the_dtype_of_the_table(dtype):
    assert position_similarity(torch.randn(5, 8).to(dtype)).dtype == dtype


def test_similarity_does_not_depend_on_length():
    table, stretch = torch.randn(6, 5, dtype=torch.float64), torch.tensor([1e-6, 0.1, 1, 3, 50, 1e6])[:, None]
    torch.testing.assert_close(
        position_similarity(table * stretch), position_similarity(table), atol=1e-12, rtol=0
    )


def test_nothing_is_changed_in_place():
    table = torch.randn(13, 4)
    before = table.clone()
    resize_position(table, (3, 4), (6, 5))
    position_similarity(table)
    assert torch.equal(table, before)


def test_resized_rows_share_no_memory_with_the_table():
    table = torch.randn(13, 4)
    before = table.clone()
    resize_position(table, (3, 4), (3, 4)).add_(1)
    assert torch.equal(table, before)


def test_views_gradients_and_the_meta_device():
    turned = torch.randn(4, 13, dtype=torch.float64).T
    assert torch.equal(
        resize_position(turned, (3, 4), (6, 5)), resize_position(turned.contiguous(), (3, 4), (6, 5))
    )
    straight = position_similarity(turned.contiguous())
    torch.testing.assert_close(position_similarity(turned), straight, atol=1e-14, rtol=0)
    table = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: resize_position(t, (2, 3), (4, 2)), table)
    assert torch.autograd.gradcheck(position_similarity, table)
    assert resize_position(turned.to("meta"), (3, 4), (6, 5)).shape == (31, 4)


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (7, 2)])
@pytest.mark.usefixtures("_float64")
def test_places_are_the_patch_centres_of_dinov3(grid):
    from transformers.models.dinov3_vit import modeling_dinov3_vit as dinov3

    expected = dinov3.get_patches_center_coordinates(*grid, torch.float64, "cpu")
    torch.testing.assert_close(patch_places(grid), expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize(("grid", "head_dim", "theta"), [((3, 5), 16, 100.0), ((4, 2), 12, 7.0)])
def test_angles_are_those_of_dinov3(grid, head_dim, theta):
    from transformers import DINOv3ViTConfig
    from transformers.models.dinov3_vit import modeling_dinov3_vit as dinov3

    sizes = {"hidden_size": 2 * head_dim, "num_attention_heads": 2, "patch_size": 4, "rope_theta": theta}
    rope = dinov3.DINOv3ViTRopePositionEmbedding(DINOv3ViTConfig(**sizes)).eval()
    cos, sin = rope(torch.zeros(1, 3, 4 * grid[0], 4 * grid[1]))
    angles = rotary_angles(patch_places(grid), head_dim, temperature=theta)
    # theirs is computed in float32: an angle near 2 pi is right to 5e-7
    torch.testing.assert_close(angles.cos().tile(2), cos, atol=3e-6, rtol=0)
    torch.testing.assert_close(angles.sin().tile(2), sin, atol=3e-6, rtol=0)


@pytest.mark.usefixtures("_float64")
def test_angles_are_what_the_formula_says_at_any_place():
    places = 3 * torch.randn(6, 2)
    angles = rotary_angles(places, 12, temperature=50.0)
    assert angles.dtype == torch.float64
    for n in range(6):
        for axis in range(2):
            for k in range(3):
                expected = 2 * math.pi * places[n, axis].item() * 50.0 ** (-k / 3)
                assert angles[n, 3 * axis + k].item() == pytest.approx(expected, abs=1e-12)


def rotate_as_dinov3(heads, angles):
    from transformers.models.dinov3_vit import modeling_dinov3_vit as dinov3

    query, key = dinov3.apply_rotary_pos_emb(heads, heads.flip(0), angles.cos().tile(2), angles.sin().tile(2))
    torch.testing.assert_close(key.flip(0), query, atol=0, rtol=0)
    return query


def rotate_as_timm(heads, angles):
    from timm.layers.pos_embed_sincos import apply_rot_embed

    prefix = heads.shape[2] - len(angles)
    sin, cos = angles.sin().tile(2), angles.cos().tile(2)
    turned = apply_rot_embed(heads[:, :, prefix:], sin, cos, half=True)
    return torch.cat([heads[:, :, :prefix], turned], dim=2)


@pytest.mark.parametrize("reference", [rotate_as_dinov3, rotate_as_timm])
@pytest.mark.parametrize(
    ("num_prefix", "grid", "head_dim"), [(0, (2, 3), 4), (1, (3, 5), 16), (5, (4, 2), 12)]
)
def test_rotate_is_that_of_dinov3(reference, num_prefix, grid, head_dim):
    angles = rotary_angles(patch_places(grid).double(), head_dim)
    heads = torch.randn(2, 3, num_prefix + len(angles), head_dim, dtype=torch.float64)
    rotated = rotate(heads, angles)
    torch.testing.assert_close(rotated, reference(heads, angles), atol=1e-14, rtol=0)
    assert torch.equal(rotated[:, :, :num_prefix], heads[:, :, :num_prefix])


def test_rotate_turns_pairs_as_complex_numbers_do():
    heads, angles = torch.randn(2, 3, 7, 8, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    points = torch.complex(heads[..., :4], heads[..., 4:])[:, :, 1:] * torch.polar(
        torch.ones_like(angles), angles
    )
    expected = torch.cat([points.real, points.imag], dim=3)
    torch.testing.assert_close(rotate(heads, angles)[:, :, 1:], expected, atol=1e-14, rtol=0)


def test_moving_all_places_leaves_the_attention_between_patches_as_it_was():
    query, key = torch.randn(2, 2, 3, 15, 16, dtype=torch.float64)
    places = patch_places((3, 5)).double()
    near, far = (rotary_angles(places + torch.tensor(by), 16) for by in ((0.0, 0.0), (3.3, -5.2)))
    weights = [attention_weights(rotate(query, angles), rotate(key, angles)) for angles in (near, far)]
    torch.testing.assert_close(*weights, atol=1e-12, rtol=0)
    one_sided = attention_weights(rotate(query, far), rotate(key, near))
    assert not torch.allclose(one_sided, weights[0], atol=1e-3)


def test_rotate_changes_nothing_in_place_and_lets_gradients_through():
    heads, angles = torch.randn(1, 2, 4, 4, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    before = heads.clone(), angles.clone()
    rotate(heads, angles).add_(1)
    assert torch.equal(heads, before[0])
    assert torch.equal(angles, before[1])
    assert torch.autograd.gradcheck(rotate, (heads.requires_grad_(), angles.requires_grad_()))
    assert rotate(heads.to("meta"), angles.to("meta")).shape == heads.shape


TOKENS, TABLE = torch.zeros(2, 17, 8), torch.zeros(17, 8)
HEADS, PLACES = torch.zeros(2, 3, 17, 8), torch.zeros(16, 2)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (add_position, (TOKENS, TABLE[:16]), ValueError, "number of tokens 17 is more than table max_num_token 16"),
        (add_position, (TOKENS, TABLE[:, :7]), ValueError, "tokens has dim 8, table has dim 7"),
        (add_position, (TOKENS, TABLE[:, :1]), ValueError, "tokens has dim 8, table has dim 1"),
        (add_position, (TOKENS, TABLE[None]), ValueError, "table must have the axes (max_num_token dim), got shape (1, 17, 8)"),
        (add_position, (TOKENS[0], TABLE), ValueError, "tokens must have the axes (batch tokens dim), got shape (17, 8)"),
        (add_position, (TOKENS.numpy(), TABLE), TypeError, "tokens must be a torch.Tensor, not ndarray"),
        (add_position, (TOKENS, None), TypeError, "table must be a torch.Tensor, not NoneType"),
        (add_position, (TOKENS.long(), TABLE), TypeError, "tokens must be floating point, got torch.int64"),
        (add_position, (TOKENS, TABLE.double()), TypeError, "tokens is torch.float32, table is torch.float64: they must be the same"),
        (add_position, (TOKENS, TABLE.to("meta")), ValueError, "tokens is on cpu, table is on meta: they must be on the same"),
        (sincos_position, ((2, 2), 10), ValueError, "dim 10 is not a multiple of 4: sine and cosine for two axes"),
        (sincos_position, ((2, 2), 0), ValueError, "dim must be at least 1, got 0"),
        (sincos_position, ((2, 2), 8.0), TypeError, "dim must be an integer, got 8.0"),
        (sincos_position, ((2, 0), 8), ValueError, "grid cols must be at least 1, got 0"),
        (sincos_position, ((2.5, 2), 8), TypeError, "grid rows must be an integer, got 2.5"),
        (sincos_position, ((True, 2), 8), TypeError, "grid rows must be an integer, got True"),
        (sincos_position, (4, 8), TypeError, "grid must be (rows, cols), got 4"),
        (sincos_position, ((1, 2, 2), 8), TypeError, "grid must be (rows, cols), got (1, 2, 2)"),
        (resize_position, (TABLE[:16], (4, 4), (6, 6)), ValueError, "table old_tokens 16 is not num_prefix 1 + old_grid rows 4 * old_grid cols 4 = 17"),
        (resize_position, (TABLE, (2, 4), (6, 6)), ValueError, "table old_tokens 17 is not num_prefix 1 + old_grid rows 2 * old_grid cols 4 = 9"),
        (resize_position, (TABLE[None], (4, 4), (6, 6)), ValueError, "table must have the axes (old_tokens dim), got shape (1, 17, 8)"),
        (resize_position, (TABLE[:, :0], (4, 4), (6, 6)), ValueError, "table dim must be at least 1, got 0"),
        (resize_position, (TABLE.cfloat(), (4, 4), (6, 6)), TypeError, "table must be floating point, got torch.complex64"),
        (resize_position, (TABLE, (4, 4), (0, 6)), ValueError, "new_grid rows must be at least 1, got 0"),
        (resize_position, (TABLE, (4, 4), (6, 6.5)), TypeError, "new_grid cols must be an integer, got 6.5"),
        (resize_position, (TABLE, 4, (6, 6)), TypeError, "old_grid must be (rows, cols), got 4"),
        (patch_places, ((0, 3),), ValueError, "grid rows must be at least 1, got 0"),
        (patch_places, (4,), TypeError, "grid must be (rows, cols), got 4"),
        (rotary_angles, (PLACES, 10), ValueError, "head_dim 10 is not a multiple of 4: sine and cosine for two axes"),
        (rotary_angles, (PLACES[:, :1], 8), ValueError, "places must have the axes (patches 2), got shape (16, 1)"),
        (rotary_angles, (PLACES.long(), 8), TypeError, "places must be floating point, got torch.int64"),
        (rotate, (HEADS, torch.zeros(18, 4)), ValueError, "angles patches 18 is more than heads tokens 17"),
        (rotate, (HEADS, torch.zeros(16, 3)), ValueError, "heads head_dim 8 is not 2 * angles half 3 = 6"),
        (rotate, (HEADS, torch.zeros(16, 4).double()), TypeError, "heads is torch.float32, angles is torch.float64: they must be the same"),
        (rotate, (TOKENS, torch.zeros(16, 4)), ValueError, "heads must have the axes (batch heads tokens head_dim), got shape (2, 17, 8)"),
        (position_similarity, (TOKENS,), ValueError, "table must have the axes (tokens dim), got shape (2, 17, 8)"),
        (position_similarity, (TABLE.int(),), TypeError, "table must be floating point, got torch.int32"),
        (position_similarity, (np.zeros((3, 4)),), TypeError, "table must be a torch.Tensor, not ndarray"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("temperature", "error", "message"),
    [
        (0, ValueError, "temperature must be positive and finite, got 0"),
        (-1.0, ValueError, "temperature must be positive and finite, got -1.0"),
        (math.inf, ValueError, "temperature must be positive and finite, got inf"),
        (math.nan, ValueError, "temperature must be positive and finite, got nan"),
        ("hot", TypeError, "temperature must be a number, got 'hot'"),
        (True, TypeError, "temperature must be a number, got True"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_a_temperature_is_positive(temperature, error, message):
    with pytest.raises(error) as caught:
        sincos_position((2, 2), 8, temperature=temperature)
    assert str(caught.value) == message
    with pytest.raises(error) as caught:
        rotary_angles(PLACES, 8, temperature=temperature)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("num_prefix", "error", "message"),
    [
        (-1, ValueError, "num_prefix must be at least 0, got -1"),
        (2, ValueError, "table old_tokens 17 is not num_prefix 2 + old_grid rows 4 * old_grid cols 4 = 18"),
        (1.0, TypeError, "num_prefix must be an integer, got 1.0"),
        (True, TypeError, "num_prefix must be an integer, got True"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_a_prefix_is_counted(num_prefix, error, message):
    with pytest.raises(error) as caught:
        resize_position(TABLE, (4, 4), (6, 6), num_prefix=num_prefix)
    assert str(caught.value) == message
