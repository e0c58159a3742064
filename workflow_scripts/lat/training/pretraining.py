"""The text a base model is built from: a large model's diet in miniature, for models that must learn in minutes.

Most of it is plain text of the given languages (English, for a model of the usual kind). A small share mixes all
languages in documents that name the language of each sentence; text of this kind is where a large model learns what
`Dutch` means. How much of it a small model has seen decides how it errs once it is tuned on English-centric directions.
In trials with the demo, it answered foreign sentences in English whatever it was asked when it had seen none, and
stage 2 did not change that; when it had seen nothing else, it was off target in 2 % of the zero-shot lines.
"""

from collections.abc import Mapping, Sequence

from ..languages import languages

SENTENCES = 3


def pretraining_texts(rows: Sequence[Mapping[str, str]], plain: Sequence[str], multilingual: float) -> list[str]:
    """Documents of several languages, then plain texts.

    Args:
        rows: `language` and `text`, in random order.
        plain: languages of which plain text is taken.
        multilingual: share of the rows that goes into documents which name their languages.
    """
    count = int(multilingual * len(rows))
    documents = [rows[start : start + SENTENCES] for start in range(0, count, SENTENCES)]
    return [
        *("\n".join(f"Text in {languages()[row['language']].name}: {row['text']}" for row in its) for its in documents),
        *(row["text"] for row in rows[count:] if row["language"] in plain),
    ]
