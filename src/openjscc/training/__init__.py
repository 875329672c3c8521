"""Training of codecs and task networks.

Start with `recipe` (a TOML file as frozen dataclasses, `sections`) and `loop.train`. `steps` has one class for each kind of
training: what one update does with a batch. `batches` cuts crops, `optimizer` has the schedule and the average, `checkpoint` what
a stopped run goes on from, `progress` the log and the validation. Every draw is a function of seed and sample number (`draws`).
"""
