"""What the stages made, for people: measured (counting, figures, overview), judged (suspicions), shown (text, page)."""
