"""vit.js gives what vit_steps gives: every tensor of a trace, the rollout, the logit lens, in doubles.

The mistakes at the end are made on purpose: each of them must be seen by what stands above them.
"""

import base64
import json
import re
from functools import cache
from pathlib import Path

import lab_driver
import pytest
import torch
from safetensors.torch import save

import vit_steps
from vit_steps import ViT, classify, self_attention
from vit_steps.data import load_digits_images
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.training import SHIPPED, load_checkpoint

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

SCRIPT = (Path(vit_steps.__file__).parent / "vit.js").read_text(encoding="utf-8")
TOLERANCE = 1e-12  # the same products, summed in another order
COLUMNS = ("image_size", "patch_size", "channels", "dim", "depth", "num_heads", "mlp_dim", "num_classes")
SIZES = {  # no two numbers of one model are alike, so that none can stand for another
    "square": (8, 2, 1, 16, 3, 4, 24, 10),
    "colour, wide": ((4, 12), 4, 3, 6, 2, 1, 5, 7),
    "tall, eps": ((9, 6), 3, 2, 10, 1, 5, 7, 4),
    "mean": ((6, 4), 2, 1, 8, 3, 8, 5, 4),
    "mean, colour": ((4, 6), 2, 3, 12, 4, 6, 9, 5),
    "no head": (4, 2, 1, 4, 1, 2, 6, 0),
    "registers": (4, 2, 1, 9, 2, 3, 7, 8),
    "registers and a mean": (6, 2, 1, 6, 1, 3, 8, 5),
    "no CLS token": ((2, 6), 2, 1, 4, 2, 1, 5, 3),
}
OTHERWISE = {
    "tall, eps": {"eps": 1e-2},
    "mean": {"pool": "mean"},
    "mean, colour": {"pool": "mean"},
    "registers": {"num_registers": 3},
    "registers and a mean": {"num_registers": 2, "pool": "mean"},
    "no CLS token": {"class_token": False, "pool": "mean_all"},
}
RUN = """
async ({ script, file, images }) => {
  const vit = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const model = vit.read_safetensors(Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)).buffer);
  const all = images.map((image) => {
    const { blocks, states, ...seen } = vit.trace(image, model);
    const attention = blocks.map((block) => block.weights);
    const of_blocks = (name) => blocks.map((block) => block[name]);
    return { ...seen, attention, states, rollout: vit.attention_rollout(attention),
      attended: of_blocks("attended"), thought: of_blocks("thought") };
  });
  const names = Object.keys(all[0]);
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, all.map((one) => one[name])])));
}
"""


@pytest.fixture(scope="module")
def blank(browser):
    page = browser.new_page()
    yield page
    page.close()


def random_model(name: str) -> ViT:
    """No bias is zero and no norm is one: they would hide a mistake."""
    model = ViT(**dict(zip(COLUMNS, SIZES[name], strict=True)), **OTHERWISE.get(name, {})).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7, generator=generator)
    return model


def images_for(model: ViT, count: int = 3) -> torch.Tensor:
    shape = (count, model.channels, *model.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def file_of(model: ViT) -> str:
    content = save(dict(model.state_dict()), {"vit_steps": json.dumps({"config": model.config})})
    return base64.b64encode(content).decode()


def in_the_browser(page, file: str, images: torch.Tensor, script: str = SCRIPT) -> dict[str, torch.Tensor]:
    given = page.evaluate(RUN, {"script": script, "file": file, "images": images.tolist()})
    given = json.loads(given.replace("null", "NaN"))  # as JSON: in single messages it takes ten times as long
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in given.items()}


@torch.no_grad()
def in_python(model: ViT, images: torch.Tensor) -> dict[str, torch.Tensor]:
    seen = {name: tensor for name, tensor in model.trace(images)._asdict().items() if tensor is not None}
    states, attended, thought = [seen["with_position"]], [], []
    for block in model.blocks:
        attn = block.attn
        attended.append(self_attention(block.norm1(states[-1]), attn.qkv, attn.proj, attn.num_heads)[0])
        thought.append(block.mlp(block.norm2(states[-1] + attended[-1])))
        states.append(states[-1] + attended[-1] + thought[-1])
    lens = [classify(state, model.norm, model.head, pool=model.read) for state in states]
    return seen | {
        "states": torch.stack(states, dim=1),
        "attended": torch.stack(attended, dim=1),
        "thought": torch.stack(thought, dim=1),
        "lens": torch.stack(lens, dim=1),
        "rollout": attention_rollout(seen["attention"]),
    }


