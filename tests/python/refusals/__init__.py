"""What operators refuse, and by which sentence: one table, by operator."""

from refusals import boolean_masks, gates, scores, sequence_mask

TABLE = boolean_masks.ROWS + sequence_mask.ROWS + scores.ROWS + gates.ROWS
