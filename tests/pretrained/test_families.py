"""The families of ViTs that people use, each against its own library: answers, attention, sizes, pictures."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from references import perturb
from skimage import data
from torch import Tensor, nn

from vit_steps.pretrained import load_pretrained
from vit_steps.training import load_checkpoint, save_checkpoint

SIZES = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4)
GRID = dict(image_size=32, patch_size=8)
PHOTOS = [Image.fromarray(data.chelsea()), Image.fromarray(data.coffee()[:, :301])]
EXACT, FLOAT32 = 1e-12, 1e-6  # as far as the reference computes in float64, or its angles in float32
ONE_GREY_LEVEL = 1.001 / 255 / 0.224


class Family(NamedTuple):
    """A model of transformers, and how it answers.

    Attributes:
        model, config: names of the classes.
        settings: besides the sizes.
        answer: of what the model gives.
        processor: its class, and what it is told.
        num_prefix: tokens before the patches.
        tolerance: for its answers.
        resizes: how it is asked for an image of another size; None where it can't be.
    """

    model: str
    config: str
    settings: dict
    answer: Callable[[object], Tensor]
    processor: tuple[str, dict]
    num_prefix: int = 1
    tolerance: float = EXACT
    resizes: dict | None = None


def cls_of(out: object) -> Tensor:
    return out.last_hidden_state[:, 0]


SQUARE, SHORTEST = {"height": 32, "width": 32}, {"shortest_edge": 40}
BIT = ("BitImageProcessorPil", dict(size=SHORTEST, crop_size=SQUARE, resample=3))
CLIP = ("CLIPImageProcessorPil", dict(size=SHORTEST, crop_size=SQUARE))
SIGLIP = ("SiglipImageProcessorPil", dict(size=SQUARE))
DEIT = ("DeiTImageProcessorPil", dict(size={"height": 40, "width": 40}, crop_size=SQUARE))
DINOV3 = ("DINOv3ViTImageProcessor", dict(size=SQUARE))
ASKED = dict(interpolate_pos_encoding=True)
FAMILIES = {
    "DINOv2 with registers": Family(
        *("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", dict(mlp_ratio=2, num_register_tokens=3)),
        *(cls_of, BIT),
        num_prefix=4,
        resizes={},
    ),
    "DINOv2 giant, SwiGLU": Family(
        *("Dinov2Model", "Dinov2Config", dict(mlp_ratio=2, use_swiglu_ffn=True), cls_of, BIT), resizes={}
    ),
    "DINOv2 with a linear head": Family(
        *("Dinov2ForImageClassification", "Dinov2Config", dict(mlp_ratio=2, num_labels=5)),
        *(lambda out: out.logits, BIT),
    ),
    "CLIP": Family(
        *("CLIPVisionModelWithProjection", "CLIPVisionConfig", dict(projection_dim=7)),
        *(lambda out: out.image_embeds, CLIP),
        resizes=ASKED,
    ),
    "CLIP with LAION's GELU": Family(
        *("CLIPVisionModel", "CLIPVisionConfig", dict(hidden_act="gelu")),
        *(lambda out: out.pooler_output, CLIP),
    ),
    "SigLIP": Family(
        *("SiglipVisionModel", "SiglipVisionConfig", {}, lambda out: out.pooler_output, SIGLIP),
        num_prefix=0,
        resizes=ASKED,
    ),
    "I-JEPA": Family(
        *("IJepaForImageClassification", "IJepaConfig", dict(num_labels=5), lambda out: out.logits),
        ("ViTImageProcessorPil", dict(size=SQUARE)),
        num_prefix=0,
        resizes=ASKED,
    ),
    "DeiT, distilled": Family(
        *("DeiTForImageClassificationWithTeacher", "DeiTConfig", dict(num_labels=5)),
        *(lambda out: out.logits, DEIT),
        num_prefix=2,
        resizes=ASKED,
    ),
    "DINOv3": Family(
        *("DINOv3ViTModel", "DINOv3ViTConfig", dict(num_register_tokens=2), cls_of, DINOV3),
        num_prefix=3,
        tolerance=FLOAT32,
        resizes={},
    ),
    "DINOv3 H+, SwiGLU": Family(
        *("DINOv3ViTModel", "DINOv3ViTConfig", dict(use_gated_mlp=True, hidden_act="silu"), cls_of, DINOV3),
        num_prefix=1,
        tolerance=FLOAT32,
        resizes={},
    ),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture
def saved(tmp_path, name):
    """A family's model, perturbed, in float64, with every weight written down; and where it is saved."""
    import transformers

    family = FAMILIES[name]
    mlp = {} if "mlp_ratio" in family.settings else dict(intermediate_size=80)
    config = getattr(transformers, family.config)(**SIZES, **GRID, **mlp, **family.settings)
    config._attn_implementation = "sdpa"
    model = perturb(getattr(transformers, family.model)(config).double()).eval()
    model.save_pretrained(tmp_path / "theirs")
    kind, said = family.processor
    getattr(transformers, kind)(**said).save_pretrained(tmp_path / "theirs")
    return family, model, tmp_path / "theirs"


