"""Scores over HTTP: who may ask, how much, in which words, and what is answered whatever breaks."""