def differences(page, model: ViT, images: torch.Tensor, script: str = SCRIPT) -> dict[str, float]:
    """By name, how far the browser is from Python; a tensor of another shape is infinitely far."""
    wanted, given = in_python(model, images), in_the_browser(page, file_of(model), images, script)
    assert given.keys() == wanted.keys()
    return {
        name: (given[name] - tensor).abs().max().item() if given[name].shape == tensor.shape else float("inf")
        for name, tensor in wanted.items()
    }


def too_far(found: dict[str, float]) -> dict[str, float]:
    return {name: far for name, far in found.items() if not far <= TOLERANCE}  # NaN is too far, too


# ---- the same numbers ----


@pytest.mark.parametrize("name", SIZES)
def test_every_tensor_of_a_trace_is_python_s(blank, name):
    model = random_model(name)
    assert too_far(differences(blank, model, images_for(model))) == {}


def test_firefox_computes_the_same(firefox, address):
    firefox.goto(address.as_uri())  # its own blank page runs no scripts
    for name in SIZES:
        assert too_far(differences(firefox, *case(name))) == {}, name


def test_the_model_that_ships_reads_test_digits_as_in_python(blank):
    model = load_checkpoint().double()
    assert too_far(differences(blank, model, load_digits_images("test")[0][:40].double())) == {}


def test_the_file_that_ships_is_read_as_it_is(blank):
    images = load_digits_images("test")[0][:3].double()
    given = in_the_browser(blank, base64.b64encode(SHIPPED.read_bytes()).decode(), images)
    wanted = in_python(load_checkpoint().double(), images)
    torch.testing.assert_close(given["logits"], wanted["logits"], rtol=0, atol=TOLERANCE)


def test_a_head_without_bias_is_read(blank):
    model = random_model("square")
    model.head = torch.nn.Linear(16, 7, bias=False).double()
    assert too_far(differences(blank, model, images_for(model))) == {}


def test_another_dtype_is_refused_by_name(blank):
    half = random_model("square").half()
    with pytest.raises(Exception, match=r"blocks\.0\.\S+ is F16, F32 or F64 is needed"):
        in_the_browser(blank, file_of(half), images_for(half))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"pool": "attention"}, "pool is attention, vit.js knows cls, mean, mean_all"),
        ({"position": "rotary"}, "position is rotary, vit.js knows table"),
        ({"act": "quick_gelu"}, "act is quick_gelu, vit.js knows gelu"),
        ({"pre_norm": True}, "pre_norm is true, vit.js knows false"),
        ({"final_norm": "pooled"}, "final_norm is pooled, vit.js knows tokens"),
    ],
)
def test_another_kind_of_vit_is_refused_by_name(blank, kind, told):
    sizes = dict(zip(COLUMNS, SIZES["no CLS token"], strict=True))
    with pytest.raises(Exception, match=told):
        in_the_browser(blank, file_of(ViT(**sizes, **kind)), torch.zeros(1, 1, 2, 6))


# ---- a student reads it beside the Python ----


def test_a_step_has_its_name_in_python():
    exported = set(re.findall(r"^export (?:const|function) (\w+)", SCRIPT, flags=re.MULTILINE))
    steps, _, torch_s = SCRIPT.partition("// ---- what torch brings along ----")
    named = set(re.findall(r"^export (?:const|function) (\w+)", steps, flags=re.MULTILINE))
    ours = {*vit_steps.__all__, "trace", "attention_rollout"}
    assert named - ours == {"attention_scores", "num_prefix"}, (
        "what Python has inside attention_weights and ViT"
    )
    assert {"image2patches", "prepend_cls", "add_position", "encoder_block", "classify"} <= named
    assert exported - named == {
        *("range", "add_rows", "dot", "mix", "linear", "softmax", "layer_norm", "gelu", "read_safetensors")
    }
    assert torch_s


def test_it_is_short_and_knows_nobody():
    lines = SCRIPT.splitlines()
    assert len(lines) <= 180
    assert max(map(len, lines)) <= 120
    assert not re.search(r"^import|fetch\(|document|window", SCRIPT, flags=re.MULTILINE)


