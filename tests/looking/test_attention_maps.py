"""Maps, rollout, distance, entropy, components and deletion, each against plain loops or another library."""

# ruff: noqa: E501 (one line for each wrong input)
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_steps import ViT
from vit_steps.looking.attention_maps import (
    attention_entropy,
    attention_rollout,
    cls_attention,
    deletion_curve,
    kernel_components,
    mean_attention_distance,
)

GRID = (2, 3)


def random_attention(batch=2, depth=3, heads=4, tokens=7, dtype=torch.float64):
    return (2 * torch.randn(batch, depth, heads, tokens, tokens, dtype=dtype)).softmax(dim=-1)


def test_a_map_is_the_cls_row_without_itself_laid_out_row_by_row():
    attention = random_attention()
    picture = cls_attention(attention, GRID, layer=1, head=2)
    assert picture.shape == (2, 2, 3)
    for b in range(2):
        for row in range(2):
            for col in range(3):
                assert picture[b, row, col] == attention[b, 1, 2, 0, 1 + 3 * row + col]


def test_without_a_head_a_map_is_the_mean_over_heads_of_the_last_layer():
    attention = random_attention()
    by_hand = sum(cls_attention(attention, GRID, layer=2, head=head) for head in range(4)) / 4
    torch.testing.assert_close(cls_attention(attention, GRID), by_hand, atol=1e-14, rtol=0)


def test_layers_and_heads_count_from_the_end_too():
    attention = random_attention()
    for layer in range(3):
        for head in range(4):
            assert torch.equal(
                cls_attention(attention, GRID, layer=layer - 3, head=head - 4),
                cls_attention(attention, GRID, layer=layer, head=head),
            )


def test_a_map_sums_to_what_the_class_token_does_not_spend_on_itself():
    attention = random_attention()
    torch.testing.assert_close(
        cls_attention(attention, GRID).sum(dim=(1, 2)), 1 - attention[:, -1, :, 0, 0].mean(dim=1)
    )


def rollout_by_loops(attention):
    """Follow every token through every layer: half of what it becomes is what it was."""
    batch, depth, heads, tokens, _ = attention.shape
    reached = torch.eye(tokens, dtype=attention.dtype).repeat(batch, 1, 1)
    for layer in range(depth):
        before = reached.clone()
        for b in range(batch):
            for i in range(tokens):
                mixed = 0.5 * before[b, i]
                for head in range(heads):
                    for j in range(tokens):
                        mixed = mixed + 0.5 / heads * attention[b, layer, head, i, j] * before[b, j]
                reached[b, i] = mixed
    return reached


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_rollout_is_what_the_loops_say(depth):
    attention = random_attention(depth=depth)
    rollout = attention_rollout(attention)
    torch.testing.assert_close(rollout, rollout_by_loops(attention), atol=1e-14, rtol=0)
    torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(2, 7, dtype=torch.float64))


def test_rollout_puts_the_last_layer_leftmost():
    # Layer 0 copies token 2 to token 1, layer 1 copies token 1 to token 0: so a part of 2 reaches 0, not of 0 reaches 2.
    attention = torch.eye(3, dtype=torch.float64).repeat(1, 2, 1, 1, 1)
    attention[0, 0, 0, 1] = torch.tensor([0, 0, 1])
    attention[0, 1, 0, 0] = torch.tensor([0, 1, 0])
    assert attention_rollout(attention)[0].tolist() == [[0.5, 0.25, 0.25], [0, 0.5, 0.5], [0, 0, 1]]


