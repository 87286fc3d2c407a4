"""Colours of the charts, by day and by night.

Figures are drawn in the light colours; the page replaces each by its dark partner where the reader's system is dark.
Blue, orange and green stay apart for colour-blind readers (after Okabe and Ito, darkened until each has a contrast of
at least 4.5 to 1 with the page), and no chart tells things apart by colour alone: lines differ in dashes, points in
shape, bars in pattern.
"""

from __future__ import annotations

__all__ = ["AXIS", "BLUE", "BLUE_BAND", "CLEAR", "DARK", "GREEN", "GRID", "INK", "MIST", "ORANGE", "PAPER", "STONE"]

INK = "#26313d"
AXIS = "#69737d"
GRID = "#e6e3dd"
PAPER = "#fdfcfa"
BLUE = "#1f66a3"
BLUE_BAND = "rgba(31,102,163,0.15)"
ORANGE = "#b5500f"
GREEN = "#237a5b"
STONE = "#6b7580"
MIST = "#d3d8dd"
CLEAR = "rgba(0,0,0,0)"

DARK = {
    INK: "#dfe4e8",
    AXIS: "#98a3ad",
    GRID: "#2c353d",
    PAPER: "#14191e",
    BLUE: "#6fb3e6",
    BLUE_BAND: "rgba(111,179,230,0.20)",
    ORANGE: "#f0a066",
    GREEN: "#62c4a0",
    STONE: "#a3adb7",
    MIST: "#46515b",
}
