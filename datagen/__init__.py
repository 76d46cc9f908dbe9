"""Making data sets: from text, from other images, by style transfer; and importing real ones.

Here: the commands (`generate`, `prompts`, `preview`, `import_images`), thin. Folders import downwards: `core`,
`datasets`, `recipes`, then `generation` and `importing`; none imports `trainables` or `orchestrator`.
Start reading with `datasets/spec.py`, then `generation/engine.py`.
"""
