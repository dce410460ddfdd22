"""The checks of the exercises: the right answer passes, and a wrong one hears which mistake it is."""

# ruff: noqa: E501 (one line for each wrong answer)
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import checks, image2emb_conv, image2emb_naive, image2patches, pool_cls, weight2kernel

ROW_ENDS = [(6, 7), (13, 14), (20, 21), (27, 28), (34, 35), (41, 42)]


def check_sincos_1d(table, pairs=ROW_ENDS):
    return checks.check_sincos_1d(table, pairs)


@pytest.fixture
def say(capsys):
    """Run a check, and hand back its verdict and the one line that it printed."""

    def run(check, *answers):
        verdict = check(*answers)
        printed = capsys.readouterr()
        assert isinstance(verdict, bool)
        assert not printed.err
        assert printed.out.count("\n") == 1
        assert printed.out.endswith("\n")
        assert printed.out.startswith("right: ") == verdict
        return verdict, printed.out.strip()

    return run


# Right answers, each written as a reader would write it and not as the check does


def fold(patches, patch_size, image_size):
    return F.fold(patches.transpose(1, 2), image_size, patch_size, stride=patch_size)


def put_back_in_a_loop(patches, patch_size, image_size):
    cols = image_size[1] // patch_size
    image = torch.empty(len(patches), patches.shape[2] // patch_size**2, *image_size)
    for n in range(patches.shape[1]):
        top, left = n // cols * patch_size, n % cols * patch_size
        block = patches[:, n].reshape(len(patches), -1, patch_size, patch_size)
        image[:, :, top : top + patch_size, left : left + patch_size] = block
    return image


def rows_in_a_loop(channels, patch_size):
    return [
        (channel * patch_size + row) * patch_size + col
        for row in range(patch_size)
        for col in range(patch_size)
        for channel in range(channels)
    ]


def overlap(image_size, patch_size, stride):
    rows, cols = ((side - patch_size) // stride + 1 for side in image_size)
    return rows * cols, range(stride, patch_size)


def add_registers(patches, cls_token, registers):
    repeated = [part.repeat(len(patches), 1, 1) for part in (cls_token, registers)]
    return torch.cat([*repeated, patches], dim=1)


def pool_in_a_loop(tokens, num_prefix):
    total = torch.zeros(len(tokens), tokens.shape[2])
    for place in range(num_prefix, tokens.shape[1]):
        total += tokens[:, place]
    return total / (tokens.shape[1] - num_prefix)


def reached_by_jacobian(encoder, tokens):
    jacobian = torch.autograd.functional.jacobian(lambda tokens: pool_cls(encoder(tokens)), tokens)
    return (jacobian.abs() > 1e-6).any(dim=4).any(dim=2).any(dim=1).any(dim=0)


def reached_by_cubes(encoder, tokens):
    tokens = tokens.detach().clone().requires_grad_()
    encoder(tokens)[:, 0].pow(3).sum().backward()
    return (tokens.grad != 0).any(dim=2).any(dim=0).float()


def reached_by_trying(encoder, tokens):
    def moves(place):
        changed = tokens.clone()
        changed[:, place] += 1 + torch.rand(8)
        return not torch.allclose(encoder(changed)[:, 0], encoder(tokens)[:, 0], atol=1e-4)

    return [moves(place) for place in range(tokens.shape[1])]


def sincos_in_a_loop(num_places, dim):
    table = torch.empty(num_places, dim)
    for place in range(num_places):
        for k in range(dim // 2):
            angle = torch.tensor(place * 10_000 ** (-2 * k / dim))
            table[place, k], table[place, k + dim // 2] = angle.sin(), angle.cos()
    return table


def most_alike_in_a_loop(table, place):
    best = None
    for row in range(1, len(table)):
        cosine = F.cosine_similarity(table[row], table[place], dim=0)
        if row != place and (best is None or cosine > F.cosine_similarity(table[best], table[place], dim=0)):
            best = row
    return best


def swap_in_a_copy(table, first, second):
    swapped = table.clone()
    swapped[first], swapped[second] = table[second], table[first]
    return swapped


def is_mean(pool):
    tokens = torch.randn(2, 5, 8)
    return torch.allclose(pool(tokens), tokens[:, 1:].sum(dim=1) / 4, atol=1e-5)


def is_attention(weights_of):
    query, key = torch.randn(2, 2, 3, 5, 4)
    identity = torch.eye(5).expand(2, 3, 5, 5)
    expected = F.scaled_dot_product_attention(query, key, identity)
    return torch.allclose(weights_of(query, key), expected, atol=1e-5)


def is_self_attention(attention, num_heads=4, batch=2):
    reference = nn.MultiheadAttention(8, num_heads, batch_first=True)
    qkv, tokens = nn.Linear(8, 24), torch.randn(batch, 5, 8)
    reference.in_proj_weight, reference.in_proj_bias = qkv.weight, qkv.bias
    ours, weights = attention(tokens, qkv=qkv, proj=reference.out_proj, num_heads=num_heads)
    theirs, their_weights = reference(tokens, tokens, tokens, average_attn_weights=False)
    if weights.shape != their_weights.shape:
        return False
    return torch.allclose(ours, theirs, atol=1e-5) and torch.allclose(weights, their_weights, atol=1e-5)


def smoothed_in_a_loop(logits, label, smoothing):
    losses = []
    for scores, right in zip(logits, label, strict=True):
        log_p = scores - scores.logsumexp(dim=0)
        losses.append(-(1 - smoothing) * log_p[right] - smoothing * log_p.mean())
    return sum(losses) / len(losses)


def classify_in_a_loop(tokens, norm, head):
    return torch.stack([head(sum(norm(token) for token in image[1:]) / (len(image) - 1)) for image in tokens])


def freeze(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("head.")
    return model.head.weight.numel() + model.head.bias.numel()


RIGHT = [
    (checks.check_patches2image, fold),
    (checks.check_patches2image, put_back_in_a_loop),
    (checks.check_weight_rows, rows_in_a_loop),
    (checks.check_overlap, overlap),
    (checks.check_registers, add_registers),
    (checks.check_pool_patches, pool_in_a_loop),
    (checks.check_reached, reached_by_jacobian),
    (checks.check_reached, reached_by_cubes),
    (checks.check_reached, reached_by_trying),
    (check_sincos_1d, sincos_in_a_loop),
    (checks.check_most_alike, most_alike_in_a_loop),
    (checks.check_swap_positions, swap_in_a_copy),
    (checks.check_pool_zoo, is_mean),
    (checks.check_weights_zoo, is_attention),
    (checks.check_attention_zoo, is_self_attention),
    (checks.check_smoothed_loss, smoothed_in_a_loop),
    (checks.check_classify_by_mean, classify_in_a_loop),
    (checks.check_freeze_all_but_head, freeze),
]
EVERY_CHECK = list(dict.fromkeys(check for check, _ in RIGHT))


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_the_right_answer_passes(say, check, answer):
    verdict, line = say(check, answer)
    assert verdict, line


def test_every_check_of_the_module_is_tested():
    public = {name for name in vars(checks) if name.startswith("check_")}
    assert {check.__name__ for check in EVERY_CHECK} == public


# Wrong answers, as they come out of readers' hands


def square_grid(patches, patch_size, image_size):
    side = int(patches.shape[1] ** 0.5)
    blocks = patches.reshape(len(patches), side, side, -1, patch_size, patch_size)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), -1, *image_size)


def three_channels(patches, patch_size, image_size):
    rows, cols = (side // patch_size for side in image_size)
    blocks = patches.reshape(len(patches), rows, cols, 3, patch_size, patch_size)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), 3, *image_size)


def not_interleaved(patches, patch_size, image_size):
    rows, cols = (side // patch_size for side in image_size)
    blocks = patches.reshape(len(patches), rows, cols, -1, patch_size, patch_size)
    return blocks.permute(0, 3, 1, 2, 4, 5).reshape(len(patches), -1, *image_size)


def transposed_patches(patches, patch_size, image_size):
    turned = patches.unflatten(2, (-1, patch_size, patch_size)).transpose(3, 4).flatten(2)
    return fold(turned, patch_size, image_size)


def one_register(patches, cls_token, registers):
    batch = len(patches)
    four = registers[:, 0].repeat(batch, 4, 1)
    return torch.cat([cls_token.repeat(batch, 1, 1), four, patches], dim=1)


def gradient(loss, encoder, tokens):
    tokens = tokens.clone().requires_grad_()
    loss(encoder(tokens)).backward()
    return tokens.grad


def reads_all(encoder, tokens):
    return gradient(lambda encoded: encoded.pow(3).sum(), encoder, tokens).abs().sum((0, 2)) > 1e-6


def plain_sum(encoder, tokens):
    return gradient(lambda encoded: pool_cls(encoded).sum(), encoder, tokens).abs().sum((0, 2)) > 0


def one_mask_per_image(encoder, tokens):
    return gradient(lambda encoded: pool_cls(encoded).pow(3).sum(), encoder, tokens).abs().sum(2) > 1e-6


def only_cls(encoder, tokens):
    return [place == 0 for place in range(tokens.shape[1])]


def one_block_far(encoder, tokens):
    mask = reached_by_jacobian(encoder, tokens)
    mask[2:] &= mask.all()
    return mask


def in_place_gradient(encoder, tokens):
    tokens.requires_grad_()
    pool_cls(encoder(tokens)).pow(3).sum().backward()
    return tokens.grad.abs().sum((0, 2)) > 1e-6


def taking_turns(num_places, dim):
    omega = 10_000 ** (-torch.arange(0, dim, 2) / dim)
    angles = torch.arange(num_places)[:, None] * omega
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def from_one(num_places, dim):
    return sincos_in_a_loop(num_places + 1, dim)[1:]


def like_itself(table, place):
    return F.cosine_similarity(table, table[place][None]).argmax()


def second_best(table, place):
    # The table of the check lets the CLS token point exactly where the patch points.
    cosines = F.cosine_similarity(table, table[place][None])
    cosines[place] = -2
    return int(cosines.argmax())


def cut_off_and_forgotten(table, place):
    cosines = F.cosine_similarity(table[1:], table[place][None])
    cosines[place - 1] = -2
    return int(cosines.argmax())


def nearest(table, place):
    distances = (table - table[place]).norm(dim=1)
    distances[[0, place]] = torch.inf
    return distances.argmin()


def largest_product(table, place):
    products = table @ table[place]
    products[[0, place]] = -torch.inf
    return products.argmax()


def swap_windows(table, first, second):
    swapped = table.clone()
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def swap_in_place(table, first, second):
    table[[first, second]] = table[[second, first]]
    return table


def swap_patches(table, first, second):
    return swap_in_a_copy(table, first + 1, second + 1)


def on_ones(pool):
    return torch.allclose(pool(torch.ones(2, 5, 8)), torch.ones(2, 8))


def moves_without_cls(pool):
    tokens = torch.randn(2, 5, 8)
    changed = tokens.clone()
    changed[:, 0] += 10
    return torch.allclose(pool(changed), pool(tokens))


def to_the_bit(pool):
    tokens = torch.randn(2, 50, 8)
    return torch.equal(pool(tokens), tokens[:, 1:].mean(dim=1))


def sums_to_one(weights_of):
    weights = weights_of(torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4))
    return torch.allclose(weights.sum(dim=-1), torch.ones(2, 3, 5))


def columns_sum_to_one(weights_of):
    weights = weights_of(torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4))
    return torch.allclose(weights.sum(dim=-2), torch.ones(2, 3, 5))


def with_one_head(weights_of):
    query, key = torch.randn(2, 2, 1, 5, 4)
    expected = (query @ key.transpose(2, 3) / 2).softmax(dim=-1)
    return torch.allclose(weights_of(query, key), expected, atol=1e-5)


def smoothed(logits, label, right, others):
    one_hot = F.one_hot(label, logits.shape[1])
    target = one_hot * right + (1 - one_hot) * others
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def among_the_others(logits, label, smoothing):
    return smoothed(logits, label, 1 - smoothing, smoothing / (logits.shape[1] - 1))


def not_summing_to_one(logits, label, smoothing):
    return smoothed(logits, label, 1 - smoothing, smoothing / logits.shape[1])


def log_of_softmax(logits, label, smoothing):
    target = (1 - smoothing) * F.one_hot(label, logits.shape[1]) + smoothing / logits.shape[1]
    return -(target * torch.softmax(logits, dim=1).log()).sum(dim=1).mean()


def exp_over_sum(logits, label, smoothing):
    target = (1 - smoothing) * F.one_hot(label, logits.shape[1]) + smoothing / logits.shape[1]
    probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -(target * probabilities.log()).sum(dim=1).mean()


def not_averaged(logits, label, smoothing):
    return F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="none")


