"""Draw the README's pictures: `make picture`. What trained eyes see, and the five steps on real data."""

from pathlib import Path

import torch
from matplotlib import pyplot as plt

from vit_steps import position_similarity, sincos_position, top_k
from vit_steps.data import PHOTOS, load_digits_images, load_photo
from vit_steps.files.writing import write_whole
from vit_steps.lessons.sights import PAIRS, load_sights, place_of
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.components import token_colours
from vit_steps.looking.plots import (
    plot_attention,
    plot_grid,
    plot_image,
    plot_map,
    plot_scores,
    plot_similarity,
    plot_tokens,
)
from vit_steps.training import load_checkpoint

PICTURES = Path(__file__).resolve().parent.parent / ".github"
POINTED_AT = "emblem and name tag"


@torch.no_grad()
def draw_five_steps(axes) -> None:
    model = load_checkpoint()
    image = load_digits_images("test")[0][2:3]
    trace = model.trace(image)
    seen = attention_rollout(trace.attention)[0, 0, 1:].unflatten(0, model.grid)
    answers = top_k(trace.logits, [str(digit) for digit in range(10)], k=4)
    plot_grid(load_photo("chelsea", size=224)[0], 32, axes[0], title="1 patches")
    plot_tokens(trace.with_cls[0], axes[1], title="2 CLS token, first of 17")
    plot_similarity(position_similarity(sincos_position((7, 7), 64)), (7, 7), axes[2], title="3 positions")
    plot_attention(seen, image[0], axes[3], title="4 attention")
    plot_scores(answers, axes[4], title="5 answer")


def draw_eyes(axes) -> None:
    photo, first, _ = PAIRS[POINTED_AT]
    sights = dict(zip(("trained", "untrained"), load_sights(), strict=True))
    for number, (whose, sight) in enumerate(sights.items(), start=1):
        tokens = sight.tokens[PHOTOS.index(photo)]
        likeness = (tokens @ tokens[place_of(*first, sight.grid)]).unflatten(0, sight.grid)
        plot_map(likeness, axes[number], title=f"like it, {whose}")
        axes[number + 2].imshow(token_colours(tokens, sight.grid))
        axes[number + 2].set(title=f"two components, {whose}", xticks=[], yticks=[])
    plot_image(sight.images[PHOTOS.index(photo)], axes[0], title="point at the emblem")
    patch = sight.images.shape[-1] // sight.grid[1]
    for ax, size in zip(axes[:3], (patch, 1, 1), strict=True):
        across, down = ((place - 0.5) * size - 0.5 for place in reversed(first))
        for colour, length, thickness in (("white", 14, 3), ("black", 12, 1)):
            ax.plot(across, down, "+", color=colour, ms=length, mew=thickness)


def save(name: str, figure) -> None:
    write_whole(PICTURES / name, lambda draft: figure.savefig(draft, dpi=110))
    print(PICTURES / name)


if __name__ == "__main__":
    plt.style.use("vit_steps.looking.lesson")
    figure, axes = plt.subplots(1, 5, figsize=(15, 3.3))
    draw_eyes(axes)
    save("real_eyes.png", figure)
    figure, axes = plt.subplots(1, 5, figsize=(15, 3), width_ratios=(1, 1.25, 1, 1, 0.9))
    draw_five_steps(axes)
    save("five_steps.png", figure)
