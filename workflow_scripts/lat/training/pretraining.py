"""The training text of a base model that the workflow builds: a small imitation of the text of large models.

Most of it is plain text in the given languages (English, for a typical model). A small share goes into multilingual
documents, which name the language of each sentence; from such text a large model learns what `Dutch` means. This share
determines which errors a small model makes after it is tuned on English-centric directions. In trials with the demo, a
model that had seen no such documents answered non-English sentences in English, whatever the instruction was, and
stage 2 did not change that. A model that had seen nothing else was off target in 2 % of the zero-shot lines.
"""

from collections.abc import Mapping, Sequence

from ..languages import language

SENTENCES = 3  # per multilingual document


def pretraining_texts(rows: Sequence[Mapping[str, str]], plain: Sequence[str], multilingual: float) -> list[str]:
    """Make the training texts: first the multilingual documents, then the plain texts.

    Args:
        rows: rows with the keys `language` and `text`, in random order.
        plain: languages of the plain texts.
        multilingual: share of the rows that goes into multilingual documents.
    """
    count = int(multilingual * len(rows))
    documents = [rows[start : start + SENTENCES] for start in range(0, count, SENTENCES)]
    return [
        *(
            "\n".join(f"Text in {language(row['language']).name}: {row['text']}" for row in document)
            for document in documents
        ),
        *(row["text"] for row in rows[count:] if row["language"] in plain),
    ]
