"""Recipes of the models that come with mien, a YAML file each; `mien.jobs.recipe.definition` says how they are read."""
