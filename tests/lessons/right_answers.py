"""Right answers to the exercises, each written as a reader would write it and not as the check does."""

import torch
import torch.nn.functional as F
from my_vits import Mine
from torch import nn

from vit_steps import lessons, pool_cls

ROW_ENDS = [(6, 7), (13, 14), (20, 21), (27, 28), (34, 35), (41, 42)]


def check_sincos_1d(table, pairs=ROW_ENDS):
    return lessons.check_sincos_1d(table, pairs)


def put_back(patches, patch_size, image_size):
    rows, cols = (side // patch_size for side in image_size)
    blocks = patches.view(len(patches), rows, cols, -1, patch_size, patch_size)
    return torch.einsum("brcCyx->bCrycx", blocks).flatten(4).flatten(2, 3)


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


@torch.enable_grad()
def is_self_attention(attention, num_heads=4, batch=2):
    layers = {"qkv": nn.Linear(8, 24), "proj": nn.Linear(8, 8), "num_heads": num_heads}
    tokens = torch.randn(batch, 5, 8, requires_grad=True)
    given, turned = attention(tokens, **layers)[0], attention(tokens.flip(1), **layers)[0]
    (reached,) = torch.autograd.grad(given[0, 0].sum(), tokens, retain_graph=True)
    hears_all, is_sealed = reached[0].any(dim=1).all(), not reached[1:].any()
    return hears_all and is_sealed and torch.allclose(given.flip(1), turned, atol=1e-5)


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
    (lessons.check_patches2image, put_back),
    (lessons.check_weight_rows, rows_in_a_loop),
    (lessons.check_overlap, overlap),
    (lessons.check_registers, add_registers),
    (lessons.check_pool_patches, pool_in_a_loop),
    (lessons.check_reached, reached_by_jacobian),
    (lessons.check_reached, reached_by_cubes),
    (lessons.check_reached, reached_by_trying),
    (check_sincos_1d, sincos_in_a_loop),
    (lessons.check_most_alike, most_alike_in_a_loop),
    (lessons.check_swap_positions, swap_in_a_copy),
    (lessons.check_pool_zoo, is_mean),
    (lessons.check_weights_zoo, is_attention),
    (lessons.check_attention_zoo, is_self_attention),
    (lessons.check_my_vit, Mine),
    (lessons.check_smoothed_loss, smoothed_in_a_loop),
    (lessons.check_classify_by_mean, classify_in_a_loop),
    (lessons.check_freeze_all_but_head, freeze),
]
EVERY_CHECK = list(dict.fromkeys(check for check, _ in RIGHT))
