"""The scripts that made what ships with the pocket scale. Nothing imports them at run time, and no wheel holds them.

May import all of `datagen`.
Start reading with `draw_images.py`, then `train_generator.py`; `datagen/pocket/README.md` tells the story.
"""