def unchanged_model(model):
    return 45


def with_a_flag(model):
    model.requires_grad = False
    return 45


def in_eval(model):
    model.eval()
    return 45


def modules_only(model):
    for name, module in model.named_children():
        module.requires_grad_(name == "head")
    return 45


def by_beginning(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("head")
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


def all_of_it(model):
    model.requires_grad_(False)
    return 0


def without_bias(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name == "head.weight"
    return 40


def counting(how):
    def freeze_and_count(model):
        freeze(model)
        return how(model)

    return freeze_and_count


WRONG = [
    (checks.check_patches2image, lambda p, s, size: p.reshape(len(p), -1, *size), "you reshape and move no axis"),
    (checks.check_patches2image, not_interleaved, "the row inside a patch must come right after the row of patches"),
    (checks.check_patches2image, square_grid, "you take the image for square"),
    (checks.check_patches2image, three_channels, "you take it for granted that an image has 3 channels"),
    (checks.check_patches2image, transposed_patches, "inside each patch, rows and columns are swapped"),
    (checks.check_patches2image, lambda p, s, size: fold(p, s, size[::-1]), "it is (height, width)"),
    (checks.check_patches2image, lambda p, s, size: fold(p, s, size).movedim(1, -1), "your channels come last"),
    (checks.check_weight_rows, lambda c, p: torch.tensor(rows_in_a_loop(c, p)).argsort(), "this is the inverse"),
    (checks.check_weight_rows, lambda c, p: range(c * p * p), "you leave the rows as they are"),
    (checks.check_weight_rows, lambda c, p: torch.arange(c * p * p).view(c, p, p).permute(2, 1, 0).flatten(), "your order is (col, row, channel)"),
    (checks.check_weight_rows, lambda c, p: [row + 1 for row in rows_in_a_loop(c, p)], "you count from 1"),
    (checks.check_overlap, lambda size, p, s: (size[0] // s * (size[1] // s), range(s, p)), "the last patches would stick out"),
    (checks.check_overlap, lambda size, p, s: ((size[0] - p) // s * ((size[1] - p) // s), range(s, p)), "one more than there are steps"),
    (checks.check_overlap, lambda size, p, s: (overlap((size[0], size[0]), p, s)[0], range(s, p)), "you take the image for square"),
    (checks.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], range(p - s)), "the second patch begins at column `stride`"),
    (checks.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], p - s), "say which"),
    (checks.check_overlap, lambda size, p, s: overlap(size, p, s)[0], "returns int, wanted a pair (number of patches, shared columns)"),
    (checks.check_registers, lambda p, c, r: torch.cat([c, r, p], dim=1), "expand them"),
    (checks.check_registers, lambda p, c, r: add_registers(p, r, c), "tokens[:, 0] reads a register"),
    (checks.check_registers, lambda p, c, r: add_registers(add_registers(p, c, r)[:, 5:], c, r[:, :0]), "the registers are missing"),
    (checks.check_registers, lambda p, c, r: torch.cat([add_registers(p, c, r[:, :0]), r.expand(len(p), 4, 8)], 1), "the registers stand behind the patches"),
    (checks.check_registers, one_register, "your four registers are one and the same"),
    (checks.check_pool_patches, lambda tokens, prefix: tokens.mean(dim=1), "CLS and registers are in your mean"),
    (checks.check_pool_patches, lambda tokens, prefix: tokens[:, 1:].mean(dim=1), "the registers are in your mean"),
    (checks.check_pool_patches, lambda tokens, prefix: tokens[:, prefix + 1 :].mean(dim=1), "you leave out the first patch"),
    (checks.check_pool_patches, lambda tokens, prefix: tokens[:, prefix:].sum(dim=1) / tokens.shape[1], "you divide by the number of tokens"),
    (checks.check_pool_patches, lambda tokens, prefix: tokens[:, prefix:].mean(), "your shape is (), wanted (2, 8)"),
    (checks.check_reached, reads_all, "let the loss read the CLS token alone"),
    (checks.check_reached, plain_sum, "behind a norm that sum is constant"),
    (checks.check_reached, one_mask_per_image, "this is one mask per image"),
    (checks.check_reached, only_cls, "you reach the CLS token alone, whatever the encoder"),
    (checks.check_reached, lambda encoder, tokens: ~reached_by_jacobian(encoder, tokens), "true and false are swapped"),
    (checks.check_reached, one_block_far, "for two blocks in which every token sees itself and the next one your shape (5,) is right; the first difference, at [2]: 0, wanted 1"),
    (checks.check_reached, in_place_gradient, "your function changes the tensor it was given"),
    (check_sincos_1d, taking_turns, "your waves take turns"),
    (check_sincos_1d, from_one, "your places start at 1"),
    (check_sincos_1d, lambda places, dim: sincos_in_a_loop(places, 2 * dim)[:, : dim], "wrong: for 49 places, dim 64"),
    (check_sincos_1d, lambda places, dim: sincos_in_a_loop(places, dim)[:, : dim // 2], "the cosines are missing"),
    (checks.check_most_alike, like_itself, "you found the patch itself"),
    (checks.check_most_alike, second_best, "you found the CLS token"),
    (checks.check_most_alike, cut_off_and_forgotten, "you are one off"),
    (checks.check_most_alike, nearest, "you took the smallest distance"),
    (checks.check_most_alike, largest_product, "you took the largest product"),
    (checks.check_swap_positions, swap_windows, "both rows are the same now: table[first] is a window"),
    (checks.check_swap_positions, swap_in_place, "your function changes the tensor it was given"),
    (checks.check_swap_positions, swap_patches, "you add 1 for the CLS token"),
    (checks.check_swap_positions, lambda table, first, second: table, "nothing has changed"),
    (checks.check_pool_zoo, on_ones, "slipped through your test: the mean over all tokens, the CLS token among them; a mean"),
    (checks.check_pool_zoo, moves_without_cls, "slipped through your test: a mean that leaves out two tokens"),
    (checks.check_pool_zoo, to_the_bit, "refuses the right one, a pool_mean that adds up in another order"),
    (checks.check_pool_zoo, lambda pool: False, "refuses the right one, pool_mean"),
    (checks.check_weights_zoo, sums_to_one, "slipped through your test: √dim in place of √head_dim"),
    (checks.check_weights_zoo, with_one_head, "slipped through your test: √dim in place of √head_dim"),
    (checks.check_weights_zoo, columns_sum_to_one, "refuses the right one, attention_weights"),
    (checks.check_weights_zoo, lambda weights_of: True, "softmax over the wrong axis (its weights sum to 1 over queries, not over keys)"),
    (checks.check_attention_zoo, partial(is_self_attention, num_heads=1), "slipped through your test: heads merged without the transpose"),
    (checks.check_attention_zoo, lambda attention: True, "attention over the batch"),
    (checks.check_attention_zoo, lambda attention: False, "refuses the right one, self_attention"),
    (checks.check_smoothed_loss, lambda logits, label, smoothing: F.cross_entropy(logits, label), "there is no smoothing in it"),
    (checks.check_smoothed_loss, among_the_others, "you share the smoothing among the other classes"),
    (checks.check_smoothed_loss, not_summing_to_one, "your target does not sum to 1: the right class"),
    (checks.check_smoothed_loss, log_of_softmax, "log(0) is -inf"),
    (checks.check_smoothed_loss, exp_over_sum, "exp overflows"),
    (checks.check_smoothed_loss, not_averaged, "this is one loss per image"),
    (checks.check_smoothed_loss, lambda *batch: -smoothed_in_a_loop(*batch), "the sign is wrong"),
    (checks.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens).mean(dim=1)), "the CLS token is in your mean"),
    (checks.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens[:, 1:].mean(dim=1))), "the norm comes first, then the mean"),
    (checks.check_classify_by_mean, lambda tokens, norm, head: head(tokens[:, 1:].mean(dim=1)), "the norm is missing"),
    (checks.check_classify_by_mean, lambda tokens, norm, head: head(F.layer_norm(tokens, (8,))[:, 1:].mean(dim=1)), "the first difference, at [0, 0]"),
    (checks.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens)[:, 0]), "you read the CLS token"),
    (checks.check_classify_by_mean, lambda *step: classify_in_a_loop(*step).softmax(dim=1), "these are probabilities"),
    (checks.check_freeze_all_but_head, unchanged_model, "every parameter still learns"),
    (checks.check_freeze_all_but_head, with_a_flag, "model.requires_grad = False sets what nobody reads"),
    (checks.check_freeze_all_but_head, in_eval, "eval() turns dropout off and freezes nothing"),
    (checks.check_freeze_all_but_head, modules_only, "cls_token still learns: it is a parameter of the model itself"),
    (checks.check_freeze_all_but_head, by_beginning, "head_dist.weight still learns: its name begins like model.head's"),
    (checks.check_freeze_all_but_head, all_of_it, "head.weight is frozen, too"),
    (checks.check_freeze_all_but_head, without_bias, "head.bias is frozen, too"),
    (checks.check_freeze_all_but_head, counting(lambda model: sum(p.requires_grad for p in model.parameters())), "you count tensors"),
    (checks.check_freeze_all_but_head, counting(lambda model: sum(p.numel() for p in model.parameters())), "you count the frozen ones, too"),
    (checks.check_freeze_all_but_head, counting(lambda model: model.head.weight.numel()), "the head's bias is missing"),
    (checks.check_freeze_all_but_head, counting(lambda model: 44), "45 numbers are trained, not 44"),
    (checks.check_freeze_all_but_head, counting(lambda model: [40, 5]), "45 numbers are trained, not [40.0, 5.0]"),
    (checks.check_freeze_all_but_head, counting(lambda model: [45]), "45 numbers are trained, not [45.0]"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "answer", "words"), WRONG)
