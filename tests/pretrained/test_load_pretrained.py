import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pretrained_cases import NAMES, SIZE, SQUARE, gap, image_of, refusal, save_sealed, save_timm
from references import (
    Size,
    deit,
    difference,
    dinov2,
    google_arrays,
    hugging_face,
    hugging_face_config,
    hugging_face_dinov2,
    perturb,
    timm_vit,
    torchvision_vit,
)
from safetensors.torch import save_file
from skimage import data

from vit_steps.pretrained import Preprocess, load_pretrained
from vit_steps.vit import ViT

# A folder as transformers writes it.


def test_a_folder_of_hugging_face_gives_the_same_logits(tmp_path):
    reference = hugging_face(SIZE, torch.float64, "sdpa").module
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    assert gap(loaded, reference) < 1e-12
    assert not loaded.model.training
    assert loaded.model.config["eps"] == 1e-12
    assert loaded.model.config["num_heads"] == 2


def test_hugging_faces_sizes_heads_and_epsilon_come_from_its_config(tmp_path):
    from transformers import ViTForImageClassification

    config = hugging_face_config(SIZE._replace(num_heads=16))
    config.layer_norm_eps = 0.02
    reference = perturb(ViTForImageClassification(config).double())
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path / "model.safetensors")
    assert loaded.model.image_size == (32, 48)
    assert gap(loaded, reference) < 1e-6


def test_hugging_faces_names_and_preparation_come_along(tmp_path):
    from transformers import AutoImageProcessor, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    config = hugging_face_config(SQUARE)
    config.id2label = dict(enumerate(NAMES))
    ViTForImageClassification(config).save_pretrained(tmp_path)
    size = {"height": 40, "width": 40}
    ViTImageProcessorPil(size=size, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(
        tmp_path
    )
    loaded = load_pretrained(tmp_path)
    assert loaded.labels == NAMES
    photo = Image.fromarray(data.coffee())
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(
        photo, return_tensors="pt"
    ).pixel_values
    assert difference(loaded.preprocess(photo), theirs) < 1e-5


def test_a_vit_model_without_a_head_gives_its_class_token(tmp_path):
    from transformers import ViTModel

    reference = perturb(ViTModel(hugging_face_config(SIZE)).double())
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    image = image_of()
    with torch.no_grad():
        theirs = reference(image).last_hidden_state
        ours = loaded.model.norm(loaded.model.trace(image).encoded)
        assert difference(loaded.model(image), theirs[:, 0]) < 1e-12
    assert difference(ours, theirs) < 1e-12
    assert loaded.labels == []


def test_hugging_faces_dinov2_is_the_same_function(tmp_path):
    size = SQUARE._replace(mlp_dim=256)
    reference = hugging_face_dinov2(size, torch.float64)
    reference.module.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    with torch.no_grad():
        image = image_of(size)
        assert difference(loaded.model(image), reference.stages(reference.module).logits(image)) < 1e-12


# A folder as timm writes it for the Hub.


@pytest.mark.parametrize("build", [timm_vit, deit, dinov2])
def test_a_folder_of_timm_gives_the_same_logits_and_pixels(tmp_path, build):
    from timm.data import create_transform, resolve_data_config

    reference = build(SQUARE, torch.float32).module
    loaded = load_pretrained(save_timm(tmp_path, reference))
    assert gap(loaded, reference, SQUARE) < 1e-5
    config = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    photo = Image.fromarray(data.chelsea())
    theirs = create_transform(**resolve_data_config({}, pretrained_cfg=config))(photo)[None]
    assert difference(loaded.preprocess(photo), theirs) < 1e-5
    assert loaded.labels == ["0", "1", "2", "3", "4"]


def test_the_config_of_the_weights_that_timm_keeps_on_the_hub(tmp_path):
    published = {
        "input_size": [3, 40, 40],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
    }
    published |= {
        "mean": [0.5] * 3,
        "std": [0.4] * 3,
        "num_classes": 5,
        "pool_size": None,
        "classifier": "head",
    }
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 5,
        "num_features": 128,
        "global_pool": "token",
    }
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": published}))
    reference = timm_vit(SQUARE, torch.float32)
    save_file(reference.weights, tmp_path / "model.safetensors")
    loaded = load_pretrained(tmp_path)
    assert gap(loaded, reference.module, SQUARE) < 1e-5
    assert loaded.preprocess == Preprocess((40, 40), (0.5,) * 3, (0.4,) * 3, crop_pct=0.9)


