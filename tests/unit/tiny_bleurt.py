"""Build a tiny BLEURT checkpoint, load and score with it in several ways, and print the results as JSON.

Run it in the environment of envs/bleurt.txt: `python tests/unit/tiny_bleurt.py FOLDER`.
"""

import json
import sys
from pathlib import Path

import sentencepiece
import torch
from bleurt_pytorch import BleurtConfig, BleurtForSequenceClassification
from bleurt_pytorch.bleurt.tokenization_bleurt_sp import BleurtSPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workflow_scripts.lat.evaluation.learned import Bleurt, Segment, token_ids
from workflow_scripts.lat.files import InputError

VOCABULARY = 300
SHAPE = (2, 32, 2, VOCABULARY)
TEXTS = [
    "a bird chirps by the window",
    "this is a random sentence, 3.5 % of all!",
    "Grüße aus „Köln“ – schön",
    "il gatto è sulla sedia",
    "de kat zit op de stoel en het huis is oud",
    "pisica stă pe scaunul vechi și așteaptă",
    "我喜欢这只小猫。",
    "  two  spaces ",
    "one",
]


def build(folder: Path) -> None:
    """Write a checkpoint with random weights in the layout of the published one."""
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_prefix=str(folder / "spm"),
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    torch.manual_seed(0)
    layers, hidden, heads, vocabulary = SHAPE
    config = BleurtConfig(
        vocab_size=vocabulary,
        embedding_size=16,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=64,
    )
    model = BleurtForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)  # Large enough for scores to differ.
    model.save_pretrained(folder)
    BleurtSPTokenizer(str(folder / "spm.model")).save_pretrained(folder)


def error_of(*arguments, **options) -> str:
    """Return the error message for a checkpoint, or an empty string if it can be loaded."""
    try:
        Bleurt(*arguments, **options)
    except InputError as error:
        return str(error)
    return ""


def main() -> None:
    """Build a checkpoint, score in several ways, and try to load broken checkpoints."""
    folder = Path(sys.argv[1])
    build(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    tokenizer = BleurtSPTokenizer.from_pretrained(folder)
    pairs = [(reference, candidate) for reference in TEXTS for candidate in TEXTS]
    metric = Bleurt(str(folder), shape=SHAPE)
    segments = [Segment("", candidate, reference) for reference, candidate in pairs]
    alone = [metric.score([segment], 1)[0] for segment in segments]
    with torch.inference_mode():
        model = BleurtForSequenceClassification.from_pretrained(folder).eval()
        plain = [model(**tokenizer([r], [c], return_tensors="pt")).logits.item() for r, c in pairs]

    broken = folder.with_name("broken")
    broken.mkdir()
    (broken / "config.json").write_text((folder / "config.json").read_text())
    result = {
        "ids_equal": all(tokenizer(r, c)["input_ids"] == token_ids(pieces, r, c) for r, c in pairs),
        "begins": [pieces.id_to_piece(number) for number in token_ids(pieces, "one", "two")][:1],
        "alone": alone,
        "batched": metric.score(segments, 200),
        "plain": plain,
        "long": [metric.score([Segment("", "a bird " * length, "one")], 512)[0] for length in (2000, 3000)],
        "cut": [metric.cut_lines, metric.score(segments[:2], 512) and metric.cut_lines],
        "signature": metric.signature,
        "another_shape": error_of(str(folder)),
        "no_tokenizer": error_of(str(broken), shape=SHAPE),
        "nothing": error_of(str(folder / "missing")),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