def test_a_wrong_answer_hears_which_mistake_it_is(say, check, answer, words):
    verdict, line = say(check, answer)
    assert not verdict
    assert line.startswith("wrong: ")
    assert words in line


def test_every_check_names_two_mistakes_at_least():
    named = [check for check, _, _ in WRONG]
    assert all(named.count(check) >= 2 for check in EVERY_CHECK)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(7, 8), *ROW_ENDS], "not the pair (7, 8): on the grid they are neighbours, side by side"),
        ([(0, 7)], "not the pair (0, 7): they are neighbours on the grid, one above the other"),
        ([(0, 48)], "not the pair (0, 48): on the line they are not neighbours"),
        ([*ROW_ENDS, (48, 49)], "not the pair (48, 49): the places go from 0 to 48"),
        (ROW_ENDS[:-1], "the pair (41, 42) is missing"),
        ([], "the pair (6, 7) is missing"),
        (6, "the pairs are no list such as [(0, 1), (1, 2)]"),
        ([1, 2], "the pairs are no list such as [(0, 1), (1, 2)]"),
        ("ab", "the pairs are no list such as [(0, 1), (1, 2)]"),
        (None, "not yet: your table is right, but the pairs are None"),
        ((1 / 0 for _ in range(2)), "the pairs are no list such as [(0, 1), (1, 2)]"),
    ],
)
def test_wrong_pairs_are_named(say, pairs, words):
    verdict, line = say(check_sincos_1d, sincos_in_a_loop, pairs)
    assert not verdict
    assert words in line


