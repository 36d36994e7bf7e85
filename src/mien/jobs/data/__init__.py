"""Jobs that make and look at training data: avatars, prepared clips and contact sheets."""
