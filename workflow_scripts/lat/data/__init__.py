"""Sources, corpora, filters and language identification: from downloads to the texts of a benchmark."""