def test_pairs_may_be_turned_around_and_in_a_tensor(say):
    assert say(check_sincos_1d, sincos_in_a_loop, torch.tensor(ROW_ENDS).flip(1))[0]


# Answers that are no answers


def nothing(*_):
    pass


def dots(*_):
    return ...


def takes_nothing():
    pass


def broken(*_):
    raise RuntimeError("a message\nof two lines, " + 100 * "long ")


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_a_stub_is_not_yet_an_answer(say, check):
    assert say(check, nothing) == (False, "not yet: your function returns None")
    assert say(check, dots) == (False, "not yet: your function returns Ellipsis")
    assert say(check, None) == (False, "not yet: there is no function, only None")


@pytest.mark.parametrize("check", EVERY_CHECK)
def test_an_answer_that_raises_is_quoted_in_one_short_line(say, check):
    verdict, line = say(check, broken)
    assert not verdict
    assert line.startswith("wrong: your function raises RuntimeError: a message of two lines, long long")
    assert len(line) < 240


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("check", EVERY_CHECK)
@pytest.mark.parametrize(
    "given",
    [
        "text",
        object(),
        {},
        [[1], [1, 2]],
        torch.zeros(3, 0),
        torch.full((), torch.nan),
        torch.ones(2, device="meta"),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        nothing,
    ],
    ids=lambda given: type(given).__name__,
)
def test_nonsense_is_refused_and_nothing_is_raised(say, check, given):
    assert not say(check, lambda *_: given)[0]
    if not callable(given):
        verdict, line = say(check, given)
        assert not verdict
        assert "give the function itself, without calling it" in line


