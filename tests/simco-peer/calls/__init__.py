"""Cases for an agent: what it makes of what a middlebox says. The middlebox and both phones are ours."""
