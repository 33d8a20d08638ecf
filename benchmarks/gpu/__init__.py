"""The PyTorch engine on an accelerator (G1-G6): ``python -m benchmarks.gpu``; see ``__main__``."""
