"""Budwood: a folder of labelled pictures in, an image classifier that can be trusted out."""