def read(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a config says all
        return load_pretrained(folder, **options)


def images(side=32, batch=2):
    return torch.rand(batch, 3, side, side, dtype=torch.float64) * 2 - 1


@every_family
@torch.no_grad()
def test_it_answers_as_its_own_library_does(saved):
    family, model, folder = saved
    loaded, image = read(folder), images()
    expected = family.answer(model(image))
    for ours in (loaded.model(image), loaded.model.trace(image).logits):
        torch.testing.assert_close(ours, expected, atol=family.tolerance, rtol=family.tolerance)
    assert loaded.model.num_prefix == family.num_prefix
    assert len(loaded.labels) == (5 if "num_labels" in family.settings else 0)


@every_family
@torch.no_grad()
def test_its_attention_is_what_its_own_library_gives(saved):
    family, model, folder = saved
    image = images()
    model.set_attn_implementation("eager")  # the only one that gives them, with a softmax in float32
    theirs = torch.stack(model(image, output_attentions=True).attentions, dim=1)
    ours = read(folder).model.trace(image).attention
    torch.testing.assert_close(ours, theirs, atol=FLOAT32, rtol=0)
    assert ours.shape[-1] == family.num_prefix + 16


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.resizes is not None])
@torch.no_grad()
def test_it_answers_so_at_another_size(saved):
    family, model, folder = saved
    loaded, image = read(folder, image_size=48), images(48)
    expected = family.answer(model(image, **family.resizes))
    # Positions are resized in float32 by all of them.
    torch.testing.assert_close(loaded.model(image), expected, atol=FLOAT32, rtol=2e-6)


@every_family
def test_its_pictures_are_prepared_as_its_processor_does(saved):
    import transformers

    family, _, folder = saved
    kind, _ = family.processor
    theirs, ours = getattr(transformers, kind).from_pretrained(folder), read(folder).preprocess
    allowed = ONE_GREY_LEVEL if kind.startswith("DINOv3") else 1e-5
    for photo in PHOTOS:
        pixels = theirs(photo, return_tensors="pt").pixel_values
        torch.testing.assert_close(ours(photo), pixels, atol=allowed, rtol=0)


@every_family
@torch.no_grad()
def test_it_is_saved_and_read_back(saved, tmp_path):
    model, image = read(saved[2]).model, images()
    save_checkpoint(model, tmp_path / "ours.safetensors")
    for again in (load_checkpoint(tmp_path / "ours.safetensors"), read(tmp_path / "ours.safetensors").model):
        assert again.config == model.config
        assert torch.equal(again.eval()(image), model(image))


@pytest.mark.parametrize("name", ["SigLIP"])
@torch.no_grad()
def test_the_probes_map_is_that_of_torchs_own_attention(saved):
    _, model, folder = saved
    image = images()
    head = getattr(model, "vision_model", model).head
    patches = model(image).last_hidden_state
    _, theirs = head.attention(
        head.probe.expand(2, -1, -1), patches, patches, need_weights=True, average_attn_weights=False
    )
    torch.testing.assert_close(read(folder).model.trace(image).pooling, theirs, atol=EXACT, rtol=0)


@pytest.mark.parametrize("name", ["DINOv3"])
def test_angles_of_a_file_of_ours_fit_no_other_size(saved, tmp_path):
    save_checkpoint(read(saved[2]).model, tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"are for images of 32 x 32: image_size 48 x 48 needs others"):
        load_pretrained(tmp_path / "ours.safetensors", image_size=48)


@pytest.mark.parametrize("name", ["CLIP"])
@torch.no_grad()
def test_the_text_half_of_clip_names_what_a_picture_shows(saved, tmp_path):
    """The README's five lines, on random numbers: the same probabilities as transformers' own."""
    from transformers import CLIPConfig, CLIPModel

    text = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    text |= dict(vocab_size=99, bos_token_id=97, eos_token_id=98)
    config = CLIPConfig(
        text_config=text, vision_config=SIZES | GRID | {"intermediate_size": 80}, projection_dim=7
    )
    clip = perturb(CLIPModel(config).double()).eval()
    clip.save_pretrained(tmp_path / "clip")
    words = torch.tensor([[97, 3, 98], [97, 7, 98], [97, 11, 98]])

    model, _, labels = read(tmp_path / "clip")
    image = images()
    names = clip.get_text_features(words).pooler_output
    directions = [nn.functional.normalize(each, dim=1) for each in (model(image), names)]
    probabilities = (clip.logit_scale.exp() * directions[0] @ directions[1].T).softmax(dim=1)

    theirs = clip(pixel_values=image, input_ids=words).logits_per_image.softmax(dim=1)
    torch.testing.assert_close(probabilities, theirs, atol=1e-12, rtol=0)
    assert labels == []
