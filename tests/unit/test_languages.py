"""Languages by CLDR, their labels, and directions."""

import pytest

from workflow_scripts.lat.evaluation.offtarget import Verdict, classify, off_target_scores
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.languages import (
    SCRIPT_LABEL,
    code_of_label,
    find_language,
    identified_as,
    language,
    split_direction,
    table,
)

# The labels of lid.176, as `get_labels` of the model gives them.
LID_176 = [
    "af", "als", "am", "an", "ar", "arz", "as", "ast", "av", "az", "azb", "ba", "bar", "bcl", "be", "bg",
    "bh", "bn", "bo", "bpy", "br", "bs", "bxr", "ca", "cbk", "ce", "ceb", "ckb", "co", "cs", "cv", "cy", "da",
    "de", "diq", "dsb", "dty", "dv", "el", "eml", "en", "eo", "es", "et", "eu", "fa", "fi", "fr", "frr", "fy",
    "ga", "gd", "gl", "gn", "gom", "gu", "gv", "he", "hi", "hif", "hr", "hsb", "ht", "hu", "hy", "ia", "id",
    "ie", "ilo", "io", "is", "it", "ja", "jbo", "jv", "ka", "kk", "km", "kn", "ko", "krc", "ku", "kv", "kw",
    "ky", "la", "lb", "lez", "li", "lmo", "lo", "lrc", "lt", "lv", "mai", "mg", "mhr", "min", "mk", "ml",
    "mn", "mr", "mrj", "ms", "mt", "mwl", "my", "myv", "mzn", "nah", "nap", "nds", "ne", "new", "nl", "nn",
    "no", "oc", "or", "os", "pa", "pam", "pfl", "pl", "pms", "pnb", "ps", "pt", "qu", "rm", "ro", "ru", "rue",
    "sa", "sah", "sc", "scn", "sco", "sd", "sh", "si", "sk", "sl", "so", "sq", "sr", "su", "sv", "sw", "ta",
    "te", "tg", "th", "tk", "tl", "tr", "tt", "tyv", "ug", "uk", "ur", "uz", "vec", "vep", "vi", "vls", "vo",
    "wa", "war", "wuu", "xal", "xmf", "yi", "yo", "yue", "zh",
]  # fmt: skip
# The files of FLORES-200 and the codes of their languages in configs, where the code is not part of the file's name.
FLORES_CODES = {
    "ace_Arab": "ace-Arab", "bjn_Arab": "bjn-Arab", "crh_Latn": "crh-Latn", "kas_Deva": "ks-Deva", "knc_Arab":
    "kr-Arab", "min_Arab": "min-Arab", "taq_Tfng": "taq-Tfng", "tzm_Tfng": "tzm-Tfng", "zho_Hant": "zh-TW",
    "kor_Hang": "ko", "nob_Latn": "nb", "als_Latn": "sq", "arb_Arab": "ar", "zsm_Latn": "ms", "pes_Arab":
    "fa", "swh_Latn": "sw", "lvs_Latn": "lv", "khk_Cyrl": "mn", "npi_Deva": "ne", "ory_Orya": "or",
    "uzn_Latn": "uz", "azj_Latn": "az", "plt_Latn": "mg", "ydd_Hebr": "yi", "pbt_Arab": "ps", "gaz_Latn":
    "om", "kmr_Latn": "ku", "quy_Latn": "qu", "ayr_Latn": "ay", "tgl_Latn": "tl", "est_Latn": "et",
    "sat_Olck": "sat", "dik_Latn": "din", "srp_Cyrl": "sr", "arb_Latn": "ar-Latn", "zho_Hans": "zh",
    "eng_Latn": "en", "por_Latn": "pt-BR", "spa_Latn": "es-419", "prs_Arab": "prs",
}  # fmt: skip


def test_every_language_of_lid_176_is_a_source_and_a_target():
    assert len(LID_176) == 176
    for code in LID_176:
        found = language(code)
        assert found.name and found.script, code
        assert code in identified_as(code)
        assert split_direction(f"{code}-en") == (code, "en")
        # The labels of the model stay as they are: finished tables have them.
        assert code_of_label(code) == code