def test_rollout_normalises_rows_that_do_not_sum_to_one():
    # As when a head was switched off: the rest is scaled, the rows still sum to one.
    attention = random_attention()
    attention[:, :, 1] = 0
    rows = attention_rollout(attention).sum(dim=-1)
    torch.testing.assert_close(rows, torch.ones_like(rows), atol=1e-14, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rollout_keeps_the_dtype_of_the_attention(dtype):
    attention = random_attention().to(dtype)
    assert attention_rollout(attention).dtype == dtype


@pytest.mark.parametrize(("rows", "cols", "patch_size"), [(2, 3, 4), (3, 2, 4), (1, 6, 1), (6, 1, 16)])
def test_distance_is_what_the_loops_say(rows, cols, patch_size):
    attention = random_attention()
    distances = mean_attention_distance(attention, (rows, cols), patch_size)
    assert distances.shape == (3, 4)
    for layer in range(3):
        for head in range(4):
            total = 0.0
            for b in range(2):
                for i in range(6):
                    for j in range(6):
                        apart = math.dist(divmod(i, cols), divmod(j, cols)) * patch_size
                        total += attention[b, layer, head, 1 + i, 1 + j].item() * apart
            assert distances[layer, head].item() == pytest.approx(total / (2 * 6), abs=1e-12)


def test_distances_that_can_be_read_off():
    itself = torch.eye(7, dtype=torch.float64).expand(1, 1, 1, 7, 7)
    assert mean_attention_distance(itself, GRID, 16).tolist() == [[0]]
    corner = torch.zeros(1, 1, 1, 7, 7, dtype=torch.float64)
    corner[..., 1] = (
        1  # every query looks at the patch top left: 0, 1, 2 in its row, and 1, √2, √5 in the next
    )
    expected = 16 * (0 + 1 + 2 + 1 + math.sqrt(2) + math.sqrt(5)) / 6
    assert mean_attention_distance(corner, GRID, 16).item() == pytest.approx(expected, abs=1e-12)
    class_token = torch.zeros(1, 1, 1, 7, 7, dtype=torch.float64)
    class_token[..., 0] = 1
    assert mean_attention_distance(class_token, GRID, 16).item() == 0


def test_what_the_class_token_looks_at_does_not_count_as_distance():
    attention = random_attention()
    distances = mean_attention_distance(attention, GRID, 4)
    attention[..., 0, :] = torch.randn(7, dtype=torch.float64).softmax(dim=0)
    assert torch.equal(mean_attention_distance(attention, GRID, 4), distances)


def test_distance_grows_with_the_patch_size_and_is_bounded_by_the_diagonal():
    attention = random_attention()
    one, four = (mean_attention_distance(attention, GRID, patch_size) for patch_size in (1, 4))
    torch.testing.assert_close(4 * one, four)
    assert four.max() < 4 * math.hypot(*GRID)


def test_entropy_is_the_one_scipy_computes():
    from scipy.stats import entropy

    attention = random_attention()
    expected = torch.from_numpy(entropy(attention.numpy(), axis=-1)).mean(dim=(0, 3))
    torch.testing.assert_close(attention_entropy(attention), expected, atol=1e-12, rtol=0)


def test_entropy_runs_from_nothing_to_log_tokens():
    sure = torch.eye(7).expand(2, 1, 1, 7, 7)
    anywhere = torch.full((2, 1, 1, 7, 7), 1 / 7)
    assert attention_entropy(sure).item() == 0
    assert attention_entropy(anywhere).item() == pytest.approx(math.log(7), abs=1e-6)
    assert attention_entropy(torch.cat([sure, anywhere], dim=2)).shape == (1, 2)


@pytest.mark.parametrize("shape", [(64, 3, 4, 4), (10, 3, 4, 4), (20, 1, 3, 3)])
def test_components_are_those_of_scikit_learn(shape):
    from sklearn.decomposition import PCA

    kernel = torch.randn(shape, dtype=torch.float64) + 3
    number = min(shape[0] - 1, math.prod(shape[1:]))
    expected = PCA(number, svd_solver="full").fit(kernel.flatten(1).numpy()).components_
    components = kernel_components(kernel, number)
    assert components.shape == (number, *shape[1:])
    torch.testing.assert_close(components.flatten(1), torch.from_numpy(expected), atol=1e-8, rtol=0)


def test_as_many_components_as_the_paper_shows():
    kernel = torch.randn(40, 3, 4, 4)
    assert torch.equal(kernel_components(kernel), kernel_components(kernel, 28))


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 12), st.integers(1, 3), st.integers(1, 3))
def test_components_are_orthonormal_and_their_largest_entry_is_positive(dim, channels, side):
    kernel = torch.randn(dim, channels, side, side, dtype=torch.float64)
    number = min(dim - 1, channels * side**2)
    flat = kernel_components(kernel, number).flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(number, dtype=torch.float64), atol=1e-10, rtol=0)
    assert (flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_components_are_in_order_of_variance_and_the_mean_is_taken_off():
    pictures = torch.linalg.qr(torch.randn(12, 3, dtype=torch.float64)).Q.T
    strengths = torch.tensor([5.0, 2.0, 0.1], dtype=torch.float64)
    kernel = (torch.randn(200, 3, dtype=torch.float64) * strengths) @ pictures + 100
    flat = kernel_components(kernel.unflatten(1, (3, 2, 2)), 3).flatten(1)
    cosines = (flat @ pictures.T).abs()
    torch.testing.assert_close(cosines, torch.eye(3, dtype=torch.float64), atol=0.1, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_components_keep_the_dtype_of_the_kernel(dtype):
    kernel = torch.randn(30, 3, 2, 2).to(dtype)
    components = kernel_components(kernel, 2)
    assert components.dtype == dtype
    torch.testing.assert_close(components, kernel_components(kernel.double(), 2).to(dtype), atol=1e-6, rtol=0)


def brightness(images):
    """A classifier that can be followed by hand: class 1 when the upper left pixel is bright."""
    return torch.stack([1 - images[:, 0, 0, 0], images[:, 0, 0, 0]], dim=1)


def test_deletion_removes_one_patch_after_the_other_in_the_given_order():
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).reshape(2, 3, 4, 6)
    order = torch.tensor([[5, 0, 3, 1, 2, 4], [2, 4, 1, 0, 5, 3]])
    seen = []
    deletion_curve(
        lambda shown: seen.append(shown) or shown.flatten(1)[:, :2], images, torch.tensor([0, 1]), order
    )
    assert len(seen) == 7
    for removed, shown in enumerate(seen):
        for b in range(2):
            for patch in range(6):
                rows, cols = (
                    slice(2 * (patch // 3), 2 * (patch // 3) + 2),
                    slice(2 * (patch % 3), 2 * (patch % 3) + 2),
                )
                gone = patch in order[b, :removed].tolist()
                for c in range(3):
                    expected = images[b, c].mean().expand(2, 2) if gone else images[b, c, rows, cols]
                    torch.testing.assert_close(shown[b, c, rows, cols], expected, atol=1e-12, rtol=0)


def test_deletion_curve_of_a_classifier_that_looks_at_one_pixel():
    # Both images are of class 1: bright in the upper left corner and dark elsewhere.
    images = torch.zeros(2, 1, 4, 6)
    images[:, :, 0, 0] = 1
    order = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 2, 1, 5, 0, 4]])
    curve = deletion_curve(brightness, images, torch.tensor([1, 1]), order)
    assert curve.tolist() == [1, 0.5, 0.5, 0.5, 0.5, 0, 0]
    assert deletion_curve(brightness, images, torch.tensor([0, 1]), order).tolist() == [
        0.5,
        1,
        1,
        1,
        1,
        0.5,
        0.5,
    ]


