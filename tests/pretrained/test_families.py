"""The families of ViTs that people use, each against its own library: answers, attention, sizes, pictures."""

import subprocess
import sys
import warnings

import pytest
import torch
from families import EXACT, FAMILIES, FLOAT32, GRID, SIZES, build, images, measure
from PIL import Image
from references import perturb
from skimage import data

from vit_steps.pretrained import load_pretrained
from vit_steps.training import load_checkpoint, save_checkpoint

PHOTOS = [Image.fromarray(data.chelsea()), Image.fromarray(data.coffee()[:, :301])]
ONE_GREY_LEVEL = 1.001 / 255 / 0.224
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture
def saved(tmp_path, name):
    """A family's model, perturbed, in float64, with every weight written down; and where it is saved."""
    import transformers

    family, model = FAMILIES[name], build(name)
    model.save_pretrained(tmp_path / "theirs")
    kind, said = family.processor
    getattr(transformers, kind)(**said).save_pretrained(tmp_path / "theirs")
    return family, model, tmp_path / "theirs"


def read(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a config says all
        return load_pretrained(folder, **options)


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
def test_its_attention_is_what_its_own_library_gives(tmp_path, name):
    attention, answers = measure(name, tmp_path)
    assert attention < FLOAT32
    assert answers < FAMILIES[name].tolerance


def test_nothing_that_is_loaded_waits_for_torchs_compiler(tmp_path):
    """It takes longer to import than most models to read, and arithmetic on shapes alone asks for it.

    But for rotary positions: their step computes angles, and is not bent for this.
    """
    plain = [name for name in FAMILIES if not name.startswith("DINOv3")]
    for name in plain:
        build(name).save_pretrained(tmp_path / name)
    code = """if 1:
        import sys
        from vit_steps.pretrained import load_pretrained
        for folder in sys.argv[1:]:
            load_pretrained(folder)
            print(folder, "torch._dynamo" in sys.modules)
    """
    folders = [str(tmp_path / name) for name in plain]
    said = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [f"{folder} False" for folder in folders]


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
    alike = torch.stack([torch.cosine_similarity(one, names) for one in model(image).split(1)])
    probabilities = (clip.logit_scale.exp() * alike).softmax(dim=1)

    theirs = clip(pixel_values=image, input_ids=words).logits_per_image.softmax(dim=1)
    torch.testing.assert_close(probabilities, theirs, atol=1e-12, rtol=0)
    assert labels == []
