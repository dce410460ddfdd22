"""CLIP as OpenAI publishes it, a module that torch.jit saved: read without torch.jit, and without code."""

import json
import os
import re
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch
from scripted import FORGERIES, edited, scripted

from vit_steps.pretrained import load_pretrained
from vit_steps.pretrained.weight_files import open_weights

SECONDS, MEGABYTES = 2, 500
# Without the types of the signatures checked, as it runs outside of tests.
READ_EACH = """
import json, resource, sys, time
from pathlib import Path
from vit_steps.pretrained import load_pretrained
for path in sorted(Path().glob("*.pt"), key=lambda path: int(path.stem)):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        load_pretrained(path)
    except Exception as caught:
        error, said = type(caught).__name__, str(caught)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([error, said, time.process_time() - began, (after - before) / 1024]), flush=True)
"""


def read(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_pretrained(source)


def as_it_is(path):
    with open_weights(path) as weights:
        return weights.read()


def the_same(ours, theirs):
    same = ((ours[name], theirs[name]) for name in theirs)
    return all(mine.dtype == other.dtype and torch.equal(mine, other) for mine, other in same)


@pytest.mark.parametrize(
    "sizes", [{}, dict(side=24, patch=8, dim=192, heads=3, depth=3)], ids=["small", "wide"]
)
@pytest.mark.parametrize("how", ["trace", "script"])
def test_it_is_read_as_the_same_weights_saved_plainly(tmp_path, how, sizes):
    module = scripted(how, **sizes)
    for folder in ("theirs", "plain"):
        (tmp_path / folder).mkdir()
    torch.jit.save(module, tmp_path / "theirs" / "ViT-B-32.pt")
    torch.save(dict(module.state_dict()), tmp_path / "plain" / "ViT-B-32.pt")
    expected = read(tmp_path / "plain")
    for source in (tmp_path / "theirs", tmp_path / "theirs" / "ViT-B-32.pt"):
        loaded = read(source)
        assert loaded.model.config == expected.model.config
        assert the_same(loaded.model.state_dict(), expected.model.state_dict())
        assert loaded[1:] == expected[1:]
        assert loaded.assumed == expected.assumed


@torch.no_grad()
def test_it_answers_as_the_module_does(tmp_path):
    module = scripted("script")
    torch.jit.save(module, tmp_path / "clip.pt")
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    theirs = module.double().visual(image)
    ours = read(tmp_path / "clip.pt").model.double()(image)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_every_weight_is_there_and_half_as_wide(tmp_path):
    module = scripted("trace")
    torch.jit.save(module, tmp_path / "clip.pt")
    expected, found = dict(module.state_dict()), as_it_is(tmp_path / "clip.pt")
    assert the_same(found, expected)
    assert {*found} - {*expected} <= {"transformer.resblocks.0.attn_mask"}  # no parameter, and a tensor
    assert found["visual.conv1.weight"].dtype == torch.float16
    assert found["vocab_size"] == 9


def test_an_archive_laid_out_as_in_2021_is_read(tmp_path):
    """A storage said where it lay and that it is no view of another; the order of bytes was said nowhere."""
    module = scripted("script")
    torch.jit.save(module, tmp_path / "clip.pt")
    with zipfile.ZipFile(tmp_path / "clip.pt") as archive:
        steps = archive.read("clip/data.pkl")
    old = steps.replace(b"tQ", b"NtQ").replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
    assert len(old) > len(steps) + 40
    edited(tmp_path / "clip.pt", {"data.pkl": old}, without=("byteorder", "serialization_id"))
    assert the_same(as_it_is(tmp_path / "clip.pt"), dict(module.state_dict()))


def test_nobody_looks_at_its_code(tmp_path):
    module = scripted("script")
    torch.jit.save(module, tmp_path / "clip.pt")
    with zipfile.ZipFile(tmp_path / "clip.pt") as archive:
        code = [name.partition("/")[2] for name in archive.namelist() if "/code/" in name]
    ran = tmp_path / "ran"
    spoilt = dict.fromkeys(code, b"import os\nos.mkdir(%r)\n" % os.fsencode(ran))
    spoilt["constants.pkl"] = (
        b"cos\nmkdir\n(X" + len(os.fsencode(ran)).to_bytes(4, "little") + os.fsencode(ran) + b"tR."
    )
    edited(tmp_path / "clip.pt", spoilt)
    assert the_same(as_it_is(tmp_path / "clip.pt"), dict(module.state_dict()))
    assert not ran.exists()


def test_a_part_of_a_larger_tensor_is_read_from_where_it_begins(tmp_path):
    module = scripted("script")
    module.visual.proj = torch.nn.Parameter(torch.rand(6, 70).half()[1:, 5:69].T)
    torch.jit.save(module, tmp_path / "clip.pt")
    assert the_same(as_it_is(tmp_path / "clip.pt"), dict(module.state_dict()))


def test_what_is_tied_is_read_twice(tmp_path):
    module = scripted("script")
    module.visual.ln_pre.weight = module.visual.ln_post.weight
    torch.jit.save(module, tmp_path / "clip.pt")
    model = read(tmp_path / "clip.pt").model
    assert torch.equal(model.norm_pre.weight, model.norm.weight)
    assert model.norm_pre.weight.data_ptr() != model.norm.weight.data_ptr()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_one_that_is_cut_short_is_refused(tmp_path, share):
    torch.jit.save(scripted("script"), tmp_path / "clip.pt")
    whole = (tmp_path / "clip.pt").read_bytes()
    (tmp_path / "clip.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"clip\.pt is damaged"):
        load_pretrained(tmp_path / "clip.pt")


def test_a_bit_that_fell_over_is_seen(tmp_path):
    torch.jit.save(scripted("script"), tmp_path / "clip.pt")
    whole = bytearray((tmp_path / "clip.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "clip.pt") as archive:
        header = archive.getinfo("clip/data/2").header_offset
    lengths = (int.from_bytes(whole[header + place : header + place + 2], "little") for place in (26, 28))
    whole[header + 30 + sum(lengths)] ^= 8
    (tmp_path / "clip.pt").write_bytes(whole)
    with pytest.raises(ValueError, match=r"clip\.pt is damaged.*CRC"):
        load_pretrained(tmp_path / "clip.pt")


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """What a process of its own says of each forgery, how long it took and how much more memory it had."""
    folder = tmp_path_factory.mktemp("forged")
    for number, (make, _) in enumerate(FORGERIES.values()):
        (folder / f"{number}.pt").write_bytes(make())
    ran = subprocess.run([sys.executable, "-c", READ_EACH], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not (folder / "ran").exists()
    return dict(zip(FORGERIES, map(json.loads, ran.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused_soon_and_in_little_memory(forged, forgery):
    error, said, seconds, megabytes = forged[forgery]
    assert error == "ValueError"
    assert re.search(FORGERIES[forgery][1], said), said
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_a_resnet_of_clip_is_refused_by_what_it_is(tmp_path):
    class ResNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.conv1 = torch.nn.Conv2d(3, 8, 3)
            self.visual.layer1 = torch.nn.Sequential(torch.nn.Sequential())
            self.visual.layer1[0].add_module("downsample", torch.nn.Conv2d(8, 8, 1))
            self.transformer = torch.nn.Linear(2, 2)
            self.ln_final, self.token_embedding = torch.nn.LayerNorm(2), torch.nn.Linear(2, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.transformer(tokens)

    torch.jit.save(torch.jit.script(ResNet()), tmp_path / "RN50.pt")
    with pytest.raises(KeyError, match=r"OpenAI's CLIP, but .*stages of several resolutions"):
        load_pretrained(tmp_path / "RN50.pt")


def test_another_module_is_refused_by_its_name(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2))), tmp_path / "mlp.pt")
    with pytest.raises(ValueError, match=r"mlp\.pt holds the module __torch__\.\S+Sequential with its code"):
        load_pretrained(tmp_path)
