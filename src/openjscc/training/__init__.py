"""Training: recipes, one loop, what a step is, checkpoints."""
