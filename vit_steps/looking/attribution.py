"""What an answer hangs on, patch by patch: six ways to rank the patches of an image, each with its paper.

Each gives one number for each patch, the larger the more the answer hangs on it: two by attention alone, the
others for the class that the model itself answers. What comes before the patches, the CLS token and
registers, takes part and is not ranked. None is the truth: hold them against each other and against chance,
with :func:`vit_steps.looking.removal.removal_curve`.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vit_steps.classification import classify
from vit_steps.doors import door
from vit_steps.encoder import encoder_block, self_attention
from vit_steps.looking._tokens import (
    AT_ONCE,
    asks_once,
    enter,
    finish,
    pick,
    read_rows,
    reads_cls,
    reads_one_vector,
    turns_no_token,
)
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.patch_embedding import image2patches
from vit_steps.vit import ViT

Images = Float[Tensor, "batch channels height width"]
Ranking = Float[Tensor, "batch patches"]


@door(asks_once)
def answer_attention(model: ViT, images: Images) -> Ranking:
    """Whom the token that is read looks at in the end, mean of its heads: the CLS token, or a probe.

    The CLS token looks in the last block. Where a probe pools (SigLIP), it looks behind the blocks.

    Args:
        model: any that reads its CLS token alone, or pools by attention.
        images: a batch of images.

    Raises:
        ValueError: "model pools the mean of the patches: no one token looks for its answer".
        TypeError: "model must be a ViT, not Linear", or ``images`` is not a floating-point tensor.
    """
    with torch.no_grad():
        return torch.cat([_looked_at(model, part) for part in images.split(AT_ONCE)])


@door(reads_one_vector)
def answer_rollout(model: ViT, images: Images) -> Ranking:
    """From which patches what is read was drawn, through all blocks and by attention (arXiv 2005.00928).

    What pools the tokens pools the rows of :func:`attention_rollout`: the CLS token's row is taken, rows are
    averaged as tokens are, or weighed as a probe weighs its patches.

    Args, Raises: as :func:`answer_attention`, but
        ValueError: "model pools its CLS token and a register: each was drawn from patches of its own".
    """
    with torch.no_grad():
        return torch.cat([_drawn_from(model, part) for part in images.split(AT_ONCE)])


@door()
def gradient_times_input(model: ViT, images: Images) -> Ranking:
    """Gradient of the answer's logit times the image, summed over a patch (arXiv 1605.01713).

    Args:
        model: in eval mode.
        images: a batch of images.

    Raises:
        TypeError: "model must be a ViT, not Linear", or ``images`` is not a floating-point tensor.
    """
    products = _gradient(model, images, _answers(model, images)) * images
    return image2patches(products, model.patch_size).sum(dim=2)


@door("steps is at least 1")
def integrated_gradients(model: ViT, images: Images, *, steps: int = 32) -> Ranking:
    """The same, with the mean of the gradients on the way from a black image (arXiv 1703.01365).

    Args, Raises: as :func:`gradient_times_input`, and
        steps: how many points of the way, in the middle of as many equal parts.
    """
    answers = _answers(model, images)
    shares = [(step + 0.5) / steps for step in range(steps)]
    mean = sum(_gradient(model, share * images, answers) for share in shares) / steps
    return image2patches(mean * images, model.patch_size).sum(dim=2)


@door(reads_cls)
def attention_relevance(model: ViT, images: Images) -> Ranking:
    """Attention times its gradient, where positive, rolled out through all blocks (arXiv 2103.15679).

    Args, Raises: as :func:`gradient_times_input`, and
        ValueError: "model pools the mean of the patches, not its CLS token alone".
    """
    return torch.cat([_relevance(model, part) for part in images.split(AT_ONCE)])


@door(turns_no_token)
def leave_one_out(model: ViT, images: Images) -> Ranking:
    """How far the answer's logit falls when the token of one patch is left out (after arXiv 1311.2901).

    Args, Raises: as :func:`gradient_times_input`, and
        ValueError: "model turns queries and keys by their places: without one token, the next would be
            turned as it".
    """
    with torch.no_grad():
        tokens, answers = enter(model, images), _answers(model, images)[:, None]
        everyone = torch.arange(tokens.shape[1], device=tokens.device)
        patches = everyone[model.num_prefix :]
        rest = [everyone[everyone != left_out].expand(len(tokens), -1) for left_out in patches]
        without = [finish(model, pick(tokens, kept)).gather(1, answers) for kept in rest]
        return model(images).gather(1, answers) - torch.cat(without, dim=1)


def _looked_at(model: ViT, images: Tensor) -> Tensor:
    trace = model.trace(images, layers=[-1])
    cls_looks = trace.attention[:, 0, :, :1, model.num_prefix :]
    return (cls_looks if trace.pooling is None else trace.pooling).mean(dim=1)[:, 0]


def _drawn_from(model: ViT, images: Tensor) -> Tensor:
    trace = model.trace(images)
    read = read_rows(model, attention_rollout(trace.attention), trace.pooling)
    return read[:, model.num_prefix :]


def _answers(model: ViT, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(dim=1)


def _gradient(model: ViT, images: Tensor, answers: Tensor) -> Tensor:
    found = []
    for some, theirs in zip(images.split(AT_ONCE), answers.split(AT_ONCE), strict=True):
        with torch.enable_grad():
            some = some.detach().requires_grad_()
            logits = model(some).gather(1, theirs[:, None])
            found.append(torch.autograd.grad(logits.sum(), some)[0])
    return torch.cat(found)


def _relevance(model: ViT, images: Tensor) -> Tensor:
    with torch.enable_grad():
        tokens, seen = enter(model, images).detach().requires_grad_(), []
        for block in model.blocks:
            own = {"qkv": block.attn.project, "proj": block.attn.proj, "num_heads": block.attn.num_heads}
            attn = partial(self_attention, **own)
            tokens, weights = encoder_block(tokens, block.norm1, attn, block.norm2, block.mlp)
            seen.append(weights)
        logits = classify(tokens, model.norm, model.head, pool=model.read)
        gradients = torch.autograd.grad(logits.amax(dim=1).sum(), seen)
    relevance = torch.eye(tokens.shape[1]).to(tokens).expand(len(tokens), -1, -1)
    for weights, gradient in zip(seen, gradients, strict=True):
        relevance = relevance + (weights * gradient).clamp(min=0).mean(dim=1) @ relevance
    return relevance[:, 0, model.num_prefix :].detach()
