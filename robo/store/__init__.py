"""Tables, and the only SQL on them. Rows stay here; values come out."""
