"""Excursion A's claims in five models besides the one that ships: read and used, and the contest of maps.

``python tools/experiments.py inside`` trains them on the digits with the recipe of the digits model, for
thirty epochs, each with a seed and a split of its own.
"""

from collections.abc import Iterator

import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from vit_steps import ViT, classify, image2patches
from vit_steps.data import load_digits_images
from vit_steps.looking import attribution
from vit_steps.looking.attention_maps import attention_rollout, cls_attention, deletion_curve
from vit_steps.looking.removal import removal_curve
from vit_steps.looking.seat import cls_by_block, swap_cls
from vit_steps.training import digits_model, fit

SEEDS = range(5)
Row = dict[str, object]


def look_inside() -> Iterator[Row]:
    """Measure five models: one row for each number, by what it is about and where it was taken."""
    for seed in SEEDS:
        train, test = load_digits_images("train", seed=seed), load_digits_images("test", seed=seed)
        model = digits_model(patch_size=2, depth=4, seed=seed)
        fit(model, train, None, epochs=30, seed=seed, progress=False)
        for what, where, value in [*seat(model, train, test), *contest(model, *test)]:
            yield {"seed": seed, "what": what, "where": where, "value": f"{value:.4f}"}


def seat(model: ViT, train: tuple, test: tuple) -> Iterator[tuple[str, str, float]]:
    """After each block: the probe, the logit lens, and the share of answers that a swap takes along."""
    images, labels = test
    seen, unseen = (cls_by_block(model, each) for each in (train[0], images))
    with torch.no_grad():
        answers = model(images).argmax(dim=1)
    others = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    differ = answers != answers[others]
    for blocks, (known, new) in enumerate(zip(seen, unseen, strict=True)):
        reader = make_pipeline(StandardScaler(), RidgeClassifier()).fit(known.numpy(), train[1].numpy())
        yield "read", f"{blocks}", reader.score(new.numpy(), labels.numpy())
        lens = classify(new[:, None], model.norm, model.head).argmax(dim=1)
        yield "lens", f"{blocks}", (lens == labels).float().mean().item()
        swapped = swap_cls(model, images, images[others], blocks).argmax(dim=1)
        yield "used", f"{blocks}", (swapped == answers[others])[differ].float().mean().item()


def contest(model: ViT, images: Tensor, labels: Tensor) -> Iterator[tuple[str, str, float]]:
    """For each map the area below accuracy when what it ranks highest goes first: removed, and painted."""
    for name, ranking in maps_of(model, images).items():
        order = ranking.argsort(dim=1, descending=True)
        yield "removed", name, removal_curve(model, images, labels, order).mean().item()
        yield "painted", name, deletion_curve(model, images, labels, order).mean().item()
        yield "kept", name, removal_curve(model, images, labels, order.flip(1))[8].item()


@torch.no_grad()
def maps_of(model: ViT, images: Tensor) -> dict[str, Tensor]:
    """The maps that compete, chance among them."""
    attention = model.trace(images).attention
    return {
        "leave one out": attribution.leave_one_out(model, images),
        "rollout": attention_rollout(attention)[:, 0, 1:],
        "attention relevance": attribution.attention_relevance(model, images),
        "last block's attention": cls_attention(attention, model.grid).flatten(1),
        "integrated gradients": attribution.integrated_gradients(model, images),
        "gradient times input": attribution.gradient_times_input(model, images),
        "ink": image2patches(images, model.patch_size).sum(dim=2),
        "chance": torch.rand(len(images), 16, generator=torch.Generator().manual_seed(0)),
    }
