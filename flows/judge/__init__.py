"""SynJudge: four scores for a turn, from a rubric in words, by whatever judges the settings name."""
