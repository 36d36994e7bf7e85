"""Scoring portrait animation, ours and anybody's, by one protocol: benchmarks, metrics, tables and the report.

`benchmark` lists pairs, `systems` answer them, `scoring` measures the answers clip by clip, `tables` puts them beside
the papers' figures, `page` makes the report. What is run, kept and resumed is the concern of `mien.jobs.evaluate`.
"""
