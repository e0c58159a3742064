"""The training text of a base model that the workflow builds."""

from workflow_scripts.lat.training.pretraining import pretraining_texts

ROWS = [
    {"language": language, "text": f"{language} {number}"} for number in range(5) for language in ("en", "it", "nl")
]


def test_documents_name_their_languages_and_plain_texts_are_in_the_given_languages():
    texts = pretraining_texts(ROWS, ["en"], 0.4)
    assert texts == [
        "Text in English: en 0\nText in Italian: it 0\nText in Dutch: nl 0",
        "Text in English: en 1\nText in Italian: it 1\nText in Dutch: nl 1",
        "en 2",
        "en 3",
        "en 4",
    ]


def test_without_documents_all_texts_are_plain():
    assert pretraining_texts(ROWS, ["en", "nl"], 0) == [
        f"{language} {n}" for n in range(5) for language in ("en", "nl")
    ]
