"""Takes sliders and pads out of saved notebooks: without a kernel, JupyterLab shows an
error in their place, where the still beside them is enough. `make outputs` calls it.

    python tests/tidy.py NOTEBOOK [NOTEBOOK …]"""

import sys
from pathlib import Path

import nbformat

SLIDER = "interactive("  # how the text in the place of what `interact` shows begins
WIDGET = "application/vnd.jupyter.widget-view+json"


def is_widget(output):
    data = output.get("data", {})
    return WIDGET in data or data.get("text/plain", "").startswith(SLIDER)


for path in sys.argv[1:]:
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [out for out in cell.outputs if not is_widget(out)]
    Path(path).write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
