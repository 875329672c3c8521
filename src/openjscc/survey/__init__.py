"""User studies by pairwise comparison: which of two received images do people prefer?

Start with `questionnaire.load_questionnaire`, which reads a file of `packaged`. `make` sends images and lays out the questions,
`answers` reads what people chose, `analysis` estimates preference shares, `page` writes them down.
"""
