"""Draw the README's picture, the five steps on real data: `make picture`."""

from pathlib import Path

import torch
from matplotlib import pyplot as plt

from vit_steps import position_similarity, sincos_position, top_k
from vit_steps.data import load_digits_images, load_photo
from vit_steps.files.writing import write_whole
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.plots import plot_attention, plot_grid, plot_scores, plot_similarity, plot_tokens
from vit_steps.training import load_checkpoint

PICTURE = Path(__file__).resolve().parent.parent / ".github" / "five_steps.png"


@torch.no_grad()
def draw(axes) -> None:
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


if __name__ == "__main__":
    plt.style.use("vit_steps.looking.lesson")
    figure, axes = plt.subplots(1, 5, figsize=(15, 3), width_ratios=(1, 1.25, 1, 1, 0.9))
    draw(axes)
    write_whole(PICTURE, lambda draft: figure.savefig(draft, dpi=110))
    print(PICTURE)