def test_what_is_not_recognised_is_shown_with_its_first_difference(say):
    def all_but_one(patches, patch_size, image_size):
        image = fold(patches, patch_size, image_size)
        image[1, 2:, 3, 5] = 7.0
        return image

    _, line = say(checks.check_patches2image, all_but_one)
    assert re.search(
        r"for 2 images of 3 × 8 × 8, patch_size 4 your shape \(2, 3, 8, 8\) is right; "
        r"the first difference, at \[1, 2, 3, 5\]: 7, wanted -?[\d.]+$",
        line,
    )
    _, line = say(checks.check_patches2image, lambda *_: torch.zeros(4))
    assert line.endswith("your shape is (4,), wanted (2, 3, 8, 8)")
    _, line = say(checks.check_most_alike, lambda table, place: 8)
    assert re.search(r"for row 1 of a random table you say 8, wanted \d+$", line)


def test_a_function_of_the_wrong_number_of_arguments_is_quoted(say):
    for check in EVERY_CHECK:
        assert "() takes 0 positional arguments but" in say(check, takes_nothing)[1]


# What the checks say about themselves


TABLES = [
    (checks.check_patches2image, checks.PATCHES2IMAGE_MISTAKES),
    (checks.check_weight_rows, checks.WEIGHT_ROWS_MISTAKES),
    (checks.check_registers, checks.REGISTERS_MISTAKES),
    (checks.check_pool_patches, checks.POOL_PATCHES_MISTAKES),
    (checks.check_reached, checks.REACHED_MISTAKES),
    (check_sincos_1d, checks.SINCOS_1D_MISTAKES),
    (checks.check_most_alike, checks.MOST_ALIKE_MISTAKES),
    (checks.check_swap_positions, checks.SWAP_POSITIONS_MISTAKES),
    (checks.check_smoothed_loss, checks.SMOOTHED_LOSS_MISTAKES),
    (checks.check_classify_by_mean, checks.CLASSIFY_BY_MEAN_MISTAKES),
]