def test_a_patch_may_be_one_pixel_or_the_whole_image():
    images = torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]])
    curve = deletion_curve(brightness, images, torch.tensor([1]), torch.tensor([[4, 0, 1, 2, 3, 5]]))
    assert curve.tolist() == [1, 1, 0, 0, 0, 0, 0]
    square = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert deletion_curve(brightness, square, torch.tensor([1]), torch.tensor([[0]])).tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(2, 8), (8, 2)])
def test_an_image_may_be_much_longer_than_wide(shape):
    images = torch.zeros(1, 1, *shape)
    images[..., :2, :2] = 1
    curve = deletion_curve(brightness, images, torch.tensor([1]), torch.tensor([[1, 2, 0, 3]]))
    assert curve.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_deletion_starts_at_the_accuracy_and_runs_on_a_vit(pool):
    model = ViT(image_size=(8, 12), patch_size=4, channels=1, dim=16, depth=2, num_heads=4, mlp_dim=16, num_classes=3, pool=pool)  # fmt: skip
    images, labels = torch.randn(40, 1, 8, 12), torch.randint(3, (40,))
    order = cls_attention(model.trace(images).attention, (2, 3)).flatten(1).argsort(dim=1, descending=True)
    curve = deletion_curve(model, images, labels, order)
    assert curve.shape == (7,)
    assert not curve.requires_grad
    within_one = 1.5 / len(images)  # logits near a tie fall either way when a batch is cut otherwise
    right = (model(images).argmax(dim=1) == labels).float().mean().item()
    assert curve[0].item() == pytest.approx(right, abs=within_one)
    flat = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    right = (model(flat).argmax(dim=1) == labels).float().mean().item()
    assert curve[-1].item() == pytest.approx(right, abs=within_one)