def test_timms_names_are_its_descriptions_where_it_has_them(tmp_path):
    model = timm_vit(SIZE, torch.float32).module
    names = [f"n{number}" for number in range(5)]
    save_timm(tmp_path, model, label_names=names, label_descriptions=dict(zip(names, NAMES, strict=True)))
    assert load_pretrained(tmp_path).labels == NAMES


def test_timms_average_pooling_is_read_from_its_config(tmp_path):
    reference = timm_vit(SQUARE, torch.float32, global_pool="avg", fc_norm=False).module
    loaded = load_pretrained(save_timm(tmp_path, reference))
    assert loaded.model.pool == "mean"
    assert gap(loaded, reference, SQUARE) < 1e-5


def test_timms_smallest_model_has_heads_of_another_width(tmp_path):
    import timm

    reference = perturb(timm.create_model("test_vit", num_classes=5))
    loaded = load_pretrained(save_timm(tmp_path, reference))
    size = Size((160, 160), 16, 64, 6, 2, 192, 5)
    assert gap(loaded, reference, size) < 1e-4


@pytest.mark.parametrize(("dim", "num_heads"), [(1280, 16), (192, 3), (1408, 16), (384, 6)])
def test_heads_are_as_wide_as_in_the_published_models(tmp_path, dim, num_heads):
    model = ViT(**SQUARE._replace(dim=dim, mlp_dim=8, depth=1, num_heads=1)._asdict())
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    assert load_pretrained(tmp_path).model.config["num_heads"] == num_heads


# Files with nothing beside them.


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("build", [timm_vit, torchvision_vit])
def test_a_file_alone_tells_its_shapes(tmp_path, build, suffix):
    reference = build(SQUARE, torch.float32)
    path = tmp_path / f"vit{suffix}"
    if suffix == ".safetensors":
        save_file(reference.weights, path)
    else:
        torch.save(reference.weights, path)
    loaded = load_pretrained(str(path))
    assert loaded.model.config == ViT(**SQUARE._asdict()).config
    assert gap(loaded, reference.module, SQUARE) < 1e-5


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_weights_that_are_wrapped_with_other_things_are_found(tmp_path, wrapper):
    reference = deit(SQUARE, torch.float32)
    torch.save({wrapper: reference.weights, "epoch": 3, "args": {"lr": 0.1}}, tmp_path / "deit.pth")
    assert gap(load_pretrained(tmp_path), reference.module, SQUARE) < 1e-5


def test_googles_file_tells_its_heads_and_its_preparation(tmp_path):
    size = SQUARE._replace(num_heads=8)
    reference = timm_vit(size, torch.float32).module
    np.savez(tmp_path / "vit.npz", **google_arrays(reference))
    loaded = load_pretrained(tmp_path / "vit.npz")
    assert loaded.model.config["num_heads"] == 8
    assert gap(loaded, reference, size) < 1e-5
    assert loaded.preprocess.mean == (0.5, 0.5, 0.5)


def test_torchvisions_file_gets_torchvisions_preparation(tmp_path):
    from torchvision.transforms._presets import ImageClassification

    size = SQUARE._replace(image_size=(224, 224), patch_size=32)
    torch.save(torchvision_vit(size, torch.float32).weights, tmp_path / "vit_b_16.pth")
    photo = Image.fromarray(data.chelsea())
    ours = load_pretrained(tmp_path).preprocess(photo)
    assert difference(ours, ImageClassification(crop_size=224)(photo)[None]) < 1e-5


