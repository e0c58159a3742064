"""Score with a MetricX checkpoint as its published code does, with transformers 4, and print the results as JSON.

Run it in the environment of envs/bleurt.txt: `python tests/unit/published_metricx.py FOLDER`. The folder has `model`,
`tokenizer` and `segments.json`, a list of source, hypothesis and reference.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, MT5ForConditionalGeneration

SCORE_TOKEN = 250_089


def main() -> None:
    """Print token ids and scores of every segment, with and without its reference."""
    folder = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    network = MT5ForConditionalGeneration.from_pretrained(folder / "model", torch_dtype="auto").eval()
    results: dict[str, list] = {"ids": [], "scores": [], "ids_without": [], "scores_without": []}
    for source, hypothesis, reference in json.loads((folder / "segments.json").read_text(encoding="utf-8")):
        without = "source: " + source + " candidate: " + hypothesis
        for text, end in ((without + " reference: " + reference, ""), (without, "_without")):
            ids = tokenizer(text, max_length=1536, truncation=True, padding=False)["input_ids"][:-1]
            with torch.inference_mode():
                logits = network(
                    input_ids=torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                    decoder_input_ids=torch.tensor([[0]]),
                ).logits
            results[f"ids{end}"].append(ids)
            results[f"scores{end}"].append(torch.clamp(logits[:, 0, SCORE_TOKEN], 0, 25).item())
    print(json.dumps(results))


if __name__ == "__main__":
    main()
