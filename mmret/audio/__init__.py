"""From files to arrays to log-mel spectrograms; knows nothing of models."""
