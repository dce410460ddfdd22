"""Step 5: from tokens to an answer. Pool, classify, name the most probable classes."""

from collections.abc import Callable, Sequence
from numbers import Integral

from jaxtyping import Float
from torch import Tensor


def pool_cls(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
    """Read the answer from the CLS token alone (ViT paper, equation 4).

    Raises:
        ValueError: "tokens has 0 tokens, pool_cls needs at least 1".
        TypeError: ``tokens`` is not a tensor.
    """
    _check_tokens(tokens, at_least=1, who="pool_cls")
    return tokens[:, 0]


def pool_mean(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
    """Average the patches; the CLS token, which comes first, is left out (global average pooling).

    Raises:
        ValueError: "tokens has 1 tokens, pool_mean needs at least 2".
        TypeError: ``tokens`` is not a tensor.
    """
    _check_tokens(tokens, at_least=2, who="pool_mean")
    return tokens[:, 1:].mean(dim=1)


def classify(
    tokens: Float[Tensor, "batch tokens dim"], norm: Callable, head: Callable, *, pool: Callable = pool_cls
) -> Float[Tensor, "batch classes"]:
    """Turn the encoder's tokens into one score per class (ViT paper, equation 4 and section 3.1).

    Args:
        tokens: what the last encoder block gave, the CLS token first.
        norm: the final LayerNorm.
        head: callable such as ``nn.Linear(dim, num_classes)``.
        pool: :func:`pool_cls` or :func:`pool_mean`; it runs after the norm, as in big_vision.

    Returns:
        Logits: scores before the softmax, any real number.

    Raises:
        ValueError: too few tokens for ``pool``.
        TypeError: ``tokens`` is not a tensor, or "head must be callable, not NoneType".
    """
    _check_tokens(tokens, at_least=1, who="classify")
    norm, pool, head = _give_tensors(norm=norm, pool=pool, head=head)
    return head(pool(norm(tokens)))


def top_k(
    logits: Float[Tensor, "*one classes"], labels: Sequence[str], k: int = 5
) -> list[tuple[str, float]]:
    """Name the ``k`` most probable classes of one image, the most probable first.

    Args:
        logits: scores of one image, shape (classes,) or (1, classes).
        labels: a name for every class.
        k: how many to name.

    Returns:
        Pairs of label and softmax probability; probabilities lie between 0 and 1.

    Raises:
        ValueError: "k 11 is more than the 10 classes", "labels has 9 names, logits has 10 classes".
        TypeError: ``logits`` is not a tensor, or ``k`` is not an integer.
    """
    scores = _check_scores(logits)
    _check_labels(labels, len(scores))
    _check_k(k, len(scores))
    probabilities, classes = scores.softmax(dim=0).topk(k)
    return [(labels[i], p) for i, p in zip(classes.tolist(), probabilities.tolist(), strict=True)]


def _check_tokens(tokens: Tensor, at_least: int, who: str) -> None:
    if not isinstance(tokens, Tensor):
        raise TypeError(f"tokens must be a torch.Tensor, not {type(tokens).__name__}")
    if tokens.ndim != 3:
        raise ValueError(f"tokens must have the axes (batch tokens dim), got shape {tuple(tokens.shape)}")
    if not tokens.is_floating_point():
        raise TypeError(f"tokens must be floating point, got {tokens.dtype}")
    if tokens.shape[1] < at_least:
        raise ValueError(f"tokens has {tokens.shape[1]} tokens, {who} needs at least {at_least}")


def _give_tensors(**functions: Callable) -> list[Callable]:
    return [_checked(name, function) for name, function in functions.items()]


def _checked(name: str, function: Callable) -> Callable:
    """Make a callable say its own name where it gives no tensor."""
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {type(function).__name__}")

    def call(tokens: Tensor) -> Tensor:
        given = function(tokens)
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must give a torch.Tensor, not {type(given).__name__}")
        return given

    return call


def _check_scores(logits: Tensor) -> Tensor:
    if not isinstance(logits, Tensor):
        raise TypeError(f"logits must be a torch.Tensor, not {type(logits).__name__}")
    if logits.ndim not in (1, 2) or (logits.ndim == 2 and logits.shape[0] != 1):
        raise ValueError(
            f"logits must be those of one image, (classes,) or (1, classes), got shape {tuple(logits.shape)}"
        )
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if logits.is_meta:
        raise ValueError("logits is on the meta device: it holds no numbers")
    if not logits.isfinite().all():
        raise ValueError("logits holds NaN or infinity: there is no most probable class")
    return logits.reshape(-1)


def _check_labels(labels: Sequence[str], num_classes: int) -> None:
    if not hasattr(labels, "__len__"):
        raise TypeError(f"labels must be a sequence of names, not {type(labels).__name__}")
    if len(labels) != num_classes:
        raise ValueError(f"labels has {len(labels)} names, logits has {num_classes} classes")


def _check_k(k: int, num_classes: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise TypeError(f"k must be an integer, got {k!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if k > num_classes:
        raise ValueError(f"k {k} is more than the {num_classes} classes")
