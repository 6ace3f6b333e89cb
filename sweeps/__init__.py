"""Which configurations a sweep runs: spaces as values, and the samplers that choose from them."""
