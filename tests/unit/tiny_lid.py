"""A fastText language identification model made of given words, for tests without a download.

The file is written byte by byte. Training a model would be shorter, but for a small model, the library leaves some
weights uninitialised.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

MAGIC, VERSION = 793712314, 12
SOFTMAX = SUPERVISED = 3
WORD, LABEL = 0, 1
CERTAINTY = 8.0

SENTENCES = {
    "en": "the file could not be saved because this disk is full please check your settings and try again",
    "it": "il documento non è stato salvato perché questo disco è pieno controlla le impostazioni e riprova",
    "nl": "het bestand kon niet worden opgeslagen omdat deze schijf vol is controleer uw instellingen",
    "ro": "fișierul nu a putut fi salvat deoarece acest disc este plin verificați setările și încercați din nou",
    "de": "die datei konnte nicht gespeichert werden weil diese festplatte voll ist",
    "fr": "le fichier n'a pas pu être enregistré car ce disque est plein",
}


def write_tiny_lid(path: Path, texts: Mapping[str, str] = SENTENCES) -> Path:
    """Write a model that labels a line with the language whose text has most of the words of the line."""
    languages = list(texts)
    words = {language: set(text.split()) for language, text in texts.items()}
    vocabulary = sorted(set().union(*words.values()))
    dimensions = len(languages)

    content = struct.pack("<ii", MAGIC, VERSION)
    # Dimension, window size, epochs, minimum count, negatives, n-grams, loss, model, buckets, shortest and longest
    # n-gram, update rate of the learning rate, sampling threshold.
    content += struct.pack("<12id", dimensions, 5, 5, 1, 5, 1, SOFTMAX, SUPERVISED, 0, 0, 0, 100, 1e-4)
    content += struct.pack("<3i2q", len(vocabulary) + dimensions, len(vocabulary), dimensions, 1000, -1)
    for entry, kind in [*((word, WORD) for word in vocabulary), *((f"__label__{code}", LABEL) for code in languages)]:
        content += entry.encode() + b"\0" + struct.pack("<qb", 1, kind)
    weights = [[float(word in words[language]) for language in languages] for word in vocabulary]
    content += struct.pack("<?2q", False, len(vocabulary), dimensions)
    content += b"".join(struct.pack(f"<{dimensions}f", *row) for row in weights)
    content += struct.pack("<?2q", False, dimensions, dimensions)
    for number in range(dimensions):
        content += struct.pack(f"<{dimensions}f", *(CERTAINTY * (number == other) for other in range(dimensions)))
    path.write_bytes(content)
    return path
