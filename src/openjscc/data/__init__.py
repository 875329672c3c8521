"""Pictures: files, data sets and the bundled samples. Nothing here knows of models, channels or training."""
