"""Studies: named figures of a paper, each a TOML file, measured, drawn and written down by ``openjscc study NAME``.

Start with `spec.load_study`, which reads a file of `packaged` (its sections are in `sections` and `shown`). `plan.plan_study`
makes the cells that are to be measured. `page.write_study` writes the page, with figures of `openjscc.report`. `gains` and
`differences` compare systems at equal quality and at equal points; `comparisons` is what both share.
"""
