"""A GGUF file is converted into a transformers folder with the same weights and tokenizer."""

import json
import sys

import gguf
import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from workflow_scripts import base_model
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.models import load_model, load_tokenizer
from workflow_scripts.lat.training.tokenizing import train_tokenizer

HEADS = 4
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 5, 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, rms_norm_eps=1e-6,
            num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=64, tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip


def gguf_name(name: str) -> str:
    """The name of a weight in llama.cpp."""
    fixed = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in fixed:
        return f"{fixed[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def as_llama_cpp_stores(name: str, weight: np.ndarray) -> np.ndarray:
    """Interleave the rows of queries and keys, because the rotary embeddings of llama.cpp pair neighbouring rows."""
    if "q_proj" not in name and "k_proj" not in name:
        return weight
    rows = weight.shape[0]
    return weight.reshape(HEADS, 2, rows // HEADS // 2, -1).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture
def file(tmp_path, model, tokenizer):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(32 // HEADS)
    writer.add_vocab_size(len(tokenizer))
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(pieces))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_add_bos_token(True)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    for name, weight in model.state_dict().items():
        stored = as_llama_cpp_stores(name, weight.float().numpy())
        if weight.dim() == 2 and "mlp" in name:
            # Quantised: 8 bits per weight, one scale per 32 weights.
            packed = gguf.quants.quantize(stored, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(stored))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def convert(monkeypatch, parts, output, *more):
    words = ["base_model", "gguf", "--parts", *map(str, parts), "--output", str(output), *map(str, more)]
    monkeypatch.setattr(sys, "argv", words)
    base_model.main()


def test_weights_and_tokenizer_are_those_of_the_file(monkeypatch, file, model, tokenizer, tmp_path):
    content = file.read_bytes()
    parts = [tmp_path / "part00", tmp_path / "part01"]
    parts[0].write_bytes(content[:10_000])
    parts[1].write_bytes(content[10_000:])
    output = tmp_path / "model"
    convert(monkeypatch, parts, output)
    found = load_model(output, "fp32").state_dict()
    for name, weight in model.state_dict().items():
        assert torch.allclose(found[name], weight, atol=1e-3 if "mlp" in name else 1e-6), name
    text = "the quick dog"
    assert load_tokenizer(output)(text)["input_ids"] == tokenizer(text)["input_ids"]
    # The folder is a plain model, which can be saved again after training.
    AutoModelForCausalLM.from_pretrained(output).save_pretrained(tmp_path / "again")


def test_a_file_that_is_not_gguf_gives_one_clear_error_and_no_output(monkeypatch, tmp_path):
    (tmp_path / "part01").write_bytes(b"a second part")
    with pytest.raises(InputError, match="part01: no GGUF file; its parts must be named in their order"):
        convert(monkeypatch, [tmp_path / "part01"], tmp_path / "model")
    assert not (tmp_path / "model").exists()
    (tmp_path / "part01").write_bytes(b"GGUF and nothing else")
    with pytest.raises(InputError, match="part01: transformers cannot read this GGUF file"):
        convert(monkeypatch, [tmp_path / "part01"], tmp_path / "model")


def test_a_file_that_lacks_a_weight_gives_one_clear_error(monkeypatch, file, tmp_path):
    reader = gguf.GGUFReader(file)
    lacking = tmp_path / "lacking.gguf"
    content = bytearray(file.read_bytes())
    # Renamed, the weight is there no longer; its name has the same length.
    content[content.index(b"blk.0.ffn_up.weight") : content.index(b"blk.0.ffn_up.weight") + 19] = b"blk.0.ffn_xx.weight"
    lacking.write_bytes(content)
    assert reader.tensors
    with pytest.raises(InputError, match=r"lacking\.gguf: llama: the folder lacks 1 weight \(.*up_proj\.weight\)"):
        convert(monkeypatch, [lacking], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_one_of_several_files_gives_one_clear_error(monkeypatch, tmp_path):
    path = tmp_path / "split.gguf"
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=1)
    for name in ("a", "b"):
        writer.add_tensor(name, np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    first, second = sorted(tmp_path.glob("split-*.gguf"))
    for parts in ([first], [first, second]):
        with pytest.raises(InputError, match="one of the 2 GGUF files of a model; join them"):
            convert(monkeypatch, parts, tmp_path / "model")


class TestStore:
    @pytest.fixture
    def conversions(self, monkeypatch) -> list[int]:
        """The number of parts of every conversion."""
        found, convert_gguf = [], base_model.convert_gguf

        def counted(parts, output):
            found.append(len(parts))
            convert_gguf(parts, output)

        monkeypatch.setattr(base_model, "convert_gguf", counted)
        return found

    def test_working_folders_share_one_conversion(self, monkeypatch, file, tmp_path, conversions):
        store, other = tmp_path / "store", tmp_path / "copy.gguf"
        convert(monkeypatch, [file], tmp_path / "without")
        convert(monkeypatch, [file], tmp_path / "one", "--store", store)
        (entry,) = store.iterdir()
        assert entry.name.startswith("gguf-model.gguf-")
        (tmp_path / "elsewhere").mkdir()
        same = file.rename(tmp_path / "elsewhere" / "model.gguf")
        convert(monkeypatch, [same], tmp_path / "two", "--store", store)
        assert conversions == [1, 1]
        for name in ("one", "two"):
            folder = tmp_path / name
            assert not folder.is_symlink()
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
                path.name: path.read_bytes() for path in (tmp_path / "without").iterdir()
            }
            assert all(path.readlink() == entry / path.name for path in folder.iterdir())
            load_model(folder, "fp32")

        # Another content, or the same content in other parts.
        content = same.read_bytes()
        other.write_bytes(content + b"\0")
        convert(monkeypatch, [other], tmp_path / "three", "--store", store)
        parts = [tmp_path / "part00", tmp_path / "part01"]
        parts[0].write_bytes(content[:10_000])
        parts[1].write_bytes(content[10_000:])
        convert(monkeypatch, parts, tmp_path / "four", "--store", store)
        assert conversions == [1, 1, 1, 2]

    @pytest.mark.parametrize("change", ["code", "library"])
    def test_another_version_of_the_conversion_converts_again(self, monkeypatch, file, tmp_path, conversions, change):
        store = tmp_path / "store"
        convert(monkeypatch, [file], tmp_path / "one", "--store", store)
        name = "step_code" if change == "code" else "version"
        monkeypatch.setattr(base_model, name, lambda _: "another one")
        convert(monkeypatch, [file], tmp_path / "two", "--store", store)
        assert conversions == [1, 1] and len(list(store.iterdir())) == 2

    def test_a_failed_conversion_leaves_nothing(self, monkeypatch, file, tmp_path):
        store = tmp_path / "store"
        (tmp_path / "part01").write_bytes(b"a second part")
        with pytest.raises(InputError, match="part01: no GGUF file"):
            convert(monkeypatch, [tmp_path / "part01"], tmp_path / "model", "--store", store)
        assert list(store.iterdir()) == [] and not (tmp_path / "model").exists()


@pytest.mark.parametrize("more", [(), ("--store", "store")])
def test_a_disk_that_is_full_at_the_end_is_one_line(monkeypatch, file, tmp_path, more):
    def fail(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", fail)
    with pytest.raises(
        InputError, match=r"cannot write the model \(.*No space left .*\); free disk space and run again"
    ):
        convert(monkeypatch, [file], tmp_path / "model", *more)
    assert not (tmp_path / "model").exists()
    assert not more or list((tmp_path / "store").iterdir()) == []