@pytest.mark.parametrize(("check", "mistakes"), TABLES)
def test_no_two_mistakes_look_the_same(say, check, mistakes):
    for words, mistake in mistakes.items():
        assert say(check, mistake) == (False, f"wrong: {words}")


def test_no_two_mistakes_about_overlap_look_the_same(say):
    for words, count in checks.OVERLAP_COUNT_MISTAKES.items():
        wrong = lambda *sizes: (count(*sizes), overlap(*sizes)[1])  # noqa: E731
        assert say(checks.check_overlap, wrong) == (False, f"wrong: {words}")
    for words, shared in checks.OVERLAP_SHARED_MISTAKES.items():
        wrong = lambda *sizes: (overlap(*sizes)[0], shared(*sizes))  # noqa: E731
        assert say(checks.check_overlap, wrong) == (False, f"wrong: {words}")


@pytest.mark.parametrize(
    ("check", "answer", "zoo"),
    [
        (checks.check_pool_zoo, is_mean, checks.POOL_ZOO),
        (checks.check_weights_zoo, is_attention, checks.WEIGHTS_ZOO),
        (checks.check_attention_zoo, is_self_attention, checks.ATTENTION_ZOO),
    ],
)
def test_each_bug_of_the_zoo_can_slip_through_alone(say, check, answer, zoo, monkeypatch):
    for words in zoo:
        asked = []

        def blind(implementation, asked=asked, words=words):
            asked.append(implementation)
            return answer(implementation) or len(asked) == 3 + list(zoo).index(words)

        assert say(check, blind) == (False, f"wrong: this slipped through your test: {words}")


