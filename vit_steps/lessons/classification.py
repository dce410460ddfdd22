"""What the exercises of lesson 5 are held against: a smoothed loss, a mean, a frozen model."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_steps.classification import classify, pool_cls, pool_mean
from vit_steps.lessons._verdict import (
    Fault,
    Grade,
    Outcome,
    call,
    check,
    find_fault,
    not_a_function,
    own_random_numbers,
    quote,
    raised,
    random_tensor,
    show,
    verdict,
)


@check
def check_smoothed_loss(answer: Any) -> Grade:
    """Check a cross-entropy with label smoothing (Szegedy et al., arXiv 1512.00567, section 7).

    Args:
        answer: function (logits, label, smoothing) -> mean loss of the batch, a tensor that can be sent back.
    """
    cases = {}
    for (batch, classes), smoothing in (((4, 10), 0.1), ((3, 5), 0.3), ((2, 10), 0.0)):
        label = torch.arange(batch) * 2 % classes
        words = f"{batch} images, {classes} classes, smoothing {smoothing}"
        cases[words] = (random_tensor(batch, classes), label, smoothing)
    cases["scores around 200"] = (200 + 100 * random_tensor(2, 4), torch.tensor([3, 0]), 0.1)
    yourself = [F.cross_entropy, torch._C._nn.cross_entropy_loss]
    fault = find_fault(answer, _smoothed_loss, cases, SMOOTHED_LOSS_MISTAKES, yourself=yourself)
    fault = fault or _find_torn(answer, next(iter(cases.values())))
    return verdict(fault, f"equal to F.cross_entropy(…, label_smoothing=…) on {len(cases)} batches")


def _smoothed_loss(logits: Tensor, label: Tensor, smoothing: float, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(logits, label, label_smoothing=smoothing, reduction=reduction)


def _find_torn(answer: Callable, batch: tuple) -> str | None:
    """Say why nothing can be learned from a loss that is right."""
    logits, *rest = batch
    try:
        with own_random_numbers(), torch.enable_grad():
            loss = answer(logits.clone().requires_grad_(), *rest)
    except Exception as error:
        line = f"wrong: right numbers, but where the logits have a gradient it raises {quote(error)}"
        return Fault(line, raised(error))
    if not isinstance(loss, Tensor):
        return (
            f"wrong: right number, but as {type(loss).__name__}: a loss is a tensor, or it has no backward()"
        )
    if not loss.requires_grad:
        return "wrong: right number, but torn off from the logits: backward() does not reach them from it"
    return None


def _loss_against(make_target: Callable, log_softmax: Callable = F.log_softmax) -> Callable:
    def loss(logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
        one_hot = F.one_hot(label, logits.shape[1])
        target = make_target(one_hot, smoothing, logits.shape[1])
        return -(target * log_softmax(logits, dim=1)).sum(dim=1).mean()

    return loss


def _smooth(one_hot: Tensor, smoothing: float, classes: int) -> Tensor:
    return one_hot * (1 - smoothing) + smoothing / classes


SMOOTHED_LOSS_MISTAKES = {
    "there is no smoothing in it": _loss_against(lambda one_hot, smoothing, classes: one_hot),
    "you share the smoothing among the other classes; the right one gets its share as well": _loss_against(
        lambda one_hot, smoothing, classes: (
            one_hot * (1 - smoothing) + (1 - one_hot) * smoothing / (classes - 1)
        )
    ),
    "your target does not sum to 1: the right class is 1 - smoothing + smoothing / classes": _loss_against(
        lambda one_hot, smoothing, classes: one_hot * (1 - smoothing) + (1 - one_hot) * smoothing / classes
    ),
    "your target does not sum to 1: take the smoothing away from the right class first": _loss_against(
        lambda one_hot, smoothing, classes: one_hot + smoothing / classes
    ),
    "your target does not sum to 1: you add the whole smoothing to every class, not its share": (
        _loss_against(lambda one_hot, smoothing, classes: one_hot * (1 - smoothing) + smoothing)
    ),
    "exp overflows where scores are large: take log_softmax": _loss_against(
        _smooth, lambda logits, dim: (logits.exp() / logits.exp().sum(dim, keepdim=True)).log()
    ),
    "softmax rounds to 0 where scores are far apart, and log(0) is -inf: take log_softmax": _loss_against(
        _smooth, lambda logits, dim: logits.softmax(dim).log()
    ),
    "this is one loss per image; take their mean": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing, "none")
    ),
    "this is the sum over the images; take their mean": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing, "sum")
    ),
    "your mean runs over the classes as well: sum over the classes, mean over the images": (
        lambda logits, label, smoothing: _smoothed_loss(logits, label, smoothing) / logits.shape[1]
    ),
    "the sign is wrong: a log-probability is negative, a loss is minus it": (
        lambda logits, label, smoothing: -_smoothed_loss(logits, label, smoothing)
    ),
    "the logarithm is missing: you multiply the target with probabilities": _loss_against(
        _smooth, lambda logits, dim: logits.softmax(dim)
    ),
    "the softmax is missing: you multiply the target with the scores": _loss_against(
        _smooth, lambda logits, dim: logits
    ),
    "your softmax runs over the images; it must run over the classes": _loss_against(
        _smooth, lambda logits, dim: logits.log_softmax(0)
    ),
}


@check
def check_classify_by_mean(answer: Any) -> Grade:
    """Check a head that reads the mean of the patches.

    Args:
        answer: function (tokens, norm, head) -> logits, B T D -> B classes; the first token is the CLS token.
    """
    with own_random_numbers():
        norm, head = nn.LayerNorm(8), nn.Linear(8, 5)
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
    cases = {f"a batch of {batch}": (3 * random_tensor(batch, 7, 8), norm, head) for batch in (1, 2)}
    yourself = [classify, pool_mean]
    fault = find_fault(answer, _classify(), cases, CLASSIFY_BY_MEAN_MISTAKES, yourself=yourself)
    return verdict(fault, "equal to classify(tokens, norm, head, pool=pool_mean), for one image and for two")


def _classify(pool: Callable = pool_mean) -> Callable:
    return lambda tokens, norm, head: classify(tokens, norm, head, pool=pool)


CLASSIFY_BY_MEAN_MISTAKES = {
    "the CLS token is in your mean": _classify(lambda tokens: tokens.mean(1)),
    "you read the CLS token, not the mean of the patches": _classify(pool_cls),
    "you leave out the last token; the CLS token is the first": _classify(
        lambda tokens: tokens[:, :-1].mean(1)
    ),
    "the norm comes first, then the mean: each token is normed by itself": (
        lambda tokens, norm, head: head(norm(pool_mean(tokens)))
    ),
    "the norm is missing": lambda tokens, norm, head: head(pool_mean(tokens)),
    "the head is missing": lambda tokens, norm, head: pool_mean(norm(tokens)),
    "this is a sum; divide by the number of patches": _classify(lambda tokens: tokens[:, 1:].sum(1)),
    "these are probabilities; logits are what comes before the softmax": (
        lambda tokens, norm, head: _classify()(tokens, norm, head).softmax(-1)
    ),
    "this is one answer per patch; take their mean": lambda tokens, norm, head: head(norm(tokens)[:, 1:]),
    "you average over the images of the batch as well": (
        lambda tokens, norm, head: head(norm(tokens)[:, 1:].mean((0, 1)))
    ),
}


@check
def check_freeze_all_but_head(answer: Any) -> Grade:
    """Check that the head alone is left to learn, and that its numbers are counted.

    Args:
        answer: function (model) -> how many numbers of ``model`` are still trained; it freezes all others.
    """
    with own_random_numbers():
        model = _LittleModel()
    before = {name: (each, each.detach().clone()) for name, each in model.named_parameters()}
    result = call(answer, (model,)) if callable(answer) else Outcome(None, not_a_function(answer))
    fault = result.problem or _find_unfrozen(model) or _find_replaced(model, before)
    fault = fault or _find_miscount(result.tensor, model)
    return verdict(fault, "model.head learns and nothing else does, and its numbers are counted")


class _LittleModel(nn.Module):
    """What a ViT looks like from outside, with a second head beside the first as in a distilled DeiT."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)
        self.head_dist = nn.Linear(8, 5)


