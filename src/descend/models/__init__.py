"""What a fit leaves: it predicts, is measured, saved and exported."""
