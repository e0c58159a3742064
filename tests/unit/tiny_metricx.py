"""A MetricX checkpoint with a small network, and a tokenizer with the ids of mT5 and few real pieces."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import sentencepiece
import torch
from transformers import MT5Config, MT5ForConditionalGeneration

from workflow_scripts.lat.evaluation.learned import Segment
from workflow_scripts.lat.evaluation.metricx import SCORE_TOKEN

VOCABULARY = 250_112
PIECES = 250_100
SEGMENTS = [
    Segment("il gatto è sulla sedia vecchia", "de kat zit op de stoel", "de kat zit op de oude stoel"),
    Segment("la casa", "het huis is oud", "het huis"),
    Segment("un uccello canta alla finestra ogni giorno", "een vogel", "elke dag zingt een vogel bij het raam"),
    Segment("no", "nee", "nee"),
    Segment("Grüße aus „Köln“: 3.5 %!", "", "我喜欢 猫。 a  b"),
]
PROMPTS = ["source: candidate: reference:"] * 5
# Characters without a piece, alone, side by side, and in a word.
UNKNOWN = ["ж", "жщ ш 😀", "kaжt щ"]


def field(number: int, content: bytes) -> bytes:
    """Return a field of a protocol buffer that holds bytes; both numbers are small."""
    return bytes([number << 3 | 2, len(content)]) + content


def more_pieces(first: int) -> Iterator[bytes]:
    """Yield pieces that fill the vocabulary up to that of mT5; the last are `<extra_id_99>` to `<extra_id_0>`."""
    for number in range(first, PIECES):
        extra = PIECES - 1 - number
        piece = f"▁<extra_id_{extra}>" if extra < 100 else f"piece{number}"
        normal = b"\x15" + struct.pack("<f", -1000.0)
        yield field(1, field(1, piece.encode()) + normal)


def build_tokenizer(folder: Path, last: int = PIECES) -> None:
    """Write a tokenizer with the files of google/mt5-xl, with fewer pieces if `last` is smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for segment in SEGMENTS for text in segment] * 5 + PROMPTS),
        model_writer=model,
        vocab_size=1000,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        byte_fallback=True,
        minloglevel=2,
    )
    content = model.getvalue()
    size = sentencepiece.SentencePieceProcessor(model_proto=content).get_piece_size()
    content += b"".join(list(more_pieces(size))[: last - size])
    (folder / "spiece.model").write_bytes(content)
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))


def small_config(vocabulary: int = VOCABULARY) -> MT5Config:
    """Return the configuration of a small mT5."""
    return MT5Config(vocab_size=vocabulary, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=2, num_heads=2)


def build_model(folder: Path, dtype: torch.dtype = torch.float32) -> MT5ForConditionalGeneration:
    """Write a checkpoint with random weights in the layout of the published ones, and return its network."""
    torch.manual_seed(0)
    network = MT5ForConditionalGeneration(small_config()).eval()
    # An output layer of its own, which MT5ForConditionalGeneration does not make.
    network.lm_head.weight = torch.nn.Parameter(torch.zeros_like(network.shared.weight))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.7)  # Large enough for scores to differ.
        # A row for which the scores are in the middle of the scale.
        torch.manual_seed(7)
        network.lm_head.weight[SCORE_TOKEN] = 6 * torch.randn(network.config.d_model)
    network.to(dtype)
    save(network, folder)
    return network


def save(network: MT5ForConditionalGeneration, folder: Path, without: str = "") -> None:
    """Write a checkpoint as versions of transformers before 5 do, which save the output layer beside the embeddings.

    Args:
        network: the network.
        folder: the folder.
        without: name of a weight that is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = network.config.to_dict() | {"tie_word_embeddings": False, "architectures": ["MT5ForRegression"]}
    config["dtype"] = str(network.dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config))
    weights = {name: weight for name, weight in network.state_dict().items() if name != without}
    torch.save(weights, folder / "pytorch_model.bin")
