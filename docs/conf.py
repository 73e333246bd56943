"""The site: `python -m sphinx docs docs/_build`, with the extra "docs"."""

import doctest
import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# the pages run in processes of their own
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

from docutils import nodes  # noqa: E402
from sphinx.addnodes import download_reference  # noqa: E402

import xpconv  # noqa: E402

project = "xpconv"
author = "the xpconv developers"
copyright = f"2026, {author}"
version = release = xpconv.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "jupyter_execute"]
default_role = "py:obj"  # a name in a docstring links to its entry where it has one

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# written as the source has them; reference/types.md says what each is
autodoc_type_aliases = {
    name: name
    for name in re.findall(
        r"^\.\. py:type:: (\w+)$", (ROOT / "docs/reference/types.md").read_text(encoding="utf-8"), re.MULTILINE
    )
}
python_maximum_signature_line_length = 88  # longer ones: a line for each parameter
autodoc_mock_imports = [name for name in ("torch", "jax", "onnx") if importlib.util.find_spec(name) is None]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# `sphinx -b doctest`: the examples of a docstring see the names of their module
doctest_global_setup = """
import numpy as np
import xpconv as xc
from xpconv import nn
from xpconv.data import load_digits
from xpconv.nn import *
from xpconv.nn.training import *
from xpconv.testing import *
"""
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

if os.environ.get("XPCONV_DOCS_ONLINE"):  # without a connection each inventory would be a warning
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "cupy": ("https://docs.cupy.dev/en/stable", None),
        "array-api": ("https://data-apis.org/array-api/latest", None),
    }

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "docs" / "_build" / ".jupyter_cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # with tables
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "xpconv"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7cc0ee", "color-brand-content": "#7cc0ee"},
}

warnings.filterwarnings("ignore", module="furo")


def plain_types(app, what, name, thing, options, signature, returns):
    """Give a signature with the short names of types: a name in a union is not left in the class that stands for it."""

    def short(text):
        text = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
        text = text.replace("<function <lambda>>", "...")
        return re.sub(r"~?\bxpconv\.(?:\w+\.)*(\w+)", r"\1", text)

    return tuple(text and short(text) for text in (signature, returns))


TEXTS = ("start", "guides/ci", "reference/commands")  # pages to read, with a cell that prints something


def offer_notebook(app, doctree):
    """Put a link to a page's notebook below its title: in the page's own text, the notebook would have it too."""
    cells = any(node.get("nb_element") == "cell_code" for node in doctree.findall(nodes.container))
    if not cells or app.env.docname in TEXTS:
        return
    path = Path(app.env.mystnb_config.output_folder, f"{app.env.docname}.ipynb")
    link = download_reference(reftarget="/" + Path(os.path.relpath(path, app.srcdir)).as_posix())
    link += nodes.inline(text="Download this page as a notebook", classes=["download"])
    title = next(doctree.findall(nodes.title))
    title.parent.insert(title.parent.index(title) + 1, nodes.paragraph("", "", link))


def setup(app):
    """Connect what is above."""
    app.connect("doctree-read", offer_notebook, priority=400)  # before the files to download are listed, at 500
    app.connect("autodoc-process-signature", plain_types)