@pytest.mark.parametrize(("label", "code"), FLORES_CODES.items())
def test_labels_of_flores_200(label, code):
    assert label in language(code).labels.split()
    assert code_of_label(label) in identified_as(code)


def test_no_label_of_flores_means_two_languages():
    codes = {
        label: [code for code in (*FLORES_CODES.values(), *LID_176, *table()) if label in language(code).labels.split()]
        for label in FLORES_CODES
    }
    assert set(codes["als_Latn"]) == {"sq"}
    assert set(codes["nob_Latn"]) == {"nb", "no"}


@pytest.mark.parametrize(
    ("code", "name", "script", "tokenizer"),
    [
        ("nl", "Dutch", "Latn", "13a"),
        ("pt-BR", "Brazilian Portuguese", "Latn", "13a"),
        ("zh-TW", "Chinese (Taiwan)", "Hant", "zh"),
        ("zh-Hant", "Traditional Chinese", "Hant", "zh"),
        ("zh-Hant-HK", "Traditional Chinese (Hong Kong SAR China)", "Hant", "zh"),
        ("sr-Latn", "Serbian (Latin)", "Latn", "13a"),
        ("es-419", "Latin American Spanish", "Latn", "13a"),
        ("als", "Alemannic German", "Latn", "13a"),
        ("km", "Khmer", "Khmr", "char"),
        ("yue", "Cantonese", "Hant", "zh"),
    ],
)
def test_names_scripts_and_tokenizers(code, name, script, tokenizer):
    found = language(code)
    assert (found.name, found.script, found.bleu_tokenizer) == (name, script, tokenizer)


def test_a_line_of_brazilian_portuguese_is_on_target_if_it_is_identified_as_portuguese():
    predictions = [("pt", 0.9), ("pt-BR", 0.9), ("es", 0.9), ("en", 0.9)]
    lines = classify(predictions, ["a b"] * 4, ["c d"] * 4, "en-pt-BR")
    assert [line.verdict for line in lines] == [Verdict.TARGET, Verdict.TARGET, Verdict.OTHER, Verdict.SOURCE]
    scores = {score.metric: score.value for score in off_target_scores(lines, ["a b"] * 4, "en-pt-BR")}
    assert scores["OTR"] == 50


def test_alemannic_and_albanian_are_two_languages():
    assert identified_as("als") == {"als", "gsw"}
    assert "als" not in identified_as("sq")
    assert code_of_label("als_Latn") == "sq"


def test_labels_of_other_identifiers():
    assert [code_of_label(label) for label in ("nld_Latn", "rus_Latn", "zho_Hant", "cmn_Hani", "qqq_Latn", "nb")] == [
        "nl", "ru-Latn", "zh", "zh", "qqq_Latn", "nb",
    ]  # fmt: skip
    assert SCRIPT_LABEL.fullmatch("nld_Latn")


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("it-nl", ("it", "nl")),
        ("en-pt-BR", ("en", "pt-BR")),
        ("pt-BR-en", ("pt-BR", "en")),
        ("zh-Hant-HK-sr-Latn", ("zh-Hant-HK", "sr-Latn")),
        ("es-419-pt-BR", ("es-419", "pt-BR")),
        ("ast-yue", ("ast", "yue")),
    ],
)
def test_directions_have_one_reading(direction, expected):
    assert split_direction(direction) == expected


@pytest.mark.parametrize("text", ["it", "it-nl-de", "IT-nl", "it_nl", "pt-br-en", "en-", "en-pt-BRA"])
def test_what_is_no_direction(text):
    with pytest.raises(InputError, match="is no direction; write two codes"):
        split_direction(text)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("pt_BR", "write `pt-BR`"),
        ("pt-br", "write `pt-BR`"),
        ("EN", "write `en`"),
        ("deu", "write `de`"),
        ("Spanish", "write `es`"),
        ("jp", "the language of the territory JP is `ja`, Japanese"),
        ("nll", "did you mean `n"),
        ("zxx", "codes are those of CLDR"),
        ("en-XX", "codes are those of CLDR"),
        ("", "codes are those of CLDR"),
    ],
)
def test_another_code_is_suggested(code, hint):
    assert find_language(code) is None
    with pytest.raises(InputError, match=f"is no code of a language; .*{hint}") as error:
        language(code)
    assert "\n" not in str(error.value)