def test_a_dialects_preparation_of_colours_says_nothing_about_grey_images(tmp_path):
    weights = torchvision_vit(SQUARE, torch.float32).weights
    weights["conv_proj.weight"] = weights["conv_proj.weight"][:, :1].clone()
    torch.save(weights, tmp_path / "vit.pth")
    preprocess = load_pretrained(tmp_path).preprocess
    assert (preprocess.mean, preprocess.std) == (None, None)


def test_weights_that_do_not_say_how_images_were_normalised_ask_for_it(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    preprocess = load_pretrained(tmp_path).preprocess
    with pytest.raises(ValueError, match="do not say how their images were normalised"):
        preprocess(Image.fromarray(data.chelsea()))
    given = replace(preprocess, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert given(Image.fromarray(data.chelsea())).shape == (1, 3, 40, 40)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_halves_are_widened_and_the_rest_is_kept(tmp_path, dtype):
    weights = {name: weight.to(dtype) for name, weight in timm_vit(SQUARE, torch.float64).weights.items()}
    save_file(weights, tmp_path / "vit.safetensors")
    loaded = load_pretrained(tmp_path).model.state_dict()
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert all(torch.equal(loaded[name], weight.to(expected)) for name, weight in weights.items())
    assert {weight.dtype for weight in loaded.values()} == {expected}


@pytest.mark.parametrize(("pool", "eps"), [("cls", 1e-6), ("mean", 1e-3)])
def test_our_own_checkpoints_tell_what_they_are(tmp_path, pool, eps):
    from vit_steps.training import save_checkpoint

    sizes = {"image_size": (8, 12), "patch_size": 2, "channels": 1, "dim": 24, "depth": 2, "num_heads": 4}
    model = ViT(**sizes, mlp_dim=20, num_classes=3, pool=pool, eps=eps)
    save_checkpoint(perturb(model), tmp_path / "digits.safetensors")
    assert load_pretrained(tmp_path / "digits.safetensors").model.config == model.config


def test_a_model_of_the_training_command_names_its_classes_and_takes_values_as_they_are():
    from vit_steps.data import load_digits_images
    from vit_steps.training import SHIPPED

    images, labels = load_digits_images("test")
    model, preprocess, names = load_pretrained(SHIPPED)
    torch.testing.assert_close(preprocess(images), images, atol=1 / 255, rtol=0)
    with torch.no_grad():
        answers = [names[number] for number in model(preprocess(images)).argmax(dim=1)]
    right = sum(answer == str(label) for answer, label in zip(answers, labels.tolist(), strict=True))
    assert right / len(labels) > 0.99


def test_of_a_model_saved_by_hand_only_what_its_notes_say_is_known(tmp_path):
    from vit_steps.training import digits_model, save_checkpoint

    save_checkpoint(digits_model(), tmp_path / "own.safetensors", notes={"classes": list("abcdefghij")})
    _, preprocess, names = load_pretrained(tmp_path / "own.safetensors")
    assert names == list("abcdefghij")
    assert preprocess.mean is None  # whether it was trained on normalised images nobody says


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_model_of_the_training_command_takes_as_many_channels_as_it_has(tmp_path, channels):
    from vit_steps.training import save_checkpoint

    model = ViT(
        image_size=8, patch_size=4, channels=channels, dim=8, depth=1, num_heads=2, mlp_dim=8, num_classes=2
    )
    save_checkpoint(model, tmp_path / "own.safetensors", notes={"command": "python -m vit_steps.training"})
    preprocess = load_pretrained(tmp_path / "own.safetensors").preprocess
    # A picture of two channels has no file format, so nobody can say how it is prepared.
    known = (None, None) if channels == 2 else ((0.0,) * channels, (1.0,) * channels)
    assert (preprocess.mean, preprocess.std) == known


@pytest.mark.parametrize("classes", [10, "abcdefghij", list("abc"), list(range(10)), None])
def test_notes_that_are_no_names_are_not_taken_for_names(tmp_path, classes):
    from vit_steps.training import digits_model, save_checkpoint

    save_checkpoint(digits_model(), tmp_path / "own.safetensors", notes={"classes": classes})
    assert load_pretrained(tmp_path / "own.safetensors").labels == list("0123456789")


@pytest.mark.parametrize(
    ("header", "num_heads"),
    [
        ({"kind": "model", "config": {"num_heads": 4}}, 4),
        ({"kind": "model"}, 2),
        ({"kind": "run", "config": {"num_heads": 4}}, 2),
    ],
)
def test_of_our_own_headers_only_that_of_a_model_counts(tmp_path, header, num_heads):
    weights = timm_vit(SQUARE, torch.float32).weights
    save_sealed(weights, tmp_path / "vit.safetensors", header)
    config = load_pretrained(tmp_path).model.config
    assert (config["num_heads"], config["pool"]) == (num_heads, "cls")
    save_sealed(weights, tmp_path / "vit.safetensors", {"kind": "model", "config": {"image_size": "big"}})
    assert refusal(tmp_path) == "image_size must be one number or (height, width), got 'big'"


def test_loading_leaves_the_random_numbers_alone_and_the_model_can_be_trained(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    loaded = load_pretrained(tmp_path)
    assert torch.equal(torch.rand(4), expected)
    loaded.model(image_of(SQUARE).float()).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.model.parameters())


# Other image sizes.


@pytest.mark.parametrize("image_size", [(64, 64), (24, 32), (16, 80), (24, 64), 56], ids=str)
@pytest.mark.parametrize("made_for", [(40, 40), (32, 48)], ids=str)
def test_another_image_size_resizes_the_positions_as_timm_does(tmp_path, made_for, image_size):
    size = SIZE._replace(image_size=made_for)
    source = timm_vit(size, torch.float32).module
    save_timm(tmp_path, source)
    pair = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    import timm
    from timm.models.vision_transformer import resample_abs_pos_embed

    theirs = timm_vit(size._replace(image_size=pair), torch.float32).module
    grids = [tuple(side // 8 for side in each) for each in (made_for, pair)]
    weights = source.state_dict()
    weights["pos_embed"] = resample_abs_pos_embed(weights["pos_embed"], list(grids[1]), list(grids[0]))
    theirs.load_state_dict(weights)
    loaded = load_pretrained(tmp_path, image_size=image_size)
    assert timm is not None
    assert torch.equal(loaded.model.pos_embed, theirs.pos_embed)
    assert loaded.preprocess.size == pair == loaded.model.image_size
    assert gap(loaded, theirs, size._replace(image_size=pair)) < 1e-5


def test_timms_own_loader_resizes_to_the_same_numbers(tmp_path):
    from timm.models import load_checkpoint

    torch.save(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.pth")
    theirs = timm_vit(SQUARE._replace(image_size=(72, 48)), torch.float32).module
    from timm.models.vision_transformer import checkpoint_filter_fn

    load_checkpoint(theirs, str(tmp_path / "vit.pth"), filter_fn=checkpoint_filter_fn)
    ours = load_pretrained(tmp_path, image_size=(72, 48)).model
    assert torch.equal(ours.pos_embed, theirs.pos_embed)


def test_a_grid_that_is_no_square_is_asked_for(tmp_path):
    weights = timm_vit(SIZE._replace(image_size=(24, 48)), torch.float32).weights
    save_file(weights, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match="18 patches, which is no square: give image_size"):
        load_pretrained(tmp_path)
    with pytest.raises(ValueError, match="18 patches, which is no square: give image_size"):
        load_pretrained(tmp_path, image_size=(40, 40))
    assert load_pretrained(tmp_path, image_size=(24, 48)).model.grid == (3, 6)