def _find_unfrozen(model: nn.Module) -> str | None:
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    if "requires_grad" in vars(model):
        return "wrong: model.requires_grad = False sets what nobody reads; its parameters have one each"
    if all(trained.values()):
        cause = "" if model.training else "; eval() turns dropout off and freezes nothing"
        return f"wrong: every parameter still learns{cause}"
    for name in ("head.weight", "head.bias"):
        if name not in trained:
            return f"wrong: {name} is gone; freeze the others, and leave model.head as it is"
        if not trained[name]:
            return f"wrong: {name} is frozen, too"
    left = [name for name, learns in trained.items() if learns and not name.startswith("head.")]
    where = {"cls_token": "it is a parameter of the model itself, in none of its modules"}
    where["head_dist.weight"] = "its name begins like model.head's, and it is another module"
    return f"wrong: {left[0]} still learns{_because(where.get(left[0]))}" if left else None


def _find_replaced(model: nn.Module, before: dict[str, tuple[Tensor, Tensor]]) -> str | None:
    """Say which parameter is another one than before: to freeze is to change no number."""
    for name, parameter in model.named_parameters():
        old, numbers = before.get(name, (None, None))
        if parameter is not old:
            return f"wrong: {name} is a new tensor; freeze the others, and leave this one as it is"
        if not torch.equal(parameter, numbers):
            return f"wrong: {name} holds other numbers than before; to freeze changes none"
    return None


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _find_miscount(count: Tensor, model: nn.Module) -> str | None:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    right = sizes["head.weight"] + sizes["head.bias"]
    reasons = {
        2: "you count tensors; count the numbers in them, with numel()",
        sizes["head.weight"]: "the head's bias is missing",
        sum(sizes.values()): "you count the frozen ones, too",
        sum(sizes.values()) - right: "these are the frozen ones",
    }
    number = count.item() if count.ndim == 0 else None
    if number == right:
        return None
    found = f"{right} numbers are trained, not {show(count)}"
    return f"wrong: frozen as it should be, but {found}{_because(reasons.get(number))}"
