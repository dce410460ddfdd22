"""Weights that others trained: found, read, spelled as timm spells them, put into a ViT, and saved again.

``load_pretrained`` in ``loading`` goes through the room in this order: ``finding`` (a file, a folder, or
through ``hub`` a name on the Hugging Face Hub), ``weight_files``, ``archives``, ``pickles`` and ``scripted``
(what is in the file), ``configs`` and ``open_clip`` (what stands beside it), ``architectures`` (which models
are this function, by name) and ``seals`` (whether both are what was saved), ``spelling`` by the tables in
``dialects`` and ``obstacles``, ``shapes``, and ``unsaid`` (how images are prepared where nothing says it).
``saving`` is the way back. Nothing that is read can run code, nothing is loaded in part, and no number is
read before all shapes fit.
"""

from vit_steps.pretrained.loading import Pretrained, load_pretrained
from vit_steps.pretrained.preprocess import Preprocess
from vit_steps.pretrained.saving import save_hugging_face
from vit_steps.pretrained.spelling import to_hugging_face, to_timm

__all__ = ["Preprocess", "Pretrained", "load_pretrained", "save_hugging_face", "to_hugging_face", "to_timm"]
