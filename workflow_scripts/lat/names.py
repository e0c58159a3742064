"""Names with a special meaning in the config, in paths and in tables, shared by several packages."""

# The model that is the base model itself, without any tuning.
BASE = "base"
# The row of a table that holds the error rate of language identification, measured on the reference translations.
REFERENCE = "reference"
# The column of a table that holds the mean over the directions of one kind.
AVERAGE = "AVG"
# The code of the language on which the rows of catalogues are aligned.
ENGLISH = "en"
# Names of the types in which models are loaded and trained.
DTYPES = ("fp32", "bf16", "fp16")
# The run of systems on the untrained base model, which all seeds share: a folder of results, and a value of `seed`.
SHARED = "shared"
# The base model, in paths and tables, of experiments whose systems are all from outside of the workflow.
EXTERNAL = "external"
# Templates of base models; any other is a file with a chat template.
ALPACA, ALPACA_LINES, CHAT = "alpaca", "alpaca-lines", "chat"
