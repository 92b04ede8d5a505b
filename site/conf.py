"""How Sphinx makes the site of what prepare.py has laid out. Saved outputs are shown as
they are, and nothing comes from another host."""

import sys
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from prepare import LESSONS, NBS, WORKSHOP, module, public_names  # noqa: E402

NOTEBOOK_OF = {module(path): path for path in LESSONS + WORKSHOP}
settings = ConfigParser(delimiters=["="], interpolation=None)
settings.read(HERE.parent / "settings.ini", encoding="utf-8")

project = settings["DEFAULT"]["name"]
author = settings["DEFAULT"]["author"]
release = settings["DEFAULT"]["version"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.linkcode",
]

nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
nb_code_prompt_hide = "Hide it"
nb_mime_priority_overrides = [("html", "text/html", 0)]
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 4
myst_heading_slug_func = "prepare.anchor"
myst_heading_anchors_html_ids = True

autodoc_preserve_defaults = True
add_module_names = False
smartquotes = False  # what is copied from a page is to run
default_role = "code"
autosummary_generate = False
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"

html_theme = "sphinx_book_theme"
html_title = "From a 3 to a 7"
html_theme_options = {
    "use_fullscreen_button": False,
    "use_source_button": False,
    "navbar_persistent": [],  # the search stands at the side
    "show_navbar_depth": 1,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark as the system is
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_use_index = html_domain_indices = False
html_show_search_summary = False  # it is fetched, which a page from disk may not do
html_sourcelink_suffix = ""


def linkcode_resolve(domain, info):
    "The source of a name is the cell of its notebook that defines it."
    path, name = NOTEBOOK_OF[info["module"]], info["fullname"].split(".")[0]
    if name in public_names(path):
        return f"../{path.relative_to(NBS).with_suffix('.html')}#cell-{name}"
