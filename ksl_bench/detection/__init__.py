"""Machine-generated text told from human text, as numerics: statistics, thresholds, AUC, votes."""
