"""What a run looked like: lines on the terminal and one self-contained HTML page.

This room takes plain values only (dictionaries, lists, numbers, arrays for pictures); it knows nothing of
data, networks or training.
"""

from netwright.report.html import Report, render_report, write_report
from netwright.report.terminal import Progress, epoch_line, summary

__all__ = ["Progress", "Report", "epoch_line", "render_report", "summary", "write_report"]
