"""Weights on the Hugging Face Hub: fetched once, and then read from its cache."""

from pathlib import Path

from vit_steps.pretrained.open_clip import CONFIG as OPEN_CLIP
from vit_steps.pretrained.weight_files import INDEX, shards_of

WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
FILES = ("config.json", "preprocessor_config.json", *WEIGHTS)  # weights last
PATIENCE = 2  # seconds


def download(name: str) -> Path:
    """Fetch what a model of the Hub consists of, or find it in the cache.

    Returns:
        The path of its weights, or of their index; the configs lie beside it, and what the index names.

    Raises:
        FileNotFoundError: "somebody/vit has no file with weights on the Hub (...)", or no such model.
        ConnectionError: "somebody/vit is not in the cache, and the Hugging Face Hub cannot be reached".
    """
    online = _answers(name)
    for file in FILES:
        path = _fetch(name, file, online)
        if path and path.name.endswith(INDEX):
            for shard in shards_of(path):
                _fetch(name, shard, online)
        if path and path.name.startswith("open_clip"):
            _fetch(name, OPEN_CLIP, online)
        if path and path.name in WEIGHTS:
            return path
    if online:
        raise FileNotFoundError(f"{name} has no file with weights on the Hub ({', '.join(WEIGHTS)})")
    raise ConnectionError(f"{name} is not in the cache, and the Hugging Face Hub cannot be reached")


def _fetch(name: str, file: str, online: bool) -> Path | None:
    """The path of a file that is fetched, or in the cache; None where there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(name, file, local_files_only=not online))
    except EntryNotFoundError:
        return None
    except Exception as error:  # a connection that breaks shows in many ways
        raise ConnectionError(f"{name} could not be fetched: {error}") from error


def _answers(name: str) -> bool:
    """Whether the Hub can be reached: one question, once, where a download would wait for minutes."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=PATIENCE)
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"there is no folder {name}, and no such public model on the Hub") from error
    except EntryNotFoundError:
        return True
    except Exception:  # offline mode, no route, no name server, no answer: the client's errors are many
        return False
    return True
