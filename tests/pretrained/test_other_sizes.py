"""Images of another size than the weights were made for: how large, and whose way positions are resized.

Each model is held against the library that its weights come from, at a size that it was not made for.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from position_references import resized_by_dinov2, resized_by_google
from pretrained_cases import NAMES, SQUARE, gap, save_as_transformers
from references import Reference, google, hugging_face, perturb, timm_vit, torchvision_vit
from safetensors.torch import save_file
from skimage import data

from vit_steps.pretrained import Preprocess, load_pretrained, save_hugging_face
from vit_steps.pretrained.configs import read_facts
from vit_steps.vit import ViT

PHOTO = Image.fromarray(data.chelsea())
# Two float32 computations of the same function; a table resized another way is 100 times as far.
FLOAT32 = 2e-5
PREPROCESSOR = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SMALLER = SQUARE._replace(image_size=(24, 24))


@torch.no_grad()
def far(loaded, theirs, image_size: tuple[int, int]) -> float:
    """How far our logits, or the class token after the last norm, are from theirs."""
    image = torch.rand(3, 3, *image_size)
    return (loaded.model(image) - theirs(image)).abs().max().item()


@pytest.mark.parametrize("image_size", [(24, 24), (64, 64), (24, 56)], ids=str)
def test_hugging_faces_vit_at_another_size(tmp_path, image_size):
    theirs = hugging_face(SQUARE, torch.float32).module
    theirs.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path, image_size=image_size)
    assert far(loaded, lambda i: theirs(i, interpolate_pos_encoding=True).logits, image_size) < FLOAT32
    # Without its config, too, the names of the keys tell the library.
    (tmp_path / "config.json").unlink()
    alone = load_pretrained(tmp_path, image_size=image_size, num_heads=2)
    assert torch.equal(alone.model.pos_embed, loaded.model.pos_embed)


def dinov2_folder(folder: Path, processor: dict, **config: object) -> torch.nn.Module:
    """transformers' DINOv2, made for 56 pixels, as people have it; 56 of 14 pixels stand for 518."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    model = perturb(Dinov2Model(Dinov2Config(**sizes, image_size=56, patch_size=8, **config)))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def test_images_are_as_large_as_the_processor_makes_them(tmp_path):
    from transformers import AutoImageProcessor

    processor = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}, "crop_size": 32}
    theirs = dinov2_folder(tmp_path, processor)
    loaded = load_pretrained(tmp_path)
    assert loaded.model.image_size == loaded.preprocess.size == (32, 32)
    pixels = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(PHOTO, return_tensors="pt")
    torch.testing.assert_close(loaded.preprocess(PHOTO), pixels.pixel_values, atol=1e-5, rtol=0)
    with torch.no_grad():
        expected = theirs(**pixels).last_hidden_state[:, 0]
        assert (loaded.model(loaded.preprocess(PHOTO)) - expected).abs().max() < FLOAT32


@pytest.mark.parametrize("image_size", [(56, 56), (24, 24), (72, 72), (24, 40)], ids=str)
def test_hugging_faces_dinov2_at_the_size_that_is_asked_for(tmp_path, image_size):
    theirs = dinov2_folder(tmp_path, {"image_processor_type": "BitImageProcessor", "crop_size": 32})
    loaded = load_pretrained(tmp_path, image_size=image_size)
    assert loaded.preprocess.size == image_size
    assert far(loaded, lambda image: theirs(image).last_hidden_state[:, 0], image_size) < FLOAT32


@pytest.mark.parametrize(
    ("model_type", "like"), [("vit", "transformers"), ("dinov2", "transformers"), ("dpt", "DPT")]
)
def test_the_config_of_hugging_face_tells_how_positions_are_resized(tmp_path, model_type, like):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "hidden_size": 128}))
    assert read_facts(tmp_path / "model.safetensors", {}).resized_like == like


