"""Stages that train the nano face reader, with their labels, augmentation, losses and scores."""
