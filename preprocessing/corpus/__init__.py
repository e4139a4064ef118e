"""Documents on disk: storage by partition, deduplication, mixing, languages and the report of extraction."""
