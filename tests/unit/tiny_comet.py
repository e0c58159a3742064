"""Build tiny XCOMET and unified checkpoints, load and score with them, and print the results as JSON.

Run it in the environment of envs/comet.txt: `python tests/unit/tiny_comet.py FOLDER`.
"""

import json
import logging
import sys
from pathlib import Path

import torch
import yaml
from comet.models import RegressionMetric, UnifiedMetric, XCOMETMetric
from tokenizers import SentencePieceUnigramTokenizer, Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workflow_scripts.lat.evaluation.learned import Comet, Segment
from workflow_scripts.lat.files import InputError

VOCABULARY = 200
SEGMENTS = [
    Segment("il gatto è sulla sedia vecchia", "de kat zit op de stoel", "de kat zit op de oude stoel"),
    Segment("la casa", "het huis is oud", "het huis"),
    Segment("un uccello canta alla finestra ogni giorno", "een vogel", "elke dag zingt een vogel bij het raam"),
    Segment("no", "nee", "nee"),
    Segment("questa è una frase", "", "dit is een zin"),
]
CLASSES = {"xcomet_metric": XCOMETMetric, "unified_metric": UnifiedMetric, "regression_metric": RegressionMetric}
SETTINGS = {
    "xcomet_metric": {"sent_layer": "mix", "word_layer": 2},
    "unified_metric": {"sent_layer": "mix", "input_segments": ["mt", "src", "ref"]},
    "regression_metric": {},
}


def build_encoder(folder: Path) -> None:
    """Write the tokenizer and the configuration of a small XLM-RoBERTa."""
    folder.mkdir(parents=True)
    pieces = SentencePieceUnigramTokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = [text for segment in SEGMENTS for text in segment]
    pieces.train_from_iterator(texts, VOCABULARY, show_progress=False, special_tokens=special, unk_token="<unk>")
    inner = Tokenizer.from_str(pieces.to_str())
    ends = [("<s>", inner.token_to_id("<s>")), ("</s>", inner.token_to_id("</s>"))]
    inner.post_processor = TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", special_tokens=ends)
    tokenizer = XLMRobertaTokenizerFast(tokenizer_object=inner)
    tokenizer.save_pretrained(folder)
    XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    ).save_pretrained(folder)


def build(folder: Path, name: str, encoder: Path) -> Path:
    """Write a checkpoint with random weights in the layout of the published ones, and return its file."""
    torch.manual_seed(0)
    model = CLASSES[name](
        encoder_model="XLM-RoBERTa",
        pretrained_model=str(encoder),
        layer_transformation="softmax",
        hidden_sizes=[16, 8],
        load_pretrained_weights=False,
        **SETTINGS[name],
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)  # Large enough for scores to differ.
    path = folder / "checkpoints" / "model.ckpt"
    path.parent.mkdir(parents=True)
    settings = dict(model.hparams)
    torch.save(
        {"state_dict": model.state_dict(), "hyper_parameters": settings, "pytorch-lightning_version": "2.0.0"}, path
    )
    (folder / "hparams.yaml").write_text(yaml.safe_dump({"class_identifier": name}))
    return path


def limits_of(metric: Comet) -> dict[str, int]:
    """Return the number of words of the shortest reference that is cut: as the metric counts it, and by the scores."""
    tokenizer = metric._model.encoder.tokenizer
    words = [piece[1:] for piece in tokenizer.get_vocab() if piece.startswith("▁") and len(piece) > 2]
    word = next(word for word in sorted(words) if len(tokenizer.tokenize(f"{word} {word}")) == 2)
    segments = [Segment("la casa", "het huis", " ".join([word] * number)) for number in range(1, 140)]
    data = [{"src": segment.source, "mt": segment.hypothesis, "ref": segment.reference} for segment in segments]
    found = metric._model.predict(data, batch_size=1, gpus=0, progress_bar=False)
    joined = "unified_scores" in found.get("metadata", {})
    scores = list(map(float, found.metadata.unified_scores if joined else found.scores))
    same = next(number for number in range(1, 139) if abs(scores[number - 1] - scores[number]) < 1e-7)
    cut = next(number for number, row in enumerate(data, 1) if metric._count_cut([row]))
    # The shortest joined sequence that is cut loses its end token, and has another score than the next shorter one.
    return {"first_cut": cut, "first_without_effect": same if joined else same + 1}


def main() -> None:
    """Build a checkpoint of each class, and score with them in several ways."""
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1])
    build_encoder(folder / "encoder")
    results = {}
    for name in CLASSES:
        path = build(folder / name, name, folder / "encoder")
        metric = Comet(str(path))
        data = [{"src": segment.source, "mt": segment.hypothesis, "ref": segment.reference} for segment in SEGMENTS]
        parts = metric._model.predict(data, batch_size=2, gpus=0, progress_bar=False).get("metadata", {})
        names = ("src_scores", "ref_scores", "unified_scores", "mqm_scores")
        results[name] = {
            "class": type(metric._model).__name__,
            "scores": metric.score(SEGMENTS, 128),
            "alone": [metric.score([segment], 64)[0] for segment in SEGMENTS],
            "parts": {part: list(map(float, parts[part])) for part in names if part in parts},
            "signature": metric.signature,
            **limits_of(metric),
        }
    damaged = folder / "unified_metric" / "checkpoints" / "damaged.ckpt"
    damaged.write_bytes(b"not a checkpoint")
    for name, wrong in (("damaged", damaged), ("no_hparams", folder / "encoder" / "config.json")):
        try:
            Comet(str(wrong))
        except InputError as error:
            results[name] = str(error)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
