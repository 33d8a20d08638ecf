"""Transcript into the bodies that clients ask for."""