def test_deletion_keeps_no_graph_of_what_the_model_did():
    seen = []

    def model(images):
        seen.append(torch.is_grad_enabled())
        return brightness(images)

    deletion_curve(model, torch.rand(2, 1, 4, 6), torch.tensor([0, 1]), torch.arange(6).repeat(2, 1))
    assert seen == [False] * 7
    assert torch.is_grad_enabled()


def test_nothing_is_changed_in_place():
    attention, kernel = random_attention(), torch.randn(30, 3, 2, 2)
    images, labels, order = torch.rand(2, 1, 4, 6), torch.tensor([0, 1]), torch.arange(6).repeat(2, 1)
    inputs = attention, kernel, images, labels, order
    before = [tensor.clone() for tensor in inputs]
    cls_attention(attention, GRID).add_(1)
    attention_rollout(attention).add_(1)
    attention_rollout(attention[:, :1]).add_(1)
    mean_attention_distance(attention, GRID, 4)
    attention_entropy(attention)
    kernel_components(kernel, 2)
    deletion_curve(brightness, images, labels, order)
    assert all(map(torch.equal, inputs, before))


def test_views_gradients_and_the_meta_device():
    attention = random_attention(batch=1).expand(2, -1, -1, -1, -1)
    turned = attention.transpose(0, 1).contiguous().transpose(0, 1)
    for function in (attention_rollout, attention_entropy, lambda a: mean_attention_distance(a, GRID, 4)):
        torch.testing.assert_close(function(turned), function(attention.contiguous()), atol=1e-14, rtol=0)
        assert function(attention.clone().requires_grad_()).requires_grad
        assert function(attention.to("meta")).shape == function(attention).shape
    assert cls_attention(attention.to("meta"), GRID).shape == (2, 2, 3)
    assert attention_rollout(attention[:0]).shape == (0, 7, 7)
    assert cls_attention(attention[:0], GRID).shape == (0, 2, 3)


A = torch.full((2, 3, 4, 17, 17), 1 / 17)
K = torch.zeros(64, 1, 4, 4)


