"""Names with a meaning of their own in the config, in paths and in tables, shared by several packages."""

# The model that is the base model itself, without any tuning.
BASE = "base"
# The row of a table that holds the identifier's own error, measured on the reference translations.
REFERENCE = "reference"
# The column of a table that holds the mean over the directions of one kind.
AVERAGE = "AVG"
# The code of the language on which the rows of catalogues are aligned.
ENGLISH = "en"
