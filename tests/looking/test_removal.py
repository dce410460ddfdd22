"""A removed patch is as if it had never been there: the model is held against one that attends around it."""

import pytest
import torch

from vit_steps import ViT
from vit_steps.looking.removal import removal_curve

SIZES = dict(image_size=(6, 4), patch_size=2, channels=2, dim=8, depth=3, num_heads=2, mlp_dim=12)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = ViT(**SIZES, num_classes=5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.head.weight *= 100  # so that not all images get the same answer
    return model


def answer_around(model, image, gone):
    """PyTorch's encoder, told by a mask to look past some keys: another way to leave tokens out."""
    patches = model.patch_embed.proj(image).flatten(2).transpose(1, 2)
    tokens = torch.cat([model.cls_token.expand(len(image), -1, -1), patches], dim=1) + model.pos_embed
    masked = torch.zeros(len(image), tokens.shape[1], dtype=torch.bool)
    masked[:, [1 + patch for patch in gone]] = True
    for block in model.blocks:
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 12, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        ).train()  # in eval mode it takes a fast way that knows no other eps
        own = {name.replace("mlp.fc", "linear"): each for name, each in block.state_dict().items()}
        own = {name.replace("attn.qkv.", "self_attn.in_proj_"): each for name, each in own.items()}
        layer.load_state_dict({n.replace("attn.proj", "self_attn.out_proj"): e for n, e in own.items()})
        tokens = layer(tokens, src_key_padding_mask=masked)
    return model.head(model.norm(tokens[:, 0])).argmax(dim=1)


@torch.no_grad()
def test_a_removed_patch_is_one_that_nobody_looks_at(model):
    images, order = 4 * torch.randn(40, 2, 6, 4), [4, 0, 5, 2, 1, 3]
    for num_gone in range(7):
        labels = answer_around(model, images, order[:num_gone])
        curve = removal_curve(model, images, labels, torch.tensor(order).expand(40, -1))
        assert curve.shape == (7,)
        assert curve[num_gone] == 1
        assert num_gone > 3 or len({*labels.tolist()}) > 1


def test_each_image_has_an_order_of_its_own(model):
    torch.manual_seed(1)
    images, order = torch.randn(8, 2, 6, 4), torch.rand(8, 6).argsort(dim=1)
    labels = model(images).argmax(dim=1)
    whole = removal_curve(model, images, labels, order)
    alone = [removal_curve(model, images[n : n + 1], labels[n : n + 1], order[n : n + 1]) for n in range(8)]
    assert torch.allclose(whole, torch.stack(alone).mean(dim=0))


def test_an_order_that_names_a_patch_twice_is_refused(model):
    order = torch.tensor([[0, 1, 2, 3, 4, 4]])
    with pytest.raises(ValueError, match="order of image 0 does not hold each of the patches 0 to 5 once"):
        removal_curve(model, torch.randn(1, 2, 6, 4), torch.tensor([1]), order)


def test_a_mean_of_patches_that_are_all_gone_is_refused():
    model = ViT(**SIZES, num_classes=5, pool="mean")
    with pytest.raises(ValueError, match="model pools the mean of the patches, not its CLS token alone"):
        removal_curve(model, torch.randn(1, 2, 6, 4), torch.tensor([1]), torch.arange(6)[None])
