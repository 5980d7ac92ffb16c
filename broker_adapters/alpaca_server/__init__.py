"""A local server in the shape of Alpaca's trading API, over the paper broker's market."""
