"""Trains the small CLIP of our own on procedural scenes and their captions; needs torch, open_clip and transformers.

Nothing else imports this package: the embedded profile runs what it exports, `models/scene_clip`, without torch.
"""