@pytest.mark.parametrize("size", [24, 64])
@pytest.mark.filterwarnings("ignore:.*is assumed")
def test_torchvisions_vit_at_another_size(tmp_path, size):
    from torchvision.models.vision_transformer import interpolate_embeddings

    source = torchvision_vit(SQUARE, torch.float32)
    torch.save(source.weights, tmp_path / "vit.pth")
    theirs = torchvision_vit(SQUARE._replace(image_size=(size, size)), torch.float32).module
    theirs.load_state_dict(interpolate_embeddings(size, SQUARE.patch_size, dict(source.weights)))
    loaded = load_pretrained(tmp_path / "vit.pth", image_size=size)
    assert far(loaded, theirs, (size, size)) < FLOAT32


def with_table(
    source: Reference, table: torch.Tensor, image_size: tuple[int, int], **options
) -> torch.nn.Module:
    """timm's model at another size, with this table of positions."""
    theirs = timm_vit(SQUARE._replace(image_size=image_size), torch.float32, **options).module
    theirs.load_state_dict({**source.module.state_dict(), "pos_embed": table[None]})
    return theirs


@pytest.mark.parametrize("image_size", [(24, 24), (64, 64), (24, 56)], ids=str)
def test_googles_vit_at_another_size(tmp_path, image_size):
    source = google(SQUARE, torch.float32)
    np.savez(tmp_path / "vit.npz", **source.weights)
    grid = (image_size[0] // 8, image_size[1] // 8)
    table = resized_by_google(source.module.pos_embed[0].detach(), (5, 5), grid)
    loaded = load_pretrained(tmp_path / "vit.npz", image_size=image_size)
    assert far(loaded, with_table(source, table, image_size), image_size) < FLOAT32


@pytest.mark.parametrize("image_size", [(24, 24), (64, 64), (24, 56)], ids=str)
def test_dinov2s_own_file_at_another_size(tmp_path, image_size):
    name = "vit_small_patch14_dinov2"
    source = timm_vit(SQUARE, torch.float32, name)
    torch.save(source.weights | {"mask_token": torch.zeros(1, SQUARE.dim)}, tmp_path / "vit.pth")
    grid = (image_size[0] // 8, image_size[1] // 8)
    table = resized_by_dinov2(source.module.pos_embed[0].detach(), (5, 5), grid)
    loaded = load_pretrained(tmp_path / "vit.pth", image_size=image_size)
    assert far(loaded, with_table(source, table, image_size, name=name), image_size) < FLOAT32


@pytest.mark.parametrize("size", [24, 64])
def test_maes_own_file_at_another_size(tmp_path, size):
    source = timm_vit(SQUARE, torch.float32)
    beside = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, SQUARE.dim)}
    torch.save(source.weights | beside, tmp_path / "vit.pth")
    table = source.module.pos_embed.detach()
    # As mae/util/pos_embed.py does it.
    places = table[:, 1:].reshape(-1, 5, 5, SQUARE.dim).permute(0, 3, 1, 2)
    places = F.interpolate(places, size=(size // 8, size // 8), mode="bicubic", align_corners=False)
    table = torch.cat((table[:, :1], places.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)[0]
    loaded = load_pretrained(tmp_path / "vit.pth", image_size=size, num_heads=SQUARE.num_heads)
    assert far(loaded, with_table(source, table, (size, size)), (size, size)) < FLOAT32


def test_our_own_folder_keeps_its_size_and_is_not_saved_with_two(tmp_path):
    preprocess = Preprocess(size=(24, 24), mean=(0.5,) * 3, std=(0.4,) * 3)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        save_hugging_face(ViT(**SQUARE._asdict()), tmp_path, labels=NAMES, preprocess=preprocess)
    assert str(caught.value) == "preprocess makes images of 24 x 24, model was made for 40 x 40"


def test_hugging_faces_processor_decides_over_the_config(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_as_transformers(model, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, "size": 24}))
    loaded = load_pretrained(tmp_path)
    assert loaded.model.image_size == loaded.preprocess.size == (24, 24)
    theirs = load_pretrained(tmp_path, image_size=24).model
    assert gap(loaded, theirs, SMALLER) == 0
    assert load_pretrained(tmp_path, image_size=40).model.image_size == (40, 40)


@pytest.mark.parametrize(("file", "assumed"), [("vit_b_16-c867db91.pth", 0), ("mine.pth", 1)])
def test_what_is_assumed_of_torchvisions_weights_is_warned_of(tmp_path, file, assumed, recwarn):
    size = SQUARE._replace(image_size=(224, 224), patch_size=16, dim=768, num_heads=12, depth=1)
    torch.save(torchvision_vit(size, torch.float32).weights, tmp_path / file)
    loaded = load_pretrained(tmp_path / file, num_heads=12)
    assert (loaded.preprocess.interpolation, loaded.preprocess.crop_pct) == ("bilinear", 224 / 256)
    said = [str(each.message) for each in recwarn if "images are prepared as" in str(each.message)]
    assert len(said) == assumed
    assert all("IMAGENET1K_V1 and IMAGENET1K_SWAG_LINEAR_V1 have these shapes" in each for each in said)


@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.9), (384, 1)])
def test_a_google_file_of_384_pixels_is_not_cropped(tmp_path, size, crop_pct):
    made_for = SQUARE._replace(image_size=(size, size), patch_size=32, dim=64, num_heads=1, depth=1)
    np.savez(tmp_path / "vit.npz", **google(made_for, torch.float32).weights)
    assert load_pretrained(tmp_path).preprocess.crop_pct == crop_pct
    assert load_pretrained(tmp_path, image_size=320).preprocess.crop_pct == crop_pct


