"""Classes of transformers, built small, saved with their processor and without."""

import ast
import csv
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from vit_steps.pretrained import Pretrained

from .timm_models import without_drawing
from .verdict import TOLERANCE, Saved, perturb

TABLE = Path(__file__).with_name("hugging_face_variants.tsv")
SIZES = dict(
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=256,
    image_size=32,
    patch_size=8,
)
LABELS = 5
# Where transformers computes attention in its own lines alone.
EAGER = (
    *("HieraConfig", "SwinConfig", "SamVisionConfig", "VitDetConfig"),
    *("BlipVisionConfig", "VitPoseConfig", "GroupViTVisionConfig", "FlavaImageConfig"),
    "DepthAnythingConfig",
)
OTHER_SIZES = ("YolosImageProcessor", "Siglip2ImageProcessor")  # a longest edge, or a number of patches
WITHOUT_SIZES = ("HieraConfig", "SwinConfig")  # they have stages, and sizes for each
MASK = {
    "ViTMAEForPreTraining": "vit",
    "ViTForMaskedImageModeling": "vit",
}  # what is left of them without a mask


class Variant(NamedTuple):
    """A row of the table."""

    variant: str
    model: str
    config: str
    processor: str
    settings: str
    obstacles: str
    unseen: str


@cache
def variants() -> dict[str, Variant]:
    with TABLE.open(encoding="utf-8") as file:
        rows = [Variant(*row) for row in list(csv.reader(file, delimiter="\t"))[1:]]
    return {row.variant: row for row in rows}


def settings_of(row: Variant) -> dict[str, object]:
    call = ast.parse(f"dict({row.settings})", mode="eval").body
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def build(row: Variant) -> nn.Module:
    import transformers

    settings = settings_of(row)
    options = {key: settings.pop(key) for key in ("add_pooling_layer",) if key in settings}
    config = make_config(row.config, settings)
    config._attn_implementation = "eager" if row.config in EAGER else "sdpa"
    with without_drawing():
        model = getattr(transformers, row.model)(config, **options)
    return perturb(model.double())


def make_config(name: str, settings: dict) -> object:
    """The small sizes in the words of a config; small ones of a text model, too, where it holds one."""
    import transformers

    cls = getattr(transformers, name)
    if name in WITHOUT_SIZES:
        return cls(num_labels=LABELS, **settings)
    if name in ("CLIPConfig", "SiglipConfig"):
        text = dict(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=99
        )
        config = cls(text_config=text, vision_config=SIZES | settings)
        config.num_labels = LABELS
        return config
    if name in ("DepthAnythingConfig", "VitPoseConfig"):
        return cls(backbone_config=backbone_of(name), **settings)
    return cls(**{**SIZES, "num_labels": LABELS, **settings})


def backbone_of(name: str) -> object:
    import transformers

    if name == "VitPoseConfig":
        return transformers.VitPoseBackboneConfig(
            **SIZES | {"image_size": [32, 32], "patch_size": [8, 8]}, out_indices=[2]
        )
    return transformers.Dinov2Config(
        **SIZES | {"num_hidden_layers": 4},
        mlp_ratio=2,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )


def save(name: str, folder: Path) -> dict[str, Saved]:
    """Save a variant as transformers does, and its weights alone."""
    row = variants()[name]
    model = build(row)
    with_config, bare = folder / "transformers", folder / "bare"
    bare.mkdir(parents=True)
    model.save_pretrained(with_config)
    save_processor(row.processor, with_config)
    os.link(with_config / "model.safetensors", bare / "vit.safetensors")
    obstacles = frozenset(filter(None, row.obstacles.split(", ")))
    # Its angles' sine and cosine are computed in float32, whatever the model is.
    tolerance = 1e-6 if row.config == "DINOv3ViTConfig" else TOLERANCE
    saved = Saved(
        with_config, answers_of(row, model), (3, 32, 32), obstacles, row.unseen, tolerance=tolerance
    )
    if row.model.endswith("Backbone"):
        saved = saved._replace(ours=patches)
    # So small a model has heads of a width that nobody publishes: they are given, as the warning asks.
    options = {"num_heads": 4} | ({"image_size": 32} if row.config == "DINOv3ViTConfig" else {})
    return {"config": saved, "bare": saved._replace(source=bare / "vit.safetensors", options=options)}


def save_processor(name: str, folder: Path) -> None:
    import transformers

    if name:
        # As large as the model, or it would be read at the size that its processor says.
        square, shortest = {"height": 32, "width": 32}, {"shortest_edge": 32}
        size = shortest if name in ("BitImageProcessor", "CLIPImageProcessor") else square
        make = getattr(transformers, f"{name}Pil", getattr(transformers, name))
        make(**{} if name in OTHER_SIZES else {"size": size, "crop_size": square}).save_pretrained(folder)


def patches(loaded: Pretrained, image: Tensor) -> Tensor:
    """What a backbone gives: the patches after the last norm, as a map."""
    tokens = loaded.model.norm(loaded.model.trace(image).encoded)[:, 1:]
    return tokens.mT.unflatten(2, loaded.model.grid)


# What a model answers, where it is neither class scores nor the CLS token.
ANSWERS: dict[str, Callable[[object], Tensor]] = {
    "CLIPVisionModel": lambda out: out.pooler_output,
    "CLIPVisionModelWithProjection": lambda out: out.image_embeds,
    "SiglipVisionModel": lambda out: out.pooler_output,
    "OwlViTVisionModel": lambda out: out.pooler_output,
    "IJepaModel": lambda out: out.last_hidden_state.mean(dim=1),
}


def answers_of(row: Variant, model: nn.Module) -> Callable[[Tensor], Tensor]:
    if row.model.endswith("Backbone"):
        return backbone_answers(model)
    if row.model in ("CLIPModel", "SiglipModel"):
        return lambda image: model.get_image_features(image).pooler_output

    def answers(image: Tensor) -> Tensor:
        out = getattr(model, MASK[row.model])(image) if row.model in MASK else model(image)
        if row.model in ANSWERS:
            return ANSWERS[row.model](out)
        return out.logits if "ImageClassification" in row.model else out.last_hidden_state[:, 0]

    return answers


def backbone_answers(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Its maps by way of the whole model: beside some other packages transformers' backbones do not run."""
    import transformers

    whole = transformers.Dinov2Model(model.config).double().eval()
    whole.load_state_dict(model.state_dict(), strict=True)
    sides = 2 * (model.config.image_size // model.config.patch_size,)
    return lambda image: whole(image).last_hidden_state[:, 1:].mT.unflatten(2, sides)
