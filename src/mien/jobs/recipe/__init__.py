"""`mien train recipe NAME`: everything that a model is made of, from one file of steps, budgets and seeds."""
