"""Wrong answers to the exercises, as they come out of readers' hands, and the words that each is to hear."""

# ruff: noqa: E501 (one line for each wrong answer)
from functools import partial

import torch
import torch.nn.functional as F
from my_vits import WRONG_VITS
from right_answers import (
    add_registers,
    check_sincos_1d,
    classify_in_a_loop,
    freeze,
    is_self_attention,
    overlap,
    put_back,
    reached_by_jacobian,
    rows_in_a_loop,
    sincos_in_a_loop,
    smoothed_in_a_loop,
    swap_in_a_copy,
)
from torch import nn

from vit_steps import lessons, pool_cls, pool_mean, sincos_position


def put_back_in_a_loop(patches, patch_size, image_size):
    cols = image_size[1] // patch_size
    image = torch.empty(len(patches), patches.shape[2] // patch_size**2, *image_size)
    for n in range(patches.shape[1]):
        top, left = n // cols * patch_size, n % cols * patch_size
        block = patches[:, n].reshape(len(patches), -1, patch_size, patch_size)
        image[:, :, top : top + patch_size, left : left + patch_size] = block
    return image


def put_back_row_by_row(patches, patch_size, image_size):
    rows = patches.chunk(image_size[0] // patch_size, dim=1)
    blocks = [row.unflatten(2, (-1, patch_size, patch_size)).permute(0, 2, 3, 1, 4) for row in rows]
    return torch.cat([block.flatten(3) for block in blocks], dim=2)


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


def woven_patches(patches, patch_size, image_size):
    rows, cols = (side // patch_size for side in image_size)
    blocks = patches.reshape(len(patches), rows, cols, -1, patch_size, patch_size)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(len(patches), -1, *image_size)


def columns_in_height(patches, patch_size, image_size):
    rows, cols = (side // patch_size for side in image_size)
    blocks = patches.reshape(len(patches), rows, cols, -1, patch_size, patch_size)
    return blocks.permute(0, 3, 2, 4, 1, 5).reshape(len(patches), -1, *image_size)


def transposed_patches(patches, patch_size, image_size):
    turned = patches.unflatten(2, (-1, patch_size, patch_size)).transpose(3, 4).flatten(2)
    return put_back(turned, patch_size, image_size)


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


def with_a_new_head(model):
    freeze(model)
    model.head = nn.Linear(8, 5)
    return 45


def with_a_copy_of_the_head(model):
    freeze(model)
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    return 45


def with_a_head_drawn_anew(model):
    freeze(model)
    model.head.reset_parameters()
    return 45


def with_another_cls_token(model):
    freeze(model)
    torch.nn.init.ones_(model.cls_token)
    return 45


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
    (lessons.check_patches2image, lambda p, s, size: p.reshape(len(p), -1, *size), "you reshape and move no axis"),
    (lessons.check_patches2image, put_back_in_a_loop, "right numbers, but in a loop"),
    (lessons.check_patches2image, put_back_row_by_row, "right numbers, but in a loop"),
    (lessons.check_patches2image, not_interleaved, "the row inside a patch must come right after the row of patches"),
    (lessons.check_patches2image, square_grid, "you take the image for square"),
    (lessons.check_patches2image, three_channels, "you take it for granted that an image has 3 channels"),
    (lessons.check_patches2image, transposed_patches, "inside each patch, rows and columns are swapped"),
    (lessons.check_patches2image, woven_patches, "your patches are woven into each other"),
    (lessons.check_patches2image, columns_in_height, "you give the columns of patches to the height"),
    (lessons.check_patches2image, lambda p, s, size: put_back(p, s, size[::-1]), "it is (height, width)"),
    (lessons.check_patches2image, lambda p, s, size: put_back(p, s, size).movedim(1, -1), "your channels come last"),
    (lessons.check_weight_rows, lambda c, p: torch.tensor(rows_in_a_loop(c, p)).argsort(), "this is the inverse"),
    (lessons.check_weight_rows, lambda c, p: range(c * p * p), "you leave the rows as they are"),
    (lessons.check_weight_rows, lambda c, p: torch.arange(c * p * p).view(c, p, p).permute(2, 1, 0).flatten(), "your order is (col, row, channel)"),
    (lessons.check_weight_rows, lambda c, p: [row + 1 for row in rows_in_a_loop(c, p)], "you count from 1"),
    (lessons.check_overlap, lambda size, p, s: (size[0] // s * (size[1] // s), range(s, p)), "the last patches would stick out"),
    (lessons.check_overlap, lambda size, p, s: ((size[0] - p) // s * ((size[1] - p) // s), range(s, p)), "one more than there are steps"),
    (lessons.check_overlap, lambda size, p, s: (overlap((size[0], size[0]), p, s)[0], range(s, p)), "you take the image for square"),
    (lessons.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], range(p - s)), "the second patch begins at column `stride`"),
    (lessons.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], p - s), "say which"),
    (lessons.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], (s, p)), "where they begin and where they stop"),
    (lessons.check_overlap, lambda size, p, s: (overlap(size, p, s)[0], [s, p - 1]), "the first and the last of them"),
    (lessons.check_overlap, lambda size, p, s: overlap(size, p, s)[0], "returns int, wanted a pair (number of patches, shared columns)"),
    (lessons.check_registers, lambda p, c, r: torch.cat([c, r, p], dim=1), "expand them"),
    (lessons.check_registers, lambda p, c, r: add_registers(p, r, c), "tokens[:, 0] reads a register"),
    (lessons.check_registers, lambda p, c, r: add_registers(add_registers(p, c, r)[:, 5:], c, r[:, :0]), "the registers are missing"),
    (lessons.check_registers, lambda p, c, r: torch.cat([add_registers(p, c, r[:, :0]), r.expand(len(p), 4, 8)], 1), "the registers stand behind the patches"),
    (lessons.check_registers, one_register, "your four registers are one and the same"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens.mean(dim=1), "CLS and registers are in your mean"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens[:, 1:].mean(dim=1), "the registers are in your mean"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens[:, prefix + 1 :].mean(dim=1), "you leave out the first patch"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens[:, :-prefix].mean(dim=1), "where -0 is 0"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens[:, prefix:].sum(dim=1) / tokens.shape[1], "you divide by the number of tokens"),
    (lessons.check_pool_patches, lambda tokens, prefix: pool_mean(torch.cat([tokens[:, :1], tokens[:, prefix:]], dim=1)), "your function calls pool_mean: write it yourself"),
    (lessons.check_pool_patches, lambda tokens, prefix: tokens[:, prefix:].mean(), "your shape is (), wanted (2, 8)"),
    (lessons.check_reached, reads_all, "let the loss read the CLS token alone"),
    (lessons.check_reached, plain_sum, "behind a norm that sum is constant"),
    (lessons.check_reached, one_mask_per_image, "this is one mask per image"),
    (lessons.check_reached, only_cls, "you reach the CLS token alone, whatever the encoder"),
    (lessons.check_reached, lambda encoder, tokens: ~reached_by_jacobian(encoder, tokens), "true and false are swapped"),
    (lessons.check_reached, one_block_far, "for two blocks in which every token sees itself and the next one your shape (5,) is right; the first difference, at [2]: 0, wanted 1"),
    (lessons.check_reached, in_place_gradient, "your function changes the tensor it was given"),
    (check_sincos_1d, taking_turns, "your waves take turns"),
    (check_sincos_1d, from_one, "your places start at 1"),
    (check_sincos_1d, lambda places, dim: sincos_in_a_loop(places, 2 * dim)[:, : dim], "wrong: for 49 places, dim 64"),
    (check_sincos_1d, lambda places, dim: sincos_in_a_loop(places, dim)[:, : dim // 2], "the cosines are missing"),
    (check_sincos_1d, lambda places, dim: sincos_position((1, places), 2 * dim)[:, :dim], "your function calls sincos_position: write it yourself"),
    (lessons.check_most_alike, like_itself, "you found the patch itself"),
    (lessons.check_most_alike, second_best, "you found the CLS token"),
    (lessons.check_most_alike, cut_off_and_forgotten, "you are one off"),
    (lessons.check_most_alike, nearest, "you took the smallest distance"),
    (lessons.check_most_alike, largest_product, "you took the largest product"),
    (lessons.check_swap_positions, swap_windows, "both rows are the same now: table[first] is a window"),
    (lessons.check_swap_positions, swap_in_place, "your function changes the tensor it was given"),
    (lessons.check_swap_positions, swap_patches, "you add 1 for the CLS token"),
    (lessons.check_swap_positions, lambda table, first, second: table, "nothing has changed"),
    (lessons.check_pool_zoo, on_ones, "slipped through your test: the mean over all tokens, the CLS token among them; a mean"),
    (lessons.check_pool_zoo, moves_without_cls, "slipped through your test: a mean that leaves out two tokens"),
    (lessons.check_pool_zoo, to_the_bit, "refuses the right one, a pool_mean that adds up in another order"),
    (lessons.check_pool_zoo, lambda pool: False, "refuses the right one, pool_mean"),
    (lessons.check_weights_zoo, sums_to_one, "slipped through your test: √dim in place of √head_dim"),
    (lessons.check_weights_zoo, with_one_head, "slipped through your test: √dim in place of √head_dim"),
    (lessons.check_weights_zoo, columns_sum_to_one, "refuses the right one, attention_weights"),
    (lessons.check_weights_zoo, lambda weights_of: True, "softmax over the wrong axis (its weights sum to 1 over queries, not over keys)"),
    (lessons.check_attention_zoo, partial(is_self_attention, num_heads=1), "slipped through your test: heads merged without the transpose"),
    (lessons.check_attention_zoo, lambda attention: True, "attention over the batch"),
    (lessons.check_attention_zoo, lambda attention: False, "refuses the right one, self_attention"),
    (lessons.check_smoothed_loss, lambda logits, label, smoothing: F.cross_entropy(logits, label), "there is no smoothing in it"),
    (lessons.check_smoothed_loss, among_the_others, "you share the smoothing among the other classes"),
    (lessons.check_smoothed_loss, not_summing_to_one, "your target does not sum to 1: the right class"),
    (lessons.check_smoothed_loss, log_of_softmax, "log(0) is -inf"),
    (lessons.check_smoothed_loss, exp_over_sum, "exp overflows"),
    (lessons.check_smoothed_loss, not_averaged, "this is one loss per image"),
    (lessons.check_smoothed_loss, lambda *batch: -smoothed_in_a_loop(*batch), "the sign is wrong"),
    (lessons.check_smoothed_loss, lambda *batch: smoothed_in_a_loop(*batch).item(), "right number, but as float: a loss is a tensor"),
    (lessons.check_smoothed_loss, lambda *batch: smoothed_in_a_loop(*batch).detach().numpy(), "right number, but as ndarray"),
    (lessons.check_smoothed_loss, lambda *batch: smoothed_in_a_loop(*batch).detach(), "torn off from the logits"),
    (lessons.check_smoothed_loss, lambda logits, *rest: torch.from_numpy(smoothed_in_a_loop(logits, *rest).numpy()), "where the logits have a gradient it raises RuntimeError"),
    (lessons.check_smoothed_loss, torch.no_grad()(smoothed_in_a_loop), "torn off from the logits"),
    (lessons.check_smoothed_loss, lambda *batch: torch.tensor(smoothed_in_a_loop(*batch).item()), "torn off from the logits"),
    (lessons.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens).mean(dim=1)), "the CLS token is in your mean"),
    (lessons.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens[:, 1:].mean(dim=1))), "the norm comes first, then the mean"),
    (lessons.check_classify_by_mean, lambda tokens, norm, head: head(tokens[:, 1:].mean(dim=1)), "the norm is missing"),
    (lessons.check_classify_by_mean, lambda tokens, norm, head: head(F.layer_norm(tokens, (8,))[:, 1:].mean(dim=1)), "the first difference, at [0, 0]"),
    (lessons.check_classify_by_mean, lambda tokens, norm, head: head(norm(tokens)[:, 0]), "you read the CLS token"),
    (lessons.check_classify_by_mean, lambda *step: classify_in_a_loop(*step).softmax(dim=1), "these are probabilities"),
    (lessons.check_freeze_all_but_head, unchanged_model, "every parameter still learns"),
    (lessons.check_freeze_all_but_head, with_a_flag, "model.requires_grad = False sets what nobody reads"),
    (lessons.check_freeze_all_but_head, in_eval, "eval() turns dropout off and freezes nothing"),
    (lessons.check_freeze_all_but_head, modules_only, "cls_token still learns: it is a parameter of the model itself"),
    (lessons.check_freeze_all_but_head, by_beginning, "head_dist.weight still learns: its name begins like model.head's"),
    (lessons.check_freeze_all_but_head, all_of_it, "head.weight is frozen, too"),
    (lessons.check_freeze_all_but_head, without_bias, "head.bias is frozen, too"),
    (lessons.check_freeze_all_but_head, with_a_new_head, "head.weight is a new tensor; freeze the others"),
    (lessons.check_freeze_all_but_head, with_a_copy_of_the_head, "head.weight is a new tensor"),
    (lessons.check_freeze_all_but_head, with_a_head_drawn_anew, "head.weight holds other numbers than before"),
    (lessons.check_freeze_all_but_head, with_another_cls_token, "cls_token holds other numbers than before"),
    (lessons.check_freeze_all_but_head, counting(lambda model: sum(p.requires_grad for p in model.parameters())), "you count tensors"),
    (lessons.check_freeze_all_but_head, counting(lambda model: sum(p.numel() for p in model.parameters())), "you count the frozen ones, too"),
    (lessons.check_freeze_all_but_head, counting(lambda model: model.head.weight.numel()), "the head's bias is missing"),
    (lessons.check_freeze_all_but_head, counting(lambda model: 44), "45 numbers are trained, not 44"),
    (lessons.check_freeze_all_but_head, counting(lambda model: [40, 5]), "45 numbers are trained, not [40.0, 5.0]"),
    (lessons.check_freeze_all_but_head, counting(lambda model: [45]), "45 numbers are trained, not [45.0]"),
    *((lessons.check_my_vit, answer, words) for answer, words in WRONG_VITS),
]  # fmt: skip
