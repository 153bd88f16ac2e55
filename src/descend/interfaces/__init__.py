"""Ways in: the shell, scikit-learn, PyTorch and fastai."""