def test_the_bugs_of_the_zoo_run_and_keep_the_shapes():
    query, tokens, qkv, proj = (
        torch.randn(2, 3, 5, 4),
        torch.randn(2, 5, 8),
        nn.Linear(8, 24),
        nn.Linear(8, 8),
    )
    for pool in checks.POOL_ZOO.values():
        assert pool(tokens).shape == (2, 8)
    for weights_of in checks.WEIGHTS_ZOO.values():
        assert weights_of(query, query).shape == (2, 3, 5, 5)
    for attention in checks.ATTENTION_ZOO.values():
        assert attention(tokens, qkv, proj, 4)[0].shape == (2, 5, 8)


def test_the_rows_of_weight_give_the_tokens_of_image2emb_naive():
    image, weight = torch.randn(2, 3, 8, 12), torch.randn(48, 6)
    theirs = image2patches(image, 4).unflatten(2, (3, 4, 4)).permute(0, 1, 3, 4, 2).flatten(2)
    tokens = theirs @ weight[rows_in_a_loop(3, 4)]
    torch.testing.assert_close(tokens, image2emb_naive(image, 4, weight))
    torch.testing.assert_close(tokens, image2emb_conv(image, weight2kernel(weight, 3, 4), 4))


def test_a_right_answer_may_come_as_numbers_of_any_kind(say):
    assert say(checks.check_pool_patches, lambda *given: pool_in_a_loop(*given).to_sparse())[0]
    assert say(checks.check_pool_patches, lambda *given: pool_in_a_loop(*given).tolist())[0]
    assert say(checks.check_pool_patches, lambda *given: pool_in_a_loop(*given).requires_grad_())[0]
    assert say(checks.check_pool_patches, lambda *given: pool_in_a_loop(*given).numpy())[0]
    assert say(checks.check_most_alike, lambda *given: float(most_alike_in_a_loop(*given)))[0]


def test_an_answer_by_chance_is_the_same_each_time(say):
    first = say(checks.check_pool_patches, lambda tokens, prefix: torch.rand(2, 8))
    torch.rand(3)
    assert say(checks.check_pool_patches, lambda tokens, prefix: torch.rand(2, 8)) == first


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_a_check_leaves_the_random_numbers_and_says_the_same_each_time(say, check, answer):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = say(check, answer)
    assert torch.equal(torch.rand(3), expected)
    torch.rand(7)
    with torch.no_grad():
        assert say(check, answer if check is not checks.check_reached else reached_by_trying) == first
