"""Audio into clips of speech, clips into windows of at most 30 s."""
