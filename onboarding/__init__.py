"""WHO the customer is: questions, score, suitability, restrictions, recommendation."""
