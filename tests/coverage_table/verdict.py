"""One model, saved one way: read with load_pretrained, and judged."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vit_steps.pretrained import Pretrained, load_pretrained

SAME, SAID, TRUE, MISLEADING, WRONG = "same", "assumption said", "refused, true reason", "misleading", "wrong"
VERDICTS = (SAME, SAID, TRUE, MISLEADING, WRONG)
# In float64 two ways to the same function differ by 1e-12 here. Another epsilon, 1e-5 for 1e-6, gives 1e-6.
TOLERANCE = 1e-9
# What may stand in the way, as a refusal has to say it. What each model is, its own file knows.
OBSTACLES = {
    *("register tokens",),
    *("no norm after the last block", "no class token", "pooling by attention", "rotary positions"),
    *("relative positions", "RMSNorm", "norms of query and key", "rotary positions that were learned"),
    *("norm inside the attention or the MLP", "norms after attention and MLP", "side by side"),
    *("differential attention", "convolutional stem", "no table of positions", "NaFlex"),
    *("several blocks", "detection tokens", "stages", "patches of a video"),
    *("last norm twice", "marks places", "patches of a spectrogram"),
}
POOL = 1_000_003  # a prime, so that no row of a matrix begins where another did


class Saved(NamedTuple):
    """A model on disk.

    Attributes:
        source: what load_pretrained is given, with these options.
        answers: image -> what the model answers, by its own library; None where the file has no numbers.
        shape: of one image.
        obstacles: what makes it another function, by what is known of it; empty where it is this one.
        tolerance: how far two ways to the same function may be apart, as a share of the largest number.
        unseen: what of it leaves no key, such as its epsilon, so that a bare file cannot tell it.
    """

    source: Path
    answers: Callable[[Tensor], Tensor] | None
    shape: tuple[int, int, int]
    obstacles: frozenset[str] = frozenset()
    unseen: str = ""
    options: dict = {}  # noqa: RUF012
    tolerance: float = TOLERANCE
    ours: Callable[[Pretrained, Tensor], Tensor] = lambda loaded, image: loaded.model(image)


class Verdict(NamedTuple):
    """What came of it, and what was said."""

    kind: str
    said: str


def judge(saved: Saved) -> Verdict:
    """Read a model with load_pretrained and say what came of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = load_pretrained(saved.source, **saved.options)
        except (KeyError, TypeError, ValueError) as error:
            return judge_refusal(str(error.args[0]), saved.obstacles)
    far = distance(loaded, saved) if saved.answers else float("inf")
    if far <= saved.tolerance:
        return Verdict(SAME, f"{far:.0e}")
    said = "; ".join(loaded.assumed)
    kind = SAID if saved.unseen and "none of which leaves a key" in said else WRONG
    return Verdict(kind, f"off by {far:.1e}; {said}")


def judge_each(saved: dict[str, Saved]) -> dict[str, Verdict]:
    """Judge what was saved in several ways."""
    return {way: judge(each) for way, each in saved.items()}


@torch.no_grad()
def distance(loaded: Pretrained, saved: Saved) -> float:
    image = torch.rand(2, *saved.shape, dtype=torch.float64) * 2 - 1
    loaded.model.double()
    # Some models are made for sides that no patch divides, and leave the last rows unread.
    rows, cols = loaded.model.image_size
    ours, theirs = saved.ours(loaded, image[..., :rows, :cols]), saved.answers(image).double()
    if ours.shape != theirs.shape:
        return float("inf")
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def judge_refusal(said: str, obstacles: frozenset[str]) -> Verdict:
    """A reason is true if it names an obstacle of this model, and none that it has not."""
    if unknown := obstacles - OBSTACLES:
        raise KeyError(f"no such obstacle: {unknown}")
    named = {each for each in OBSTACLES if each in said}
    return Verdict(TRUE if named and named <= obstacles else MISLEADING, said)


def perturb(module: nn.Module, seed: int = 1) -> nn.Module:
    """Give every parameter other numbers, fast: no bias is zero, no norm is fresh, no two rows alike."""
    pool = torch.rand(POOL, generator=torch.Generator().manual_seed(seed)) * 3.4 - 1.7
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            matrix = parameter.ndim > 1 and len(parameter) > 1
            fresh_norm = parameter.ndim == 1 and bool((parameter == 1).all())
            scale = parameter[0].numel() ** -0.5 if matrix else 0.3
            numbers = pool.roll(997 * number).repeat(1 + parameter.numel() // POOL)[: parameter.numel()]
            parameter.copy_(scale * numbers.view(parameter.shape) + float(fresh_norm))
    return module.eval()