# ---- mistakes made on purpose ----

MISTAKES = {
    "patches in the order of columns": ("patch % cols", "Math.floor(patch / cols)"),
    "pixels before channels": ("image.flatMap((channel)", "image.toReversed().flatMap((channel)"),
    "query and key swapped": ("[query, key, value] =", "[key, query, value] ="),
    "key and value swapped": ("[query, key, value] =", "[query, value, key] ="),
    "no division by √d": ("/ Math.sqrt(asks.length)", ""),
    "division by d": ("/ Math.sqrt(asks.length)", "/ asks.length"),
    "softmax over queries": (
        "attention_scores(query, key).map(softmax)",
        "turn(turn(attention_scores(query, key)).map(softmax))",
    ),
    "heads cut apart in turn": (
        "row.slice(head * head_dim, (head + 1) * head_dim)",
        "range(head_dim).map((part) => row[part * num_heads + head])",
    ),
    "heads put together in another order": ("heads.flatMap(", "heads.toReversed().flatMap("),
    "no output projection": ("attended: linear(merge_heads(mixed), proj)", "attended: merge_heads(mixed)"),
    "CLS behind the patches": ("[cls_token, ...tokens]", "[...tokens, cls_token]"),
    "no positions": ("add_position(with_cls, pos_embed)", "with_cls"),
    "no first norm": ("self_attention(layer_norm(tokens, norm1, eps)", "self_attention(tokens"),
    "no second norm": ("linear(layer_norm(looked, norm2, eps)", "linear(looked"),
    "norm behind the attention": (
        "add_rows(tokens, seen.attended)",
        "layer_norm(add_rows(tokens, seen.attended), norm1, eps)",
    ),
    "norms swapped": ("{ norm1, attn, norm2, mlp }", "{ norm1: norm2, attn, norm2: norm1, mlp }"),
    "attention replaces the token": ("= add_rows(tokens, seen.attended)", "= seen.attended"),
    "the MLP replaces the token": ("tokens: add_rows(looked, thought)", "tokens: thought"),
    "the MLP beside the attention": ("layer_norm(looked, norm2", "layer_norm(tokens, norm2"),
    "ReLU": ("row.map(gelu)", "row.map((value) => Math.max(value, 0))"),
    "tanh GELU": (
        "(1 + erf(value / Math.SQRT2))",
        "(1 + Math.tanh(Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3)))",
    ),
    "a bias left out": ("+ (bias ? bias[out] : 0)", ""),
    "deviation of a sample": ("** 2, 0) / row.length", "** 2, 0) / (row.length - 1)"),
    "eps outside the root": ("Math.sqrt(variance + eps)", "(Math.sqrt(variance) + eps)"),
    "no scale in the norm": ("* weight[c] + bias[c]", "+ bias[c]"),
    "the mean with CLS": ("tokens.slice(num_prefix)", "tokens"),
    "the mean with registers": ("Number(class_token) + num_registers", "Number(class_token)"),
    "registers behind the patches": ("[...registers, ...tokens]", "[...tokens, ...registers]"),
    "always CLS": ("pool_mean(normed, before)", "pool_cls(normed)"),
    "no final norm": ("normed = layer_norm(tokens, norm, config.eps)", "normed = tokens"),
    "rollout from the front": ("mixing.reduce((", "mixing.toReversed().reduce(("),
    "rollout without what a token had": ("+ 0.5 * (row === col)", "* 2"),
    "the lens reads one block early": (
        "lens = states.map(",
        "lens = [states[0], ...states].slice(0, -1).map(",
    ),
    "numbers in single precision": (
        "Array.from(new Numbers(buffer.slice(begin, end)))",
        "Array.from(new Numbers(buffer.slice(begin, end)), Math.fround)",
    ),
}
TURN = "const turn = (rows) => rows[0].map((_, col) => rows.map((row) => row[col]));"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(blank, mistake):
    right, wrong = MISTAKES[mistake]
    assert SCRIPT.count(right) == 1, "the line is another now"
    script = SCRIPT.replace(right, wrong) + TURN
    assert any(too_far(differences(blank, *case(name), script)) for name in SIZES)


@cache
def case(name: str) -> tuple[ViT, torch.Tensor]:
    model = random_model(name)
    return model, images_for(model, 1)
