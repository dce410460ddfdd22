"""Whether a model is made of what its file will be read into: layer by layer, before anything is written."""

from torch import nn
from torch.nn.parameter import is_lazy

from vit_steps.pretrained.shapes import on_meta
from vit_steps.vit import ViT

ADVICE = (
    "Such a file would be read as plain layers, or by nobody. Put a plain layer there (peft: "
    "merge_and_unload; torch: prune.remove, remove_parametrizations), or keep the state_dict yourself"
)


def check_plain(model: ViT) -> None:
    """Refuse a model in which a layer is not the one that a fresh ViT of its sizes has there.

    A state_dict with the right names and shapes is not enough: ReLU for GELU, another epsilon or other heads
    leave no trace in it.

    Raises:
        ValueError: "blocks.0.attn.qkv is peft.tuners.lora.layer.Linear(...), in a ViT's file it is
            Linear(in_features=8, out_features=24, bias=True). ...", "dist_head is Linear(...), a ViT's file
            has nothing there. ...".
    """
    if type(model).forward is not ViT.forward:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise ValueError(f"model is {kind}, whose forward is its own: its file would be read as a ViT")
    found, expected = _layers(model), _layers(on_meta(model.config))
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} {_difference(found.get(name), expected.get(name))}. {ADVICE}")


def _layers(model: ViT) -> dict[str, tuple[str, dict]]:
    """Each layer by its name: what it says of itself, and the shapes of what it holds."""
    modules = dict(model.named_modules(remove_duplicate=False))
    modules.pop("")
    own = {name: (f"of shape {shape}", {}) for name, shape in _shapes(model).items()}
    return {name: (_said(module), _shapes(module)) for name, module in modules.items()} | own


def _said(module: nn.Module) -> str:
    kind = type(module)
    theirs = "" if kind.__module__.startswith(("torch.nn.modules.", "vit_steps.")) else f"{kind.__module__}."
    return f"{theirs}{kind.__qualname__}({module.extra_repr()})"


def _held(module: nn.Module) -> dict:
    held = {**module._parameters, **module._buffers}
    return {name: each for name, each in held.items() if each is not None}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...] | None]:
    return {name: None if is_lazy(each) else tuple(each.shape) for name, each in _held(module).items()}


def _difference(found: tuple | None, expected: tuple | None) -> str:
    if found is None:
        return f"is missing, in a ViT's file it is {expected[0]}"
    if expected is None:
        return f"is {found[0]}, a ViT's file has nothing there"
    if found[0] != expected[0]:
        return f"is {found[0]}, in a ViT's file it is {expected[0]}"
    return f"holds {found[1]}, in a ViT's file it holds {expected[1]}"