@pytest.mark.parametrize(
    ("function", "arguments", "options", "error", "message"),
    [
        (cls_attention, (A, (3, 3)), {}, ValueError, "attention tokens 17 is not num_prefix 1 + grid rows 3 * grid cols 3 = 10: the CLS token and registers come first"),
        (cls_attention, (A, (4, 4)), {"layer": 3}, ValueError, "layer 3 is out of range: attention depth is 3"),
        (cls_attention, (A, (4, 4)), {"layer": -4}, ValueError, "layer -4 is out of range: attention depth is 3"),
        (cls_attention, (A, (4, 4)), {"head": 4}, ValueError, "head 4 is out of range: attention heads is 4"),
        (cls_attention, (A, (4, 4)), {"head": -5}, ValueError, "head -5 is out of range: attention heads is 4"),
        (cls_attention, (A, (4, 4)), {"head": 1.0}, TypeError, "head must be an integer, got 1.0"),
        (cls_attention, (A, (4, 4)), {"layer": None}, TypeError, "layer must be an integer, got None"),
        (cls_attention, (A, (4, 4)), {"layer": True}, TypeError, "layer must be an integer, got True"),
        (cls_attention, (A, 4), {}, TypeError, "grid must be (rows, cols), got 4"),
        (cls_attention, (A, (16, 1.0)), {}, TypeError, "grid cols must be an integer, got 1.0"),
        (cls_attention, (A, (-4, -4)), {}, ValueError, "grid rows must be at least 1, got -4"),
        (cls_attention, (A[0], (4, 4)), {}, ValueError, "attention must have the axes (batch depth heads tokens tokens), got shape (3, 4, 17, 17)"),
        (cls_attention, (A.numpy(), (4, 4)), {}, TypeError, "attention must be a torch.Tensor, not ndarray"),
        (cls_attention, (A.long(), (4, 4)), {}, TypeError, "attention must be floating point, got torch.int64"),
        (cls_attention, (A[..., :16], (4, 4)), {}, ValueError, "attention has tokens 17 and tokens 16: they must be the same"),
        (cls_attention, (A[:, :0], (4, 4)), {}, ValueError, "layer -1 is out of range: attention depth is 0"),
        (attention_rollout, (A[:, 0],), {}, ValueError, "attention must have the axes (batch depth heads tokens tokens), got shape (2, 4, 17, 17)"),
        (attention_rollout, (A[..., :16, :],), {}, ValueError, "attention has tokens 16 and tokens 17: they must be the same"),
        (cls_attention, (A[:, :, :0], (4, 4)), {}, ValueError, "attention heads must be at least 1, got 0"),
        (attention_rollout, (A[:, :0],), {}, ValueError, "attention depth must be at least 1, got 0"),
        (attention_rollout, (A[:, :, :0],), {}, ValueError, "attention heads must be at least 1, got 0"),
        (attention_rollout, (A[..., :0, :0],), {}, ValueError, "attention tokens must be at least 1, got 0"),
        (attention_rollout, (list(A),), {}, TypeError, "attention must be a torch.Tensor, not list"),
        (mean_attention_distance, (A, (3, 3), 4), {}, ValueError, "attention tokens 17 is not num_prefix 1 + grid rows 3 * grid cols 3 = 10: the CLS token and registers come first"),
        (mean_attention_distance, (A, (4, 4), 0), {}, ValueError, "patch_size must be at least 1, got 0"),
        (mean_attention_distance, (A, (4, 4), 4.0), {}, TypeError, "patch_size must be an integer, got 4.0"),
        (mean_attention_distance, (A[:0], (4, 4), 4), {}, ValueError, "attention batch must be at least 1, got 0: a mean over images needs one"),
        (mean_attention_distance, (A[:, :0], (4, 4), 4), {}, ValueError, "attention depth must be at least 1, got 0"),
        (mean_attention_distance, (A[:, :, :0], (4, 4), 4), {}, ValueError, "attention heads must be at least 1, got 0"),
        (attention_entropy, (A[0],), {}, ValueError, "attention must have the axes (batch depth heads tokens tokens), got shape (3, 4, 17, 17)"),
        (attention_entropy, (A[:0],), {}, ValueError, "attention batch must be at least 1, got 0: a mean over images needs one"),
        (attention_entropy, (A[:, :0],), {}, ValueError, "attention depth must be at least 1, got 0"),
        (attention_entropy, (A[:, :, :0],), {}, ValueError, "attention heads must be at least 1, got 0"),
        (attention_entropy, (A[..., :0, :0],), {}, ValueError, "attention tokens must be at least 1, got 0"),
        (kernel_components, (K,), {}, ValueError, "num_components 28 is more than kernel channels 1 * kernel side 4 squared = 16"),
        (kernel_components, (K[:8], 8), {}, ValueError, "num_components 8 is more than kernel dim 8 - 1 = 7: the mean kernel is taken off first"),
        (kernel_components, (K, 0), {}, ValueError, "num_components must be at least 1, got 0"),
        (kernel_components, (K, 2.0), {}, TypeError, "num_components must be an integer, got 2.0"),
        (kernel_components, (K[0], 2), {}, ValueError, "kernel must have the axes (dim channels side side), got shape (1, 4, 4)"),
        (kernel_components, (K[..., :3], 2), {}, ValueError, "kernel has side 4 and side 3: they must be the same"),
        (kernel_components, (K / 0, 2), {}, ValueError, "kernel holds NaN or infinity: it has no principal components"),
        (kernel_components, (K.int(), 2), {}, TypeError, "kernel must be floating point, got torch.int32"),
        (kernel_components, (K.numpy(), 2), {}, TypeError, "kernel must be a torch.Tensor, not ndarray"),
        (kernel_components, (K.to("meta"), 2), {}, ValueError, "kernel is on the meta device: it holds no numbers"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, options, error, message):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert str(caught.value) == message


WIDE = torch.rand(3, 1, 6, 8)
IMAGES, LABELS, ORDER = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1]), torch.arange(16).repeat(3, 1)
TWICE = torch.cat([ORDER[:2], torch.zeros(1, 16, dtype=torch.long)])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (dict(order=ORDER[:, :15]), ValueError, "order has 15 patches, an image of 8 x 8 cannot be cut into 15 squares"),
        (dict(order=ORDER[:, :8]), ValueError, "order has 8 patches, an image of 8 x 8 cannot be cut into 8 squares"),
        (dict(order=ORDER[:, :0]), ValueError, "order patches must be at least 1, got 0"),
        (dict(images=IMAGES[..., :4]), ValueError, "order has 16 patches, an image of 8 x 4 cannot be cut into 16 squares"),
        (dict(images=WIDE, order=ORDER[:, :3]), ValueError, "order has 3 patches, an image of 6 x 8 cannot be cut into 3 squares"),
        (dict(images=WIDE.mT, order=ORDER[:, :3]), ValueError, "order has 3 patches, an image of 8 x 6 cannot be cut into 3 squares"),
        (dict(images=IMAGES[:, :0]), ValueError, "images channels must be at least 1, got 0"),
        (dict(images=IMAGES / 0), ValueError, "images holds NaN or infinity: there is no mean colour to paint with"),
        (dict(order=TWICE), ValueError, "order of image 2 does not hold each of the patches 0 to 15 once"),
        (dict(order=ORDER + 1), ValueError, "order of image 0 does not hold each of the patches 0 to 15 once"),
        (dict(order=ORDER[:2]), ValueError, "images has batch 3, order has batch 2"),
        (dict(labels=LABELS[:2]), ValueError, "images has batch 3, labels has batch 2"),
        (dict(images=IMAGES[:0], labels=LABELS[:0], order=ORDER[:0]), ValueError, "images batch must be at least 1, got 0: a mean over images needs one"),
        (dict(order=ORDER.float()), TypeError, "order must hold integers, got torch.float32"),
        (dict(order=ORDER[0]), ValueError, "order must have the axes (batch patches), got shape (16,)"),
        (dict(labels=LABELS.bool()), TypeError, "labels must hold integers, got torch.bool"),
        (dict(labels=LABELS[:, None]), ValueError, "labels must have the axes (batch), got shape (3, 1)"),
        (dict(labels=[0, 1, 1]), TypeError, "labels must be a torch.Tensor, not list"),
        (dict(images=IMAGES.byte()), TypeError, "images must be floating point, got torch.uint8"),
        (dict(images=IMAGES[0]), ValueError, "images must have the axes (batch channels height width), got shape (1, 8, 8)"),
        (dict(labels=LABELS + 1), ValueError, "labels run from 1 to 2, model has 2 classes"),
        (dict(labels=LABELS - 1), ValueError, "labels run from -1 to 0, model has 2 classes"),
        (dict(model=lambda images: brightness(images) * math.nan), ValueError, "model gave logits that are NaN: there is no most probable class"),
        (dict(model=lambda images: brightness(images)[:1]), ValueError, "logits has batch 1, labels has batch 3"),
        (dict(model=lambda images: brightness(images).int()), TypeError, "logits must be floating point, got torch.int32"),
        (dict(images=IMAGES[:, :, :0]), ValueError, "order has 16 patches, an image of 0 x 8 cannot be cut into 16 squares"),
        (dict(model=lambda images: images), ValueError, "logits must have the axes (batch classes), got shape (3, 1, 8, 8)"),
        (dict(model=lambda images: None), TypeError, "model must give a torch.Tensor, not NoneType"),
        (dict(model=None), TypeError, "model must be callable, not NoneType"),
        (dict(images=IMAGES.to("meta")), ValueError, "images is on meta, labels is on cpu: they must be on the same"),
        (dict(labels=LABELS.to("meta")), ValueError, "images is on cpu, labels is on meta: they must be on the same"),
        (dict(order=ORDER.to("meta")), ValueError, "images is on cpu, order is on meta: they must be on the same"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_of_deletion_names_what_is_wrong(wrong, error, message):
    good = dict(model=brightness, images=IMAGES, labels=LABELS, order=ORDER)
    with pytest.raises(error) as caught:
        deletion_curve(**{**good, **wrong})
    assert str(caught.value) == message