def test_our_own_models_are_resized_as_timm_does(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    from timm.layers import resample_abs_pos_embed

    expected = resample_abs_pos_embed(model.pos_embed, [3, 3], [5, 5])
    assert torch.equal(load_pretrained(tmp_path, image_size=24, num_heads=2).model.pos_embed, expected)


@pytest.mark.parametrize("library", ["transformers", "timm"])
@torch.no_grad()
def test_of_sides_that_no_patch_divides_the_last_rows_are_prepared_and_not_read(tmp_path, library):
    """As SigLIP So400m has it: 384 pixels, patches of 14. Here 44 pixels, patches of 8."""
    if library == "transformers":
        from transformers import SiglipVisionConfig, SiglipVisionModel
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}
        theirs = perturb(SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=44, patch_size=8)))
        processor = SiglipImageProcessorPil(size={"height": 44, "width": 44})
        theirs.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        pixels = processor(PHOTO, return_tensors="pt").pixel_values
        expected = theirs(pixels).pooler_output
    else:
        import timm
        from pretrained_cases import save_timm

        name, sizes = "vit_so400m_patch14_siglip_gap_384", {"embed_dim": 48, "num_heads": 4, "depth": 2}
        theirs = perturb(timm.create_model(name, **sizes, num_classes=5))
        save_timm(tmp_path, theirs, num_features=48, model_args={"num_heads": 4})
        transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=theirs))
        pixels = transform(PHOTO)[None]
        expected = theirs(pixels)
    model, preprocess, _ = load_pretrained(tmp_path)
    kept = pixels[..., : model.image_size[0], : model.image_size[1]]
    torch.testing.assert_close(preprocess(PHOTO), kept, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(preprocess(PHOTO)), expected, atol=1e-4, rtol=1e-4)
    assert preprocess.unread == ((4, 4) if library == "transformers" else (6, 6))


@pytest.mark.usefixtures("doors_only")
def test_what_is_unread_is_two_numbers_of_pixels():
    with pytest.raises(ValueError, match=r"unread must be at least 0, got \(-1, 0\)"):
        Preprocess(size=(8, 8), unread=(-1, 0))
    with pytest.raises(TypeError, match=r"unread must be two numbers of pixels, \(rows, columns\), got 3"):
        Preprocess(size=(8, 8), unread=3)
