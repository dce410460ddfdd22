"""How other libraries fit a table of positions to another grid: (table, old grid, new grid) -> table."""

import torch
import torch.nn.functional as F


def resized_by_transformers(table, old, new):
    from transformers import Dinov2Config
    from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

    return resized_by_embeddings(Dinov2Embeddings, Dinov2Config, table, old, new)


def resized_with_registers(table, old, new):
    from transformers import Dinov2WithRegistersConfig
    from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import (
        Dinov2WithRegistersEmbeddings,
    )

    return resized_by_embeddings(Dinov2WithRegistersEmbeddings, Dinov2WithRegistersConfig, table, old, new)


def resized_by_embeddings(embeddings, config, table, old, new):
    made = embeddings(config(image_size=4 * old[0], patch_size=4, hidden_size=table.shape[1]))
    made.position_embeddings.data = table[None]
    patches = torch.empty(1, 1 + new[0] * new[1], table.shape[1])
    return made.interpolate_pos_encoding(patches, 4 * new[0], 4 * new[1])[0].detach()


def resized_by_dpt(table, old, new):
    from transformers import DPTConfig
    from transformers.models.dpt.modeling_dpt import DPTViTEmbeddings

    made = DPTViTEmbeddings(DPTConfig(image_size=4 * old[0], patch_size=4, hidden_size=table.shape[1]))
    return made._resize_pos_embed(table[None], *new)[0]


def resized_by_dinov2(table, old, new):
    """As dinov2/models/vision_transformer.py does it, with the offset of 0.1 that hub/backbones.py sets."""
    side, dim = old[0], table.shape[1]
    patches = F.interpolate(
        table[None, 1:].reshape(1, side, side, dim).permute(0, 3, 1, 2),
        mode="bicubic",
        antialias=False,
        scale_factor=(float(new[0] + 0.1) / side, float(new[1] + 0.1) / side),
    )
    return torch.cat((table[:1], patches.permute(0, 2, 3, 1).view(-1, dim)))


def resized_by_torchvision(table, old, new):
    from torchvision.models.vision_transformer import interpolate_embeddings

    state = interpolate_embeddings(4 * new[0], 4, {"encoder.pos_embedding": table[None]})
    return state["encoder.pos_embedding"][0]


def resized_by_google(table, old, new):
    """As vit_jax/checkpoint.py does it."""
    from scipy.ndimage import zoom

    places = table[1:].numpy().reshape(*old, -1)
    resized = zoom(places, (new[0] / old[0], new[1] / old[1], 1), order=1)
    return torch.cat([table[:1], torch.from_numpy(resized.reshape(new[0] * new[1], -1))])
